"""Whether the log is an older copy of itself: what the watermark says, what a restore left to be read, and a restore that was broken off."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatebook.config.problem import Problem, error, warning
from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.note import NoteError, load_verifier
from gatebook.ledger.predecessor import PREDECESSOR, unpack
from gatebook.model.deployment import RESTORING, Deployment

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
        vkey = (data_dir / "log.vkey").read_text("utf-8").strip()
        marked = open_checkpoint(watermark.read_bytes(), load_verifier(vkey))
        here = _caught_up(data_dir, vkey, marked.size)
    except FileNotFoundError:
        return  # nothing was sealed yet, or the sealer will make the mark
    except (OSError, NoteError, ValueError) as failure:
        yield error(
            "log.watermark",
            f"{watermark} cannot be used: {failure}",
            "find out who changed it; it must be this log's newest checkpoint",
        )
        return
    if marked.size > here.size:
        what = f"ROLLED BACK: {marked.size} entries were signed, as {watermark} says, but the log ends at {here.size}"
        yield error(
            "log", what, "bring the missing ones back, or `gatebook restore --in-place`: a new log goes on and says so"
        )


def _caught_up(data_dir: Path, vkey: str, size: int) -> Checkpoint:
    """What is published, once it is `size`, or after two seconds: a running sealer writes the watermark first and publishes a moment later."""
    give_up = time.monotonic() + _PUBLISHED_WITHIN_S
    while (here := _published(data_dir, vkey)).size < size and time.monotonic() < give_up:
        time.sleep(0.05)
    return here


def _published(data_dir: Path, vkey: str) -> Checkpoint:
    """The state that the log claims."""
    return open_checkpoint((data_dir / "log" / "checkpoint").read_bytes(), load_verifier(vkey))
