"""The certificates that we show."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gatebook.config.checking.keys import private
from gatebook.config.checking.probe import Probe
from gatebook.config.checking.words import why_of
from gatebook.config.names import certificate_covers, certificates
from gatebook.config.problem import Problem, error, warning
from gatebook.model.deployment import Deployment

CERTIFICATE_DAYS_WANTED: Final = 14


def shown_certificates(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    """The gate's, the desk's, and that of the metrics."""
    own = (deployment.tls_certificate, deployment.tls_key)
    yield from _certificate_of(
        deployment, "tls", *own, deployment.public_url, "the gate reads the new one by itself", probe
    )
    if (desk := deployment.desk) is not None:
        own = (desk.tls_certificate, desk.tls_key)
        yield from _certificate_of(
            deployment, "desk.tls", *own, desk.public_url, "the desk reads the new one by itself", probe
        )
    if (metrics := deployment.metrics) is not None:
        own = (metrics.tls_certificate, metrics.tls_key)
        yield from _certificate_of(deployment, "metrics.tls", *own, "", "it is read at a restart", probe)


def _certificate_of(
    deployment: Deployment,
    table: str,
    certificate: str | None,
    key: str | None,
    public_url: str,
    when: str,
    probe: Probe,
) -> Iterator[Problem]:
    if certificate is None or key is None or not (Path(certificate).is_file() and Path(key).is_file()):
        return
    yield from private(deployment, f"{table}.key", Path(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password function keeps OpenSSL from asking the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
        leaf = certificates(Path(certificate).read_bytes())[0]
    except (ssl.SSLError, OSError, ValueError, IndexError) as failure:
        what = f"certificate and key cannot be used together: {why_of(failure)}"
        yield error(table, what, "give a PEM certificate (leaf first) and its own PEM key, without a password")
        return
    where = f"{table}.certificate"
    now = datetime.fromtimestamp(probe.clock.now().unix_s, UTC)
    days = (leaf.not_valid_after_utc - now).days
    if leaf.not_valid_before_utc > now:
        yield error(where, f"is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", "use one valid now")
    if days < 0:
        yield error(where, f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}", "renew it")
    elif days < CERTIFICATE_DAYS_WANTED:
        yield warning(where, f"expires in {days} days", f"renew it; {when}")
    host = urlsplit(public_url).hostname
    if host and not certificate_covers(leaf, host):
        yield error(where, f"does not name {host}, the host of public_url", "get one with that name")
