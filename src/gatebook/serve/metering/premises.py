"""What can be seen of a deployment from its files: space, the newest checkpoint, the ends of certificates. Reads only; may block on a disk."""

import os
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from gatebook.model.counting import Sample
from gatebook.model.deployment import Deployment


def look(deployment: Deployment) -> Iterator[Sample]:
    """What cannot be read is left out: its absence is what an alert sees."""
    yield from _disk(deployment)
    yield from _checkpoint(deployment)
    for name, path in certificates(deployment):
        yield from _certificate(name, path)


def _disk(deployment: Deployment) -> Iterator[Sample]:
    try:
        space = os.statvfs(deployment.data_dir)
    except OSError:
        return
    yield Sample("gatebook_disk_free_bytes", (), space.f_bavail * space.f_frsize)
    yield Sample("gatebook_disk_size_bytes", (), space.f_blocks * space.f_frsize)
    if space.f_files:  # some file systems make inodes as they need them, and say 0
        yield Sample("gatebook_disk_free_inodes", (), space.f_favail)


def _checkpoint(deployment: Deployment) -> Iterator[Sample]:
    """By the file's own date: it is there also while no sealer is."""
    try:
        written_at = (Path(deployment.data_dir) / "log" / "checkpoint").stat().st_mtime
    except OSError:
        return
    yield Sample("gatebook_checkpoint_timestamp_seconds", (), written_at)


def certificates(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """(what it is for, path) of every certificate that is ours to renew."""
    named = [("gate", deployment.tls_certificate)]
    if deployment.desk is not None:
        named.append(("desk", deployment.desk.tls_certificate))
    if deployment.metrics is not None:
        named.append(("metrics", deployment.metrics.tls_certificate))
    named += [(f"server {server.name}", server.client_certificate) for server in deployment.servers]
    named += [(f"idp {idp.name}", idp.saml.certificate) for idp in deployment.idps if idp.saml is not None]
    yield from ((name, path) for name, path in named if path is not None)


def _certificate(name: str, path: str) -> Iterator[Sample]:
    """The earliest end of what is in the file: an intermediate that is over breaks the chain as well."""
    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError):
        return
    ends_at = min(each.not_valid_after_utc.timestamp() for each in found)
    yield Sample("gatebook_certificate_expiry_timestamp_seconds", (name,), ends_at)
