"""What a session has open: a call is answered by its own result, or by one that came late on a resumed stream."""

import msgspec

from gatebook.ledger.entry import Clocked, Entry, Out, Written
from gatebook.ledger.gist import Gist, gist_of
from gatebook.ledger.sessions import Session, Sessions, closings
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
