"""ports.Ledger: one suite for the segment writer and for the ledger in memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import reading
from gatebook.ledger.entry import Entry
from gatebook.ledger.merkle import leaf_hash
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Origin, Payload, Resource, Who
from tests.speeding import quick_of
from tests.world_ledger import MemoryLedger, Place, StillClock, a_draft, a_place, a_service_draft, seal_once


class Memory:
    def __init__(self) -> None:
        self.ledger = MemoryLedger()

    async def written(self) -> list[tuple[Entry, bytes]]:
        return [(entry, leaf_hash(leaf)) for entry, leaf in zip(self.ledger.entries, self.ledger.leaves, strict=True)]


class Segments:
    def __init__(self, place: Place, composed: str) -> None:
        self.place = place
        self.ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        self.ledger._scribe._quick = quick_of(self.ledger._scribe) if composed == "C" else None

    async def written(self) -> list[tuple[Entry, bytes]]:
        await self.ledger.close()
        await asyncio.to_thread(seal_once, self.place)
        found = reading.entries(LogFiles(self.place.log))
        return [(each.entry, leaf_hash(each.leaf)) for each in found if each.entry.w.n == "gate-0"]


Subject = Memory | Segments


@pytest.fixture(params=["memory", "segments, composed in Python", "segments, composed in C"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    composed = request.param.rpartition(" ")[2]
    made: Subject = Memory() if composed == "memory" else Segments(a_place(tmp_path / "data"), composed)
    yield made
    await made.ledger.close()


async def test_a_receipt_names_the_leaf_that_the_log_holds_later(subject: Subject) -> None:
    receipt = await subject.ledger.record_intent(a_draft(1))
    recorded = await subject.ledger.record(a_draft(1, event="call.result", reason="completed"))
    leaves = {leaf: entry.ev for entry, leaf in await subject.written()}
    assert (leaves[receipt.leaf], leaves[recorded.leaf]) == ("call.intent", "call.result")
    assert receipt.origin == recorded.origin == "example.com/log"


async def test_a_session_is_opened_on_first_sight_and_counted(subject: Subject) -> None:
    for number in (0, 5, 1):
        await subject.ledger.record_intent(a_draft(number))
    entries = [entry for entry, _ in await subject.written()]
    assert [(entry.ev, entry.n) for entry in entries] == [
        ("session.open", 1), ("call.intent", 2), ("call.intent", 3), ("session.open", 1), ("call.intent", 2),
    ]  # fmt: skip
    assert [entry.w.s for entry in entries] == [1, 2, 3, 4, 5]


async def test_many_at_once_are_numbered_without_a_gap(subject: Subject) -> None:
    await asyncio.gather(*(subject.ledger.record_intent(a_draft(number)) for number in range(100)))
    entries = [entry for entry, _ in await subject.written()]
    assert [entry.w.s for entry in entries] == list(range(1, 106))
    assert sorted(entry.call for entry in entries if entry.call) == [f"call-{number:08d}" for number in range(100)]


@pytest.mark.parametrize(
    "changes",
    [
        {"who": Who(kind="person", iss="https://idp.example", sub="")},
        {"who": Who(kind="person", iss="", sub="8c1f22")},
        {"reason": ""},
        {"origin": Origin(ip="")},
        {"resource": Resource(kind="")},
        {"event": ""},
    ],
    ids=["subject", "issuer", "outcome", "origin", "resource", "event"],
)
async def test_a_draft_without_one_of_the_six_fields_is_refused_and_takes_no_number(
    subject: Subject, changes: dict[str, object]
) -> None:
    with pytest.raises(LedgerUnavailable, match=r"10\.2\.2"):
        await subject.ledger.record(a_draft(0, **changes))
    await subject.ledger.record(a_service_draft())
    assert [entry.w.s for entry, _ in await subject.written()] == [1]


async def test_a_payload_without_a_session_is_refused(subject: Subject) -> None:
    with pytest.raises(LedgerUnavailable):
        await subject.ledger.record(a_draft(0, session=None))
    with pytest.raises(LedgerUnavailable):
        await subject.ledger.record(a_draft(0, session="../../etc/passwd"))


async def test_an_overlong_draft_is_cut_and_kept(subject: Subject) -> None:
    shape = {f"argument {number} {'x' * 200}": "string" for number in range(300)}
    draft = a_draft(0)
    assert draft.asked is not None
    await subject.ledger.record(
        a_draft(
            0, asked=msgspec.structs.replace(draft.asked, shape=shape), detail={"told": "y" * 20_000, "many": 2**60}
        )
    )
    entry = (await subject.written())[-1][0]
    assert entry.q is not None
    assert "more" in entry.q.shape["..."]
    assert "20000 characters" in str(entry.x["told"])
    assert entry.x["many"] == str(2**60)


async def test_text_that_no_encoding_takes_does_not_lose_the_record(subject: Subject) -> None:
    await subject.ledger.record(
        a_draft(0, resource=Resource(kind="server", name="bad \ud800 name"), detail={"größe": 1})
    )
    entry = (await subject.written())[-1][0]
    assert entry.res.name == "bad ? name"
    assert list(entry.x) == ["gr\\xf6\\xdfe"]


async def test_large_payloads_pass_between_small_ones(subject: Subject) -> None:
    large = Payload(part="response", body=b"z" * 100_000)
    await asyncio.gather(
        *(
            subject.ledger.record(a_draft(number, payloads=(large,) if number % 3 == 0 else a_draft(number).payloads))
            for number in range(9)
        )
    )
    calls = [entry.call for entry, _ in await subject.written() if entry.call is not None]
    assert sorted(calls) == [f"call-{number:08d}" for number in range(9)]


async def test_who_no_longer_waits_keeps_nobody_else_waiting(subject: Subject) -> None:
    leaving, staying = (asyncio.ensure_future(subject.ledger.record(a_draft(number))) for number in (1, 2))
    await asyncio.sleep(0)
    leaving.cancel()
    recorded = await staying
    await asyncio.wait([leaving])
    assert recorded.leaf in [leaf for _, leaf in await subject.written()]


async def test_after_close_nothing_is_recorded(subject: Subject) -> None:
    await subject.ledger.close()
    with pytest.raises(LedgerUnavailable):
        await subject.ledger.record(a_service_draft())
