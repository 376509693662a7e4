"""What a session has open: a call is answered by its own result, or by one that came late on a resumed stream."""

import msgspec
import pytest

from gatebook.ledger.entry import Clocked, Entry, Out, Written, compose, decode
from gatebook.ledger.gist import Gist, gist_of
from gatebook.ledger.sessions import Session, Sessions, closings, counted_all
from gatebook.model.record import Asked, Origin, Resource, Who

WHO = Who(kind="person", iss="https://idp.example", sub="alice")
FAR_US = 2_000_000_000_000_000


def entry(event: str, sequence: int, *, call: str | None = None, **more: object) -> Gist:
    fields: dict[str, object] = {
        "v": 1, "id": f"id-{sequence}", "t": "2026-11-22T10:00:00.000000Z", "clk": Clocked(src="test", off=0, ok=True),
        "w": Written(n="gate-0", e="e1", s=sequence), "ev": event, "out": Out(ok=True, reason="completed"), "who": WHO,
        "from_": Origin(ip="192.0.2.1"), "res": Resource(kind="server", server="payments"), "call": call, "sess": "s" * 32,
    }  # fmt: skip
    made = Entry(**{**fields, **more})  # type: ignore[arg-type]
    return gist_of(made, msgspec.json.encode(made, order="deterministic"))


def asked(call: str, sequence: int, request_id: str, server: str = "payments") -> Gist:
    return entry("call.intent", sequence, call=call, q=Asked(id=request_id), res=Resource(kind="server", server=server))


def late(sequence: int, request_id: str) -> Gist:
    return entry("call.result", sequence, x={"id": request_id})


def session_of(*entries: Gist) -> Session:
    sessions = Sessions()
    for index, each in enumerate(entries):
        session = sessions.take(index, each)
    assert session is not None
    return session


def test_a_result_closes_its_call() -> None:
    assert session_of(asked("c1", 1, "1"), entry("call.result", 2, call="c1")).work == {}


def test_a_late_result_closes_the_call_whose_id_it_bears() -> None:
    """Else the sealer would say later that nobody knows how the call ended."""
    assert list(session_of(asked("c1", 1, "1"), asked("c2", 2, '"a"'), late(3, '"a"')).work) == ["c1"]


def test_of_two_open_calls_with_one_id_the_later_is_answered() -> None:
    """A client that has reconnected counts from the beginning again."""
    assert list(session_of(asked("c1", 1, "1"), asked("c2", 2, "1"), late(3, "1")).work) == ["c1"]


def test_a_late_result_of_no_open_call_closes_nothing() -> None:
    work = session_of(asked("c1", 1, "1"), late(2, '"1"'), entry("stream.open", 3, call="g"), late(4, "2")).work
    assert list(work) == ["c1", "g"]


def test_a_call_answered_late_is_not_closed_as_unknown() -> None:
    sessions = Sessions()
    for index, each in enumerate((asked("c1", 1, "1"), late(2, "1"))):
        sessions.take(index, each)
    due = closings(sessions, now_us=FAR_US, idle_us=1, size=2, alive=frozenset(), most=10)
    assert [draft.event for draft in due] == ["session.close"]


def closing_of(session: Session) -> Entry:
    """As it is written into the log."""
    sessions = Sessions.resume([session], [])
    (draft,) = closings(sessions, now_us=FAR_US, idle_us=1, size=10_000, alive=frozenset(), most=10)
    leaf = compose(
        draft, unix_us=1_795_000_000_000_000, clock=Clocked(src="test", off=0, ok=True), identifier="id-1",
        written=Written(n="sealer", e="e2", s=1), count=1, pay=(), development=False,
    )  # fmt: skip
    return decode(leaf)


@pytest.mark.parametrize("epochs", [1, 100, 128, 129, 200, 5000])
@pytest.mark.parametrize("agent", ["assistant", "\u4e2d" * 3000])
def test_however_many_epochs_wrote_a_session_it_is_closed_once_with_whole_sums(epochs: int, agent: str) -> None:
    """A closing that lost its `upto` closes nothing: it would be written once more, every second, for ever."""
    session = session_of(asked("c1", 1, "1"), entry("call.result", 2, call="c1"))
    session.who = msgspec.structs.replace(WHO, agent=agent)
    session.entries = {(f"gate-{number % 64}", f"01a22b{number:014x}"): 10_000 + number for number in range(epochs)}
    closing = closing_of(session)
    assert counted_all(session, closing)
    assert {name: value for name, value in closing.x.items() if name != "upto"} == session.totals()
    if epochs > 128:
        assert closing.x["epochs"] == epochs
        assert closing.x["entries"] == sum(session.entries.values())
    else:
        assert len(closing.x) == epochs + 4


def test_long_names_of_writers_are_not_told_one_by_one() -> None:
    session = session_of(asked("c1", 1, "1"), entry("call.result", 2, call="c1"))
    session.entries = {("g" * 48, f"01a22b{number:014x}"): 2**50 for number in range(120)}
    assert closing_of(session).x["epochs"] == 120


def late_sessions(*gists: Gist) -> Sessions:
    sessions = Sessions(late=True)
    for index, each in enumerate(gists):
        sessions.take(index, each)
    return sessions


def test_a_session_whose_entries_are_all_there_is_whole() -> None:
    sessions = late_sessions(asked_at(1, "c1", 7, "1"), entry("call.result", 8, call="c1", n=2))
    assert sessions.open["s" * 32].whole


def test_a_writer_that_has_counted_before_or_an_end_without_its_beginning_tells_of_entries_that_are_not_there() -> None:
    for first in (
        asked_at(2, "c1", 7, "1"),
        entry("stream.close", 7, call="g", n=1),
        entry("session.close", 7, n=1, x={"upto": 5}, w=Written(n="sealer", e="e2", s=7)),
    ):
        sessions = late_sessions(first)
        session = [*sessions.open.values(), *sessions.closed.values()][0]
        assert not session.whole
        assert session_of(first).whole, "where it is the first entry of the log"


def test_what_is_not_whole_is_not_closed_but_set_aside() -> None:
    sessions = late_sessions(entry("call.refused", 7, n=3))
    assert closings(sessions, now_us=FAR_US, idle_us=1, size=2, alive=frozenset(), most=10) == []
    assert sessions.set_aside(FAR_US, 1) == ["s" * 32] == list(sessions.closed)
    sessions.take(9, entry("call.refused", 8, n=4))
    assert closings(sessions, now_us=FAR_US, idle_us=1, size=2, alive=frozenset(), most=10) == []


def asked_at(count: int, call: str, sequence: int, request_id: str) -> Gist:
    return entry("call.intent", sequence, call=call, q=Asked(id=request_id), n=count)
