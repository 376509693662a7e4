"""The sealer's room: takes the writers' segments, builds the log, signs checkpoints. No listener; the only holder of the log key.

echo '{"deployment": {…}}' | python -m gatebook.serve.sealer
"""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger.note import NoteError, Signer, load_signer
from gatebook.model.deployment import Deployment
from gatebook.model.errors import GatebookError
from gatebook.ports import Clock
from gatebook.serve.sealing import Hand, Sealing, SealingRefused, own_draft

POLL_S = 0.025
SECOND_S = 1.0


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What the room is given on stdin, as JSON."""

    deployment: Deployment


def run(
    deployment: Deployment,
    stop: threading.Event,
    clock: Clock | None = None,
    *,
    sealed: Callable[[], None] = lambda: None,
) -> None:
    """Seal until `stop` is set, then take everything from writers that ended, sign once more and return.

    `sealed` is called once, when what was found has been signed: from then on the log keeps up with the writers.
    Raises SealingRefused where the log on the disk is not the one that was signed, where the key does not fit, or where another sealer runs;
    LedgerUnavailable and OSError where the disk fails. Nothing signed is ever taken back, so it may be started again after any of them.
    """
    data_dir = Path(deployment.data_dir)
    clock = clock or SystemClock()
    with _alone(data_dir / "log"):
        sealing = Sealing(
            deployment,
            _signer(deployment),
            log=LogFiles(data_dir / "log"),
            payloads=LogFiles(data_dir / "payloads"),
            state=LogFiles(data_dir / "sealer"),
            tails=SegmentTails(data_dir / "segments"),
        )
        sealing.start()
        fresh = sealing.fresh
        hand = SegmentHand(deployment, "sealer", clock)
        try:
            if fresh:
                hand.write(
                    own_draft("log.init", reason="created", origin=deployment.origin, vkey=_signer(deployment).vkey)
                )
            hand.write(own_draft("log.start", reason="started", size=sealing.size, signed=sealing.signed))
            _seal_until(stop, sealing, hand, deployment, clock, sealed)
            _finish(sealing, hand)
        except BaseException:
            hand.close(clean=False)
            raise
        hand.close()
        sealing.take(look_for_ended=True)
        sealing.seal()


def _seal_until(
    stop: threading.Event,
    sealing: Sealing,
    hand: Hand,
    deployment: Deployment,
    clock: Clock,
    sealed: Callable[[], None],
) -> None:
    """Entries are taken every 25 ms; once a second they are signed, ended writers recovered and idle sessions closed."""
    beat = time.monotonic()
    second = 0.0
    first = True
    while not stop.wait(POLL_S):
        now = time.monotonic()
        due = now - second >= SECOND_S
        sealing.take(look_for_ended=due)
        if not due:
            continue
        second = now
        for draft in (*sealing.recoveries(), *sealing.closings(clock.now().unix_us)):
            hand.write(draft)
        if now - beat >= deployment.heartbeat_s:
            beat = now
            hand.write(own_draft("log.heartbeat", reason="alive", size=sealing.size, signed=sealing.signed))
        sealing.seal()
        if first:
            first = False
            sealed()


def _finish(sealing: Sealing, hand: Hand) -> None:
    for _ in range(2):  # what is recovered in the first round is an entry of ours in the second
        while sealing.take(look_for_ended=True):
            sealing.seal()
        for draft in sealing.recoveries():
            hand.write(draft)
    hand.write(own_draft("log.stop", reason="stopped", size=sealing.size))
    while sealing.take(look_for_ended=True):
        pass
    sealing.seal()


def _signer(deployment: Deployment) -> Signer:
    try:
        signer = load_signer(Path(deployment.log_key).read_text())
    except (OSError, NoteError) as error:
        raise SealingRefused(f"the log key {deployment.log_key} cannot be used: {error}") from error
    if signer.name != deployment.origin:
        raise SealingRefused(f"the log key is named {signer.name!r}, the log's origin is {deployment.origin!r}")
    return signer


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """While it lasts, no other sealer writes this log."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SealingRefused(f"another sealer holds {directory / '.lock'}") from error
        yield
    finally:
        os.close(descriptor)


def main() -> int:
    """The room as a process: 0 after a clean stop (SIGTERM, SIGINT), 1 where it had to give up."""
    parser = argparse.ArgumentParser(prog="python -m gatebook.serve.sealer", description=__doc__)
    parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(msgspec.json.decode(sys.stdin.buffer.read(), type=Start).deployment, stop)
    except (GatebookError, OSError, msgspec.MsgspecError) as error:
        sys.stderr.write(
            msgspec.json.encode({"room": "sealer", "ended": type(error).__name__, "why": str(error)}).decode() + "\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
