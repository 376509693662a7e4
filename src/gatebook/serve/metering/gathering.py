"""The supervisor's part of metering: it keeps what each room counted, over the room's restarts, and passes it on once a second."""

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Iterator

import gatebook
from gatebook.model.counting import Entries, Report, Sample
from gatebook.model.deployment import Deployment
from gatebook.serve.control import Totals
from gatebook.serve.diagnostics import say_bug
from gatebook.serve.metering import premises, reporting
from gatebook.serve.metering.catalogue import BY_NAME
from gatebook.serve.rooms import Room

PERIOD_S = 1.0
LOOK_EVERY_S = 15.0
METER = "meter"
SUPERVISOR = "supervisor"


class Gathering:
    """What all rooms of one deployment have counted since the supervisor began. Belongs to the supervisor's event loop."""

    def __init__(
        self, deployment: Deployment, rooms: Callable[[], Iterable[Room]], overdue: Callable[[], bool]
    ) -> None:
        """`rooms`: those that run now or ran last; `overdue`: whether calls are refused because nothing is sealed."""
        self._deployment = deployment
        self._rooms = rooms
        self._overdue = overdue
        self._began_s = time.time()
        self._now: dict[str, Report] = {}
        self._before: dict[str, Report] = {}
        self._starts: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._premises: tuple[Sample, ...] = ()
        self.entries = Entries()
        """What the supervisor itself wrote into the book."""

    def heard(self, room: str, report: Report) -> None:
        """What is in no catalogue is left out: the room is of another release, or was taken over."""
        self._now[room] = Report(
            tuple(each for each in report.samples if each.name in BY_NAME),
            tuple(each for each in report.spreads if each.name in BY_NAME),
        )

    def ended(self, room: str) -> None:
        """It counts no more; its successor begins at nothing, and its counters go on from here."""
        if (last := self._now.pop(room, None)) is not None:
            whole = added(self._before.get(room), last)
            self._before[room] = Report(tuple(filter(_grows, whole.samples)), whole.spreads)

    async def run(self) -> None:
        """Until cancelled: the meter that runs is told what there is."""
        looking = asyncio.create_task(self._look())
        try:
            while True:
                try:
                    self._pass_on()
                except (
                    Exception
                ) as bug:  # numbers that stand still show: the meter has no fresh ones, and a scrape fails
                    say_bug("gathering", bug)
                await asyncio.sleep(PERIOD_S)
        finally:
            looking.cancel()

    def _pass_on(self) -> None:
        self._note_starts()
        totals = Totals(reports=dict(self._totals()))
        for room in self._rooms():
            if room.name == METER and room.alive:
                room.send(totals)

    async def _look(self) -> None:
        """In a thread: a disk that hangs must not hold up the supervisor."""
        while True:
            try:
                self._premises = await asyncio.to_thread(lambda: tuple(premises.look(self._deployment)))
            except Exception as bug:  # what was seen last must not stand there as if it were of now
                self._premises = ()
                say_bug("looking at the premises", bug)
            await asyncio.sleep(LOOK_EVERY_S)

    def _note_starts(self) -> None:
        for room in self._rooms():
            if self._seen.get(room.name) != room.process.pid:
                self._seen[room.name] = room.process.pid
                self._starts[room.name] = self._starts.get(room.name, 0) + 1

    def _totals(self) -> Iterator[tuple[str, Report]]:
        yield SUPERVISOR, Report(samples=tuple(self._own()), spreads=(reporting.commits(self.entries),))
        for room in self._rooms():
            before, now = self._before.get(room.name), self._now.get(room.name)
            report = added(before, now) if now is not None else before or Report()
            seen = (
                Sample("gatebook_room_up", (), float(room.alive)),
                Sample("gatebook_room_starts", (), self._starts[room.name]),
            )
            yield room.name, Report((*report.samples, *seen), report.spreads)

    def _own(self) -> Iterator[Sample]:
        yield Sample(
            "gatebook_build_info", (gatebook.__version__, platform.python_version(), self._deployment.profile), 1
        )
        yield Sample("gatebook_start_timestamp_seconds", (), self._began_s)
        yield Sample("gatebook_heartbeat_interval_seconds", (), self._deployment.heartbeat_s)
        yield Sample("gatebook_disk_warn_below_bytes", (), self._deployment.disk.warn_free_bytes)
        yield Sample("gatebook_disk_refuse_below_bytes", (), self._deployment.disk.refuse_free_bytes)
        yield Sample("gatebook_sealing_overdue", (), float(self._overdue()))
        yield from reporting.process()
        yield from reporting.entries(self.entries)
        yield from self._premises


def added(before: Report | None, now: Report) -> Report:
    """Counters and durations of both; what is held, as it is now."""
    if before is None:
        return now
    samples = {(each.name, each.labels): each.value for each in filter(_grows, before.samples)}
    for each in now.samples:
        samples[each.name, each.labels] = samples.get((each.name, each.labels), 0) + each.value
    spreads = {(each.name, each.labels): each for each in before.spreads}
    for spread in now.spreads:
        known = spreads.get((spread.name, spread.labels))
        spreads[spread.name, spread.labels] = known.plus(spread) if known is not None else spread
    return Report(tuple(Sample(*key, value) for key, value in samples.items()), tuple(spreads.values()))


def _grows(sample: Sample) -> bool:
    return BY_NAME[sample.name].kind == "counter"
