"""The sealer's room: takes the writers' segments, builds the log, signs checkpoints. No listener; the only holder of the log key."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from gatebook import __version__
from gatebook.durable import make_folder
from gatebook.ledger.gist import Read, read_gist
from gatebook.ledger.note import NoteError, Signer, load_signer
from gatebook.ledger.predecessor import PREDECESSOR, unpack
from gatebook.ledger.recomparing import Rounds
from gatebook.locks import alone
from gatebook.model.counting import Entries, Report, Sample
from gatebook.model.deployment import Deployment
from gatebook.model.record import Draft
from gatebook.ports import Clock
from gatebook.serve.diagnostics import say
from gatebook.serve.giving_way import GiveWay
from gatebook.serve.metering import reporting
from gatebook.serve.sealing import Sealing, own_draft
from gatebook.serve.sealing_ports import Hand, LogStore, SealingRefused, Tails, Watermark

POLL_S = 0.025
IDLE_POLL_S = 0.1
SEAL_EVERY_S = 0.25
"""docs/adr/0009-checkpoints-thin-out.md"""
SECOND_S = 1.0
BEHIND_US = 400_000
"""What has waited so long for its signature is not kept waiting for anybody else."""
CROWDED = 0.5
"""Where so much of a segment waits to be taken its writer may soon have none that is free, and its callers wait for one."""


class OwnHand(Hand, Protocol):
    entries: Entries

    def close(self, *, clean: bool = True) -> None: ...


class SealerPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The outside world of the sealer, as `wiring` made it. `open_hand` begins an epoch of the sealer's own segment."""

    log: LogStore
    payloads: LogStore
    state: LogStore
    tails: Tails
    open_hand: Callable[[], OwnHand]
    clock: Clock
    watermark: Watermark | None = None
    give_way: GiveWay
    """The same one that `log`, `payloads` and `tails` call; whether it does is decided here."""
    read: Read = read_gist
    """Reads what writers wrote."""
    report: Callable[[Report], None] = lambda _: None
    """Gets, once a second, what this sealer has counted; must not block."""


def run(
    deployment: Deployment, stop: threading.Event, ports: SealerPorts, *, sealed: Callable[[], None] = lambda: None
) -> None:
    """Seal until `stop` is set, then take everything from writers that ended, sign once more and return.

    `sealed` is called once, when what was found has been signed: from then on the log keeps up with the writers.
    Raises SealingRefused where the log on the disk is not the one that was signed, where the key does not fit, or where another sealer runs;
    LedgerUnavailable and OSError where the disk fails. Nothing signed is ever taken back, so it may be started again after any of them.
    """
    signer = _signer(deployment)
    with _alone(Path(deployment.data_dir) / "log"):
        sealing = Sealing(
            deployment,
            signer,
            log=ports.log,
            payloads=ports.payloads,
            state=ports.state,
            tails=ports.tails,
            watermark=ports.watermark,
            give_way=ports.give_way,
            read=ports.read,
        )
        sealing.start()
        fresh = sealing.is_fresh()
        hand = ports.open_hand()
        try:
            if fresh:
                hand.write(_beginning(deployment, signer, ports.state))
            hand.write(
                own_draft("log.start", reason="started", release=__version__, size=sealing.size, signed=sealing.signed)
            )
            _seal_until(stop, sealing, hand, deployment, ports, sealed)
            ports.give_way.behind = True
            _finish(sealing, hand, ports.clock)
        except BaseException:
            hand.close(clean=False)
            raise
        hand.close()
        sealing.take(look_for_ended=True)
        sealing.seal(ports.clock.now().unix_us)
        with contextlib.suppress(OSError):  # the next start reads a little more
            sealing.remember()


