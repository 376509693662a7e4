"""The files of keys: our own, and those that issuers and jobs are verified with."""

import stat
from collections.abc import Iterator
from pathlib import Path

from gatebook.config.checking.probe import Probe
from gatebook.config.checking.words import grave, why_of
from gatebook.config.key_files import LOG_VKEY, PAYLOAD_PRIVATE_KEY
from gatebook.config.problem import Problem, error, warning
from gatebook.federation.minting import Minter
from gatebook.federation.registered_keys import key_set_of
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import MAX_BYTES, acceptable_key_set
from gatebook.ledger.note import NoteError, Signer, load_signer
from gatebook.ledger.payload import PayloadError, load_public_key
from gatebook.model.deployment import Deployment


def log_key(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    path = Path(deployment.log_key)
    if not path.exists():
        if deployment.profile == "dev":
            yield warning(
                "log.key",
                f"{path} is not there",
                "`gatebook serve` makes one in dev; `gatebook init` makes one anywhere",
            )
        return
    yield from private(deployment, "log.key", path)
    signer = _signer(path)
    if isinstance(signer, str):
        yield error(
            "log.key", f"{path} {signer}", "restore it from its backup: a new key is a new log for all who verify"
        )
        return
    if deployment.origin and signer.name != deployment.origin:
        what = f"{path} is the key of another log than log.origin says"
        yield error("log.key", what, "use the key that was made for this origin; neither ever changes")
    yield from _verifier_key(deployment, signer)


def _signer(path: Path) -> Signer | str:
    try:
        return load_signer(path.read_text(encoding="ascii").strip())
    except NoteError as failure:
        return f"is no log key: {failure}"
    except (OSError, ValueError) as failure:
        return f"cannot be read: {why_of(failure)}"


def _verifier_key(deployment: Deployment, signer: Signer) -> Iterator[Problem]:
    path = Path(deployment.data_dir) / LOG_VKEY
    try:
        published = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as failure:
        yield error("log.key", f"{path} cannot be read: {why_of(failure)}", "give it to this deployment's user")
        return
    if published != signer.vkey:
        what = f"{path} is not the verifier key of {deployment.log_key}: who verifies with it would refuse every checkpoint"
        yield error("log.key", what, "find out which of the two was replaced")


def payload_key(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    public = Path(deployment.payload_public_key)
    if not public.exists():
        if deployment.profile == "dev":
            mend = "`gatebook serve` makes one in dev; `gatebook init` makes one anywhere"
            yield warning("payloads.public_key", f"{public} is not there", mend)
        return
    try:
        load_public_key(public.read_text(encoding="ascii").strip())
    except PayloadError as failure:
        yield error(
            "payloads.public_key",
            f"{public} is no public payload key: {failure}",
            "put the public half there (PAYLOAD+PUBLIC+…)",
        )
    except (OSError, ValueError) as failure:
        yield error(
            "payloads.public_key", f"{public} cannot be read: {why_of(failure)}", "give it to this deployment's user"
        )
    for private in _private_payload_keys(deployment):
        what = f"the private payload key lies on this machine ({private}): whoever gets in can read every recording"
        yield grave(deployment, "payloads.public_key", what, "move it to where recordings are read, and delete it here")


def _private_payload_keys(deployment: Deployment) -> list[Path]:
    """Where a private payload key lies that belongs elsewhere: beside the public one, or in any place where our own commands put it."""
    public, data_dir = Path(deployment.payload_public_key), Path(deployment.data_dir)
    directories = (public.parent, data_dir, data_dir / "keys", data_dir.parent)
    names = {PAYLOAD_PRIVATE_KEY, public.with_suffix(".key").name}
    return sorted({directory / name for directory in directories for name in names if (directory / name).exists()})


def desk_key(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    if deployment.desk is None:
        return
    path = Path(deployment.desk.signing_key)
    yield from private(deployment, "desk.signing_key", path)
    if not path.exists():
        if deployment.profile == "dev":
            mend = "`gatebook serve` makes one in dev; `gatebook init` makes one anywhere"
            yield warning("desk.signing_key", f"{path} is not there", mend)
        return
    try:
        Minter.of(path.read_bytes())
    except (OSError, ValueError) as failure:
        why = why_of(failure) if isinstance(failure, OSError) else str(failure)
        yield error(
            "desk.signing_key", f"{path}: {why}", "restore it from its backup, or make one with `gatebook init`"
        )


def private(deployment: Deployment, where: str, path: Path) -> Iterator[Problem]:
    """A private key's file must be its owner's alone."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & 0o077:
        yield grave(
            deployment, where, f"{path} has mode {stat.S_IMODE(mode):04o}: others can reach it", f"chmod 0600 {path}"
        )


def key_files(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    for issuer in deployment.issuers:
        if issuer.jwks_file is not None and (why := _key_file_fault(Path(issuer.jwks_file))):
            mend = 'write the issuer\'s public keys as {"keys": [ … ]}'
            yield error(f"issuer {issuer.name}: jwks_file", f"{issuer.jwks_file} {why}", mend)
    for workload in deployment.workloads:
        if workload.jwks_file is not None and (why := _key_file_fault(Path(workload.jwks_file))):
            mend = 'write the issuer\'s public keys as {"keys": [ … ]}'
            yield error(f"workload {workload.name}: jwks_file", f"{workload.jwks_file} {why}", mend)
    for job in deployment.jobs:
        if why := _key_file_fault(Path(job.public_key), job.name):
            mend = "write the job's public key as PEM, as `openssl pkey -pubout` does, or as a JWK Set"
            yield error(f"job {job.name}: public_key", f"{job.public_key} {why}", mend)


def _key_file_fault(path: Path, job: str | None = None) -> str | None:
    """`job`: whose own key it is, which may be PEM."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        acceptable_key_set(raw if job is None else key_set_of(raw, job))
    except FileNotFoundError:
        return None  # said already, with the configuration's own problems
    except OSError as failure:
        return f"cannot be read: {why_of(failure)}"
    except KeySetRefused as refused:
        return f"is not usable: {refused}"
    return None
