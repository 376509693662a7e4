"""gatebook.toml → a Deployment that may be used, or every problem at once."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gatebook.config import pins
from gatebook.config.problem import Problem, error
from gatebook.config.reading import MAX_BYTES, Read, read
from gatebook.config.resolve import resolve
from gatebook.config.saml import saml_files
from gatebook.config.schema import File
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration in force. `raw`: the file's bytes, to be kept by `sha256` (hex); `warnings`: what it may be, and seldom should."""

    path: str
    deployment: Deployment
    raw: bytes
    sha256: str
    warnings: tuple[Problem, ...]


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration looked at, right or wrong. `deployment` is what can be made of it (None: nothing): to look further, never to serve."""

    path: str
    deployment: Deployment | None
    raw: bytes
    sha256: str
    problems: tuple[Problem, ...]


def load(path: Path) -> Loaded:
    """The configuration in `path`, checked. Raises ConfigurationError with every problem found, each what, where, and how to mend it.

    Reads that one file, once, and asks whether the files that it names are there; changes nothing. No problem repeats a secret."""
    return accept(examine(path))


def load_bytes(raw: bytes, path: Path) -> Loaded:
    """As `load`, for bytes already read from `path`."""
    return accept(examine_bytes(raw, path))


def examine(path: Path) -> Examined:
    """What stands in `path`, with its problems. Never raises for what is in the file or whether it is there."""
    path = path.absolute()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as failure:
        why = failure.strerror or "cannot be read"
        problem = error(
            str(path), f"cannot be read: {why}", "say which file with --config, or make one with `gatebook init`"
        )
        return Examined(path=str(path), deployment=None, raw=b"", sha256="", problems=(problem,))
    return examine_bytes(raw, path)


def examine_bytes(raw: bytes, path: Path) -> Examined:
    """As `examine`, for bytes already read; paths in it count from `path`'s directory."""
    path = path.absolute()
    text = read(raw, str(path))
    deployment, problems = None, list(text.problems)
    if text.file is not None:
        deployment, found = resolve(text, text.file, path.parent)
        problems += found
        problems += _missing_files(deployment)
        deployment = pins.with_pins(deployment)
        problems += pins.problems(deployment)
        problems += _missing_keys(deployment, text, text.file)
    return Examined(
        path=str(path), deployment=deployment, raw=raw, sha256=hashlib.sha256(raw).hexdigest(), problems=tuple(problems)
    )


def accept(examined: Examined) -> Loaded:
    """The configuration, if it may be used. Raises ConfigurationError with every error; warnings are passed on."""
    errors = tuple(str(problem) for problem in examined.problems if problem.severity == "error")
    if errors or examined.deployment is None:
        raise ConfigurationError(errors)
    return Loaded(
        path=examined.path,
        deployment=examined.deployment,
        raw=examined.raw,
        sha256=examined.sha256,
        warnings=examined.problems,
    )


def _missing_files(deployment: Deployment) -> Iterator[Problem]:
    """Files named and not there."""
    for where, path in named_files(deployment):
        if not Path(path).is_file():
            mend = "correct the path (relative paths count from the configuration's directory)"
            yield error(where, f"there is no file {path}", mend)


def _missing_keys(deployment: Deployment, text: Read, file: File) -> Iterator[Problem]:
    """Log and payload keys that are not there. In dev the gate makes them; in pci people do, or nobody could say where the private halves went."""
    if deployment.profile == "dev":
        return
    begun = Path(deployment.data_dir, "log/checkpoint").is_file()
    keys = [
        ("log", "key", file.log.key, deployment.log_key),
        ("payloads", "public_key", file.payloads.public_key, deployment.payload_public_key),
    ]
    if file.desk is not None and deployment.desk is not None:
        keys.append(("desk", "signing_key", file.desk.signing_key, deployment.desk.signing_key))
    for table, key, given, path in keys:
        place_known = table not in text.faulty and (given is not None or file.data_dir is not None)
        if place_known and not Path(path).is_file():
            mend = _LOST.get(table, _NEVER_MADE) if begun else _NEVER_MADE
            yield error(text.where(table, key), f"there is no file {path}", mend)


_NEVER_MADE: Final = "make it with `gatebook init`, and put it there"
_LOST: Final = {
    "log": "restore it from its shares or its backup: no other key can sign this log; if there is none, `gatebook restore --in-place` begins a new one",
    "payloads": "take it from where its private half lies; only if that is lost, make a new pair with `gatebook init` elsewhere",
}
"""Of keys with which a log was already written. Who makes a new one then has a gate that does not start, and may have overwritten the old."""


def named_files(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """(key, absolute path) of every file that the configuration names, but keys that dev makes by itself and secrets."""
    named: list[tuple[str, str | None]] = [
        ("tls.certificate", deployment.tls_certificate),
        ("tls.key", deployment.tls_key),
    ]
    if deployment.desk is not None:
        named += [
            ("desk.tls.certificate", deployment.desk.tls_certificate),
            ("desk.tls.key", deployment.desk.tls_key),
        ]
    named += [(f"idp {idp.name}: ca_file", idp.ca_file) for idp in deployment.idps]
    named += [each for idp in deployment.idps for each in saml_files(idp)]
    for workload in deployment.workloads:
        named += [
            (f"workload {workload.name}: jwks_file", workload.jwks_file),
            (f"workload {workload.name}: ca_file", workload.ca_file),
        ]
    named += [(f"job {job.name}: public_key", job.public_key) for job in deployment.jobs]
    for issuer in deployment.issuers:
        if issuer.kind == "desk":
            continue  # its key file is made from the signing key at each start
        named += [
            (f"issuer {issuer.name}: jwks_file", issuer.jwks_file),
            (f"issuer {issuer.name}: ca_file", issuer.ca_file),
        ]
    for server in deployment.servers:
        named += [
            (f"server {server.name}: ca_file", server.ca_file),
            (f"server {server.name}: client_certificate", server.client_certificate),
            (f"server {server.name}: client_key", server.client_key),
            (f"server {server.name}: pins", server.pins_file),
        ]
    yield from ((where, path) for where, path in named if path is not None)