def _seal_until(
    stop: threading.Event,
    sealing: Sealing,
    hand: OwnHand,
    deployment: Deployment,
    ports: SealerPorts,
    sealed: Callable[[], None],
) -> None:
    """What waits is signed, but not sooner than SEAL_EVERY_S after the last time; once a second ended writers are recovered and idle sessions
    closed. Where nothing waits, one bundle of the log is compared again. Where nothing was written for a second, the segments are looked at
    less often; where they are crowded, without a pause."""
    clock, rounds = ports.clock, Rounds()
    beat = busy = time.monotonic()
    second = sealed_at = 0.0
    behind_us = late_us = 0
    first, whole, crowded = True, True, False
    told: set[str] = set()
    pause_s = POLL_S
    while not stop.wait(pause_s):
        now = time.monotonic()
        ports.give_way.behind = crowded or sealing.full or _waiting_us(sealing, clock) > BEHIND_US
        due = now - second >= SECOND_S
        taken = sealing.take(look_for_ended=due)
        # Where nothing could be taken of what waits, looking again and again helps nobody.
        crowded = taken > 0 and sealing.backlog > CROWDED
        if taken:
            busy = now
        if due:
            second = now
            for draft in (*sealing.recoveries(), *sealing.closings(clock.now().unix_us)):
                hand.write(draft)
            broken = (*sealing.damaged, *rounds.broken)
            if whole == bool(broken):
                whole = not broken
                say("log.whole" if whole else "log.broken", files=len(broken), first=broken[0] if broken else None)
                beat = -math.inf
            if new := sealing.damage.keys() - told:
                told |= new
                beat = -math.inf
                for file in sorted(new):
                    say("segment.damaged", file=file, offset=sealing.damage[file], mend=_MEND_SEGMENT)
            if now - beat >= deployment.heartbeat_s:
                hand.write(_heartbeat(sealing, rounds, broken, behind_us))
                beat, behind_us = now, 0
            ports.report(_counted(sealing, rounds, hand, max(late_us, _waiting_us(sealing, clock))))
            late_us = 0
        if sealing.full or now - sealed_at >= SEAL_EVERY_S:
            sealed_at = now
            took_us = _sealed(sealing, clock)
            behind_us, late_us = max(behind_us, took_us), max(late_us, took_us)
        elif due:
            sealing.tidy()
        if (tree := sealing.signed_tree) is not None:
            rounds.compare(tree, ports.log.read, now)
        if first:
            first = False
            sealed()
        # No pause where the work took as long: there is more by now.
        poll_s = POLL_S if now - busy < SECOND_S else IDLE_POLL_S
        pause_s = 0.0 if crowded else max(0.0, poll_s - (time.monotonic() - now))


_MEND_SEGMENT = "gatebook restart: its writer goes on in another one. docs/howto/runbooks.md, A segment is damaged"


def _sealed(sealing: Sealing, clock: Clock) -> int:
    """Seal; the time in microseconds from the writing of the first entry in it until it was signed, 0 where there was none."""
    since_us = sealing.unsigned_since_us
    sealing.seal(clock.now().unix_us)
    return 0 if since_us is None else max(0, clock.now().unix_us - since_us)


def _beginning(deployment: Deployment, signer: Signer, state: LogStore) -> Draft:
    """The first entry. It names the head of the log before, where there was one: docs/adr/0018-a-restore-begins-a-new-log.md"""
    try:
        before = unpack(state.read(PREDECESSOR))
    except FileNotFoundError:
        return own_draft("log.init", reason="created", origin=deployment.origin, vkey=signer.vkey)
    except ValueError as error:
        raise SealingRefused(f"sealer/{PREDECESSOR} cannot be read: {error}") from error
    begun = own_draft("log.init", reason="continued", origin=deployment.origin, vkey=signer.vkey)
    return msgspec.structs.replace(begun, detail={**begun.detail, **before.facts()})


def _waiting_us(sealing: Sealing, clock: Clock) -> int:
    since_us = sealing.unsigned_since_us
    return 0 if since_us is None else max(0, clock.now().unix_us - since_us)


def _counted(sealing: Sealing, rounds: Rounds, hand: OwnHand, behind_us: int) -> Report:
    samples = (
        Sample("gatebook_log_entries", (), sealing.size),
        Sample("gatebook_log_signed_entries", (), sealing.signed),
        Sample("gatebook_log_broken_files", (), len(rounds.broken) + len(sealing.damaged)),
        Sample("gatebook_sealer_behind_seconds", (), behind_us / 1_000_000),
        *reporting.process(),
        *reporting.entries(hand.entries),
    )
    return Report(samples, (reporting.commits(hand.entries),))


def _heartbeat(sealing: Sealing, rounds: Rounds, broken: tuple[str, ...], behind_us: int) -> Draft:
    beat = own_draft(
        "log.heartbeat",
        reason="alive",
        size=sealing.size,
        signed=sealing.signed,
        behind_ms=behind_us // 1000,
        compared=rounds.compared,
    )
    if not broken:
        return beat
    # Sealing goes on: what is signed is the tree in memory, which is the true one, and nobody shall end all calls by a byte in an old file.
    facts = {**beat.detail, "broken": len(broken), "first_broken": broken[0]}
    return msgspec.structs.replace(beat, ok=False, reason="broken", detail=facts)


def _finish(sealing: Sealing, hand: Hand, clock: Clock) -> None:
    for _ in range(2):  # what is recovered in the first round is an entry of ours in the second
        _take_ended(sealing, clock)
        for draft in sealing.recoveries():
            hand.write(draft)
    hand.write(own_draft("log.stop", reason="stopped", size=sealing.size))
    _take_ended(sealing, clock)


def _take_ended(sealing: Sealing, clock: Clock) -> None:
    """Everything of writers that ended is signed, and of those that live what was there: they go on, and the next sealer with them."""
    while True:
        taken = sealing.take(look_for_ended=True)
        sealing.seal(clock.now().unix_us)
        if not taken or not sealing.awaits_ended():
            return


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
    make_folder(directory)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(directory / ".lock"))
        except BlockingIOError as error:
            raise SealingRefused(f"another sealer holds {directory / '.lock'}") from error
        yield
