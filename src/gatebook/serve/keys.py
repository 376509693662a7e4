"""The deployment's own key files under `data_dir/keys`, made where they may be made: session and fingerprint keys always, log and payload keys in dev."""

import hashlib
import os
from pathlib import Path

from gatebook.durable import make_folder, sync_folder
from gatebook.gate.world import FingerprintKey
from gatebook.ledger import note, payload
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError

KEY_BYTES = 32


def make_missing(deployment: Deployment) -> tuple[str, ...]:
    """Make what is missing; returns what was made, in words for the banner. Raises ConfigurationError where a log or payload key is
    missing in `pci`: there, keys are made by people (`gatebook init`), or nobody could say where the private halves went."""
    keys = Path(deployment.data_dir) / "keys"
    make_folder(keys)
    for name in ("session.key", "fingerprint.key"):
        if not (keys / name).exists():
            _write_private(keys / name, os.urandom(KEY_BYTES))
    missing = [path for path in (deployment.log_key, deployment.payload_public_key) if not Path(path).exists()]
    if missing and deployment.profile == "pci":
        raise ConfigurationError(
            tuple(f"{path}: the key is missing; make one with `gatebook init`, never by starting" for path in missing)
        )
    return tuple(words for path in missing for words in _make(path, deployment))


def _make(path: str, deployment: Deployment) -> tuple[str, ...]:
    if path == deployment.log_key:
        signer, verifier = note.generate_key(deployment.origin)
        _write_private(Path(path), signer.encode() + b"\n")
        vkey = Path(deployment.data_dir) / "log.vkey"
        vkey.write_text(verifier + "\n")
        return (f"made a log key for dev: {path}; its verifier is {vkey}",)
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


def fingerprint_key(deployment: Deployment) -> FingerprintKey:
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
