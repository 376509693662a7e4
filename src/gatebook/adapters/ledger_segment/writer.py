"""ports.Ledger on a segment chain: one queue, one thread, one fdatasync for all that arrived while the last was in flight."""

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatebook.adapters.ledger_segment.chain import SegmentChain
from gatebook.ledger.checkpoint import claimed
from gatebook.ledger.entry import Clocked
from gatebook.ledger.merkle import Hash
from gatebook.ledger.note import NoteError
from gatebook.ledger.payload import PayloadError, PublicKey, load_public_key
from gatebook.ledger.scribe import Composed, Scribe, largest_frame
from gatebook.model.deployment import Deployment
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft
from gatebook.ports import Clock, Receipt, Recorded

SMALL_SEGMENT_BYTES = 256 << 10
_INLINE_BYTES = 64 << 10
_QUEUE_BYTES = 64 << 20
_PATIENCE_S = 0.5
_STEP_S = 0.01


class _Queued(msgspec.Struct):
    """One draft on its way: composed, or to be composed by the committing thread; `admitted` bytes of the chain are its own."""

    composed: Composed | None
    finish: Callable[[], Composed] | None
    admitted: int
    settled: "asyncio.Future[Hash]"


class SegmentLedger:
    """One writer's hand in the book. `record_intent` and `record` belong to the event loop that first called one of them."""

    def __init__(self, chain: SegmentChain, scribe: Scribe, clock: Clock, origin: str) -> None:
        self._chain, self._scribe, self._clock, self._origin = chain, scribe, clock, origin
        self._mutex = threading.Lock()
        self._work = threading.Condition(self._mutex)
        self._queue: list[_Queued] = []
        self._queued_bytes = 0
        self._sleeping = False
        self._closing = False
        self._over = False
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._source: tuple[str, int, bool] | None = None
        self._clocked = Clocked(src="none", off=0, ok=False)
        self._thread = threading.Thread(target=self._commit_all, name=f"commits of {scribe.writer}", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        data_dir: str | Path,
        writer: str,
        deployment: Deployment,
        clock: Clock,
        *,
        segment_bytes: int | None = None,
        sessions: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "SegmentLedger":
        """A new epoch of `writer` (`gate-0`, `supervisor`, `cli`: a-z, 0-9, `-`). Its first segment is durable on return.

        `segment_bytes`: the deployment's, or what is given (`SMALL_SEGMENT_BYTES` for those who write little). `sessions`: False for writers
        that record no session; they need no payload key. `entropy(count)` gives random bytes, to any thread. Raises LedgerUnavailable: no space, no key, no directory.
        """
        chain, scribe = open_chain(
            Path(data_dir), writer, deployment, segment_bytes=segment_bytes, sessions=sessions, entropy=entropy
        )
        return cls(chain, scribe, clock, deployment.origin)

    @property
    def writer(self) -> str:
        return self._scribe.writer

    @property
    def epoch(self) -> str:
        return self._scribe.epoch

    @property
    def failed(self) -> str | None:
        """Why nothing can be written any more: a failed write or sync ended this writer for good; only a new epoch helps. None while all is well."""
        return None if self._failure is None else f"{type(self._failure).__name__}: {self._failure}"

    async def record_intent(self, draft: Draft) -> Receipt:
        return Receipt(origin=self._origin, leaf=await self._recorded(draft))

    async def record(self, draft: Draft) -> Recorded:
        return Recorded(origin=self._origin, leaf=await self._recorded(draft))

    async def close(self) -> None:
        """Everything recorded so far is durable, the epoch is ended and its locks are free. Idempotent."""
        with self._mutex:
            self._closing = True
            self._work.notify()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._chain.close, clean=self._failure is None)

    async def _recorded(self, draft: Draft) -> Hash:
        bound = self._scribe.bound(draft)
        waited = 0.0
        while True:
            if self._failure is not None or self._closing:
                raise LedgerUnavailable("this writer is over" if self._failure else "this writer is closing")
            roomy = self._queued_bytes == 0 or self._queued_bytes + bound <= _QUEUE_BYTES
            if roomy and self._chain.admit(bound):
                return await self._enqueue(draft, bound)
            # A burst may be faster than the making of the next segment; a sealer that is behind is not waited for long.
            if waited >= _PATIENCE_S:
                raise LedgerUnavailable("no free segment: the sealer is behind, or the disk is full or slow")
            await asyncio.sleep(_STEP_S)
            waited += _STEP_S

    def _enqueue(self, draft: Draft, bound: int) -> "asyncio.Future[Hash]":
        try:
            queued = self._compose(draft, bound)
        except BaseException:
            self._chain.refund(bound)
            raise
        with self._mutex:
            # Under the lock: what is queued behind the committing thread's last look would wait for ever.
            if self._over:
                raise LedgerUnavailable("this writer is over")
            self._queue.append(queued)
            self._queued_bytes += queued.admitted
            wakes, self._sleeping = self._sleeping, False
        if wakes and self._loop is not None:
            # Behind all that the loop has ready: every one of those that records something shares the commit. Woken at once, the thread
            # would commit one record at a time, and fight over the interpreter for each.
            self._loop.call_soon(self._wake)
        return queued.settled

    def _wake(self) -> None:
        with self._mutex:
            self._work.notify()

    def _compose(self, draft: Draft, bound: int) -> _Queued:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        instant = self._clock.now()
        clocked = self._clocked
        if (clocked.src, clocked.off, clocked.ok) != (instant.source, instant.offset_us, instant.synchronised):
            clocked = Clocked(src=instant.source, off=instant.offset_us, ok=instant.synchronised)
            self._clocked = clocked
        settled: asyncio.Future[Hash] = loop.create_future()
        if bound > _INLINE_BYTES:
            return _Queued(None, self._scribe.defer(draft, instant.unix_us, clocked), bound, settled)
        composed = self._scribe.compose(draft, instant.unix_us, clocked)
        size = sum(map(len, composed.frames))
        self._chain.refund(bound - size)
        return _Queued(composed, None, size, settled)

    def _commit_all(self) -> None:
        """Thread: commit until closed or failed. The order is the promise:"""
        while True:
            # 1. Take everything that arrived since the last commit.
            with self._mutex:
                while not self._queue and not self._closing:
                    self._sleeping = True
                    self._work.wait()
                batch, self._queue, self._queued_bytes = self._queue, [], 0
                self._over = not batch
            if not batch:
                return
            try:
                # 2. Write all frames, 3. make them durable, 4. let the sealer see them.
                leaves = self._store(batch)
                self._chain.sync()
                self._chain.publish()
            except BaseException as error:
                # A failed write or sync: the state of the pages is unknown, so this writer never says "durable" again.
                self._fail(error, batch)
                return
            # 5. Only now tell those who wait, all in one hop.
            self._tell(batch, leaves, None)

    def _store(self, batch: list[_Queued]) -> list[Hash]:
        frames: list[bytes] = []
        leaves: list[Hash] = []
        for queued in batch:
            composed = queued.composed
            if composed is None:
                assert queued.finish is not None
                composed = queued.finish()
                self._chain.refund(queued.admitted - sum(map(len, composed.frames)))
            frames += composed.frames
            leaves.append(composed.leaf)
        self._chain.append(frames)
        return leaves

    def _fail(self, error: BaseException, batch: list[_Queued]) -> None:
        with self._mutex:
            self._failure, self._over = error, True
            batch = batch + self._queue
            self._queue = []
        self._tell(batch, [], LedgerUnavailable(f"the record could not be made durable: {type(error).__name__}"))

    def _tell(self, batch: list[_Queued], leaves: list[Hash], refusal: LedgerUnavailable | None) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(_settle, batch, leaves, refusal)
        except RuntimeError:
            # The loop is closed: nobody waits any more. What is durable stays durable.
            return


