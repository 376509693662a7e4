"""The deployment's own key files under `data_dir/keys`, made where they may be made: session and fingerprint keys always, log and payload keys in dev."""

import errno
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gatebook.durable import make_folder, replace_file, sync_folder
from gatebook.federation import minting
from gatebook.federation.minting import Minter
from gatebook.ledger import note, payload
from gatebook.model.deployment import Deployment, Desk
from gatebook.model.errors import ConfigurationError

if TYPE_CHECKING:
    from gatebook.gate.world import FingerprintKey

KEY_BYTES = 32


def make_missing(deployment: Deployment) -> tuple[str, ...]:
    """Make what is missing; returns what was made, in words for the banner. Raises ConfigurationError where a log or payload key is
    missing in `pci`: there, keys are made by people (`gatebook init`), or nobody could say where the private halves went."""
    keys = Path(deployment.data_dir) / "keys"
    make_folder(keys)
    for name in (
        "session.key",
        "fingerprint.key",
        *(("refresh.key", "upstream.key") if deployment.desk is not None else ()),
    ):
        if not (keys / name).exists():
            _write_private(keys / name, os.urandom(KEY_BYTES))
    needed = [deployment.log_key, deployment.payload_public_key]
    if deployment.desk is not None:
        needed.append(deployment.desk.signing_key)
    missing = [path for path in needed if not Path(path).exists()]
    if missing and deployment.profile == "pci":
        raise ConfigurationError(
            tuple(f"{path}: the key is missing; make one with `gatebook init`, never by starting" for path in missing)
        )
    made = tuple(words for path in missing for words in _make(path, deployment))
    if deployment.desk is not None:
        _bring_published(deployment, deployment.desk)
        publish_desk_keys(deployment.desk, time.time())
    return made


def publish_desk_keys(desk: Desk, now_s: float) -> tuple[Minter, bytes]:
    """The public half of the desk's signing key lies where the gate's issuer of that name is read from, beside those of keys before it until their
    tokens are over. What signs, and that set. Raises ConfigurationError."""
    try:
        minter = Minter.of(Path(desk.signing_key).read_bytes())
        before = published(desk)
        public = minting.published(before, minter, now_s)
        if before != public:
            publish(desk, public)
    except (OSError, ValueError) as failure:
        raise ConfigurationError((f"desk.signing_key {desk.signing_key}: {failure}",)) from failure
    return minter, public


def published(desk: Desk) -> bytes | None:
    """The set as it lies there; None where none does. Raises OSError.

    Where rooms have users of their own, root asks this of a folder that is the desk's: a link there is none of ours, and nothing is waited for."""
    try:
        descriptor = os.open(desk.public_keys, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def publish(desk: Desk, key_set: bytes) -> None:
    """This is the set, durably. Raises OSError."""
    path = Path(desk.public_keys)
    make_folder(path.parent, 0o755)
    replace_file(path, key_set, mode=0o644)


def unpublish(deployment: Deployment) -> None:
    """No key verifies the desk's tokens until a set is published anew. Raises OSError."""
    assert deployment.desk is not None
    for path in (Path(deployment.desk.public_keys), _where_it_was(deployment)):
        path.unlink(missing_ok=True)


def _where_it_was(deployment: Deployment) -> Path:
    """Where an earlier build kept the set: a desk with a user of its own may not replace a file there."""
    return Path(deployment.data_dir) / "desk.jwks"


def _bring_published(deployment: Deployment, desk: Desk) -> None:
    """What an earlier build published is not lost, and no longer there: lying on, it would come back in the place of a set that was taken away."""
    old = _where_it_was(deployment)
    try:
        if old.exists():
            if published(desk) is None:
                publish(desk, old.read_bytes())
            old.unlink()
    except OSError as failure:
        raise ConfigurationError((f"data_dir: {failure.filename or old}: {failure.strerror}",)) from failure


def _make(path: str, deployment: Deployment) -> tuple[str, ...]:
    if path == deployment.log_key:
        signer, verifier = note.generate_key(deployment.origin)
        _write_private(Path(path), signer.encode() + b"\n")
        vkey = Path(deployment.data_dir) / "log.vkey"
        vkey.write_text(verifier + "\n")
        return (f"made a log key for dev: {path}; its verifier is {vkey}",)
    if deployment.desk is not None and path == deployment.desk.signing_key:
        _write_private(Path(path), minting.new_key())
        return (f"made a key for dev that signs the desk's access tokens: {path}",)
    private, public = payload.generate_key_pair()
    private_path = Path(deployment.data_dir) / "keys" / "payloads.key"
    _write_private(private_path, private)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(public)
    return (
        f"made a payload key for dev: {path}; its private half {private_path} opens every recording and belongs elsewhere",
    )


def session_key(deployment: Deployment) -> bytes:
    """Seals MCP session ids; shared by the workers, survives restarts."""
    return _read(deployment, "session.key")


def desk_hash(deployment: Deployment, desk: Desk) -> str:
    """By which two desks know that they are replicas of one: the same issuer, and keys that read what the other wrote. Tells nothing of the keys."""
    named = b"gatebook desk\0" + desk.public_url.encode() + b"\0"
    return hashlib.sha256(named + refresh_key(deployment) + upstream_key(deployment)).hexdigest()


def refresh_key(deployment: Deployment) -> bytes:
    """What refresh tokens are derived with. Lost or replaced: everybody logs in again."""
    return _read(deployment, "refresh.key")


def upstream_key(deployment: Deployment) -> bytes:
    """What seals the providers' refresh tokens. Lost or replaced: nobody can be asked about any more, so everybody logs in again."""
    return _read(deployment, "upstream.key")


def fingerprint_key(deployment: Deployment) -> "FingerprintKey":
    from gatebook.gate.world import FingerprintKey  # it brings the masking, for which a start waits

    key = _read(deployment, "fingerprint.key")
    return FingerprintKey(key, hashlib.sha256(b"gatebook fingerprint key id\0" + key).hexdigest()[:16])


def _read(deployment: Deployment, name: str) -> bytes:
    path = Path(deployment.data_dir) / "keys" / name
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            (
                f"{path}: must hold exactly {KEY_BYTES} bytes; restore it from a backup, or delete it to end all sessions",
            )
        )
    return key


def _write_private(path: Path, content: bytes) -> None:
    """Create `path` with mode 0600, durable; never overwrites."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
