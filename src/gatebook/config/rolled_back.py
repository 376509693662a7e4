"""Whether the log is an older copy of itself: what the watermark says, what a restore left to be read, and a restore that was broken off."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatebook.config.key_files import LOG_VKEY
from gatebook.config.problem import Problem, error, warning
from gatebook.ledger.checkpoint import claimed, open_checkpoint
from gatebook.ledger.note import NoteError, load_verifier
from gatebook.ledger.predecessor import PREDECESSOR, unpack
from gatebook.model.deployment import RESTORING, Deployment

NO_LOG: Final = "there is no log in"
"""What tells a log that is gone from one that is older: the other is put back in another way."""
_PUBLISHED_WITHIN_S: Final = 2.0


def rolled_back(deployment: Deployment, _probe: object) -> Iterator[Problem]:
    """A part of `check`."""
    data_dir = Path(deployment.data_dir)
    if (data_dir / RESTORING).exists():
        mend = "type the same `gatebook restore` again, into an empty directory (--in-place: as it is)"
        yield error("data_dir", f"a restore of {data_dir} was broken off", mend)
        return
    try:
        before = unpack((data_dir / "sealer" / PREDECESSOR).read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as failure:
        yield error(
            "log",
            f"what a restore left in sealer/{PREDECESSOR} cannot be read: {failure}",
            "run this as the deployment's user",
        )
    else:
        mend = "see that whoever verifies has both verifier keys; look for what was lost in the copies of others"
        yield warning("log", before.words(), mend)
    if deployment.watermark is not None:
        yield from _against(deployment, data_dir, Path(deployment.watermark))


def _against(deployment: Deployment, data_dir: Path, watermark: Path) -> Iterator[Problem]:
    if watermark.resolve().is_relative_to(data_dir.resolve()):
        yield error(
            "log.watermark",
            f"{watermark} lies in data_dir: it would go back with it",
            "name a file on another disk or machine",
        )
    if not watermark.parent.is_dir():
        yield error(
            "log.watermark",
            f"there is no folder {watermark.parent}",
            "mount it, or make it for this deployment's user; nothing is signed before",
        )
        return
    try:
        marked = _marked(data_dir, watermark)
        here = 0 if marked is None else _caught_up(data_dir, marked)
    except (OSError, NoteError, ValueError) as failure:
        yield error(
            "log.watermark",
            f"{watermark} cannot be used: {failure}",
            "find out who changed it; it must be this log's newest checkpoint",
        )
        return
    if marked is None or marked <= here:
        return
    signed = f"ROLLED BACK: {marked} entries were signed, as {watermark} says, but"
    if here:
        mend = "bring the missing ones back, or `gatebook restore --in-place`: a new log goes on and says so"
        yield error("log", f"{signed} the log ends at {here}", mend)
    else:
        mend = "bring it back, or put the newest backup back: `gatebook restore FROM`; a new log goes on and says so"
        yield error("log", f"{signed} {NO_LOG} {data_dir}", mend)


def _marked(data_dir: Path, watermark: Path) -> int | None:
    """The size that the watermark shows to have been signed; only what it claims, where the verifier key is gone with the log. None where the sealer
    will make it, or the key alone is gone. Raises OSError, NoteError, ValueError."""
    try:
        note = watermark.read_bytes()
    except FileNotFoundError:
        return None
    try:
        vkey = (data_dir / LOG_VKEY).read_text("utf-8").strip()
    except FileNotFoundError:
        return None if (data_dir / "log" / "checkpoint").exists() else claimed(note).size
    return open_checkpoint(note, load_verifier(vkey)).size


def _caught_up(data_dir: Path, size: int) -> int:
    """The size that is published, once it is `size`, or after two seconds: a running sealer writes the watermark first and publishes a moment later."""
    give_up = time.monotonic() + _PUBLISHED_WITHIN_S
    while (here := _published(data_dir)) < size and time.monotonic() < give_up:
        time.sleep(0.05)
    return here


def _published(data_dir: Path) -> int:
    """The size that the log claims; 0 where nothing is published there. Raises OSError, NoteError, ValueError."""
    try:
        note = (data_dir / "log" / "checkpoint").read_bytes()
    except FileNotFoundError:
        return 0
    return open_checkpoint(note, load_verifier((data_dir / LOG_VKEY).read_text("utf-8").strip())).size