def _settle(batch: list[_Queued], leaves: list[Hash], refusal: LedgerUnavailable | None) -> None:
    """On the event loop. One waiter's trouble (cancelled, its loop's handler) must not keep the others waiting."""
    for position, queued in enumerate(batch):
        settled = queued.settled
        if settled.done():
            continue
        try:
            if refusal is not None:
                settled.set_exception(refusal)
            else:
                settled.set_result(leaves[position])
        except asyncio.InvalidStateError:
            continue


class SegmentHand:
    """A hand in the book for one who has no event loop and writes little: each `write` is a commit of its own."""

    def __init__(self, deployment: Deployment, writer: str, clock: Clock) -> None:
        """Raises LedgerUnavailable."""
        self._clock = clock
        self._chain, self._scribe = open_chain(
            Path(deployment.data_dir), writer, deployment, segment_bytes=SMALL_SEGMENT_BYTES, sessions=False
        )
        self.writer, self.epoch = writer, self._scribe.epoch

    def write(self, draft: Draft) -> None:
        """The entry is durable. Raises LedgerUnavailable, OSError (then this hand is over)."""
        bound = self._scribe.bound(draft)
        if not self._chain.admit(bound):
            raise LedgerUnavailable("no free segment")
        instant = self._clock.now()
        clocked = Clocked(src=instant.source, off=instant.offset_us, ok=instant.synchronised)
        composed = self._scribe.compose(draft, instant.unix_us, clocked)
        self._chain.refund(bound - sum(map(len, composed.frames)))
        self._chain.append(composed.frames)
        self._chain.sync()
        self._chain.publish()

    def close(self, *, clean: bool = True) -> None:
        self._chain.close(clean=clean)


def open_chain(
    data_dir: Path,
    writer: str,
    deployment: Deployment,
    *,
    segment_bytes: int | None = None,
    sessions: bool = True,
    entropy: Callable[[int], bytes] = os.urandom,
) -> tuple[SegmentChain, Scribe]:
    """A new epoch's files and its scribe, for those who commit by themselves (the sealer). Raises LedgerUnavailable."""
    size = segment_bytes or deployment.segment_bytes
    piece = max(4 << 10, min(1 << 20, size // 8))
    epoch = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"
    idle_us = int(deployment.limits.session_idle_s * 1_000_000)
    scribe = Scribe(
        writer=writer,
        epoch=epoch,
        entropy=entropy,
        payload_key=_payload_key(deployment) if sessions else None,
        development=deployment.profile == "dev",
        piece_bytes=piece,
        forget_after_us=2 * idle_us,
    )
    try:
        chain = SegmentChain(
            data_dir / "segments",
            writer,
            epoch,
            segment_bytes=size,
            largest_frame=largest_frame(piece),
            published_size=lambda: published_size(data_dir),
            sequence=lambda: scribe.sequence,
        )
    except (OSError, ValueError) as error:
        raise LedgerUnavailable(f"no segment can be made in {data_dir / 'segments'}: {error}") from error
    return chain, scribe


def published_size(data_dir: Path) -> int:
    """The size that the published checkpoint claims; 0 where there is none. A hint only: it bounds a later search from below."""
    try:
        return claimed((data_dir / "log" / "checkpoint").read_bytes()).size
    except (OSError, NoteError):
        return 0


def _payload_key(deployment: Deployment) -> PublicKey:
    try:
        return load_public_key(Path(deployment.payload_public_key).read_text())
    except (OSError, PayloadError) as error:
        raise LedgerUnavailable(f"the payload key {deployment.payload_public_key} cannot be used: {error}") from error
