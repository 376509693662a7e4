"""Every crossing of every port, in every kind of exchange, goes wrong in every way: nothing is sent without a receipt, and nothing is
answered without an outcome. `every_way` makes the matrix; the last test counts its cells."""

import asyncio
import json
from collections import Counter

import pytest

from gatebook.gate import exchange
from gatebook.gate.releasing import Releaser
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.record import Draft
from gatebook.ports import Receipt
from tests.play.every_way import FAULTS, Fault, Run, Way, unended, wrongs
from tests.play.test_hostile_answers import ERROR, INITIALIZE, INITIALIZED, NOTE, OTHER, REQUEST, STREAM, event
from tests.play.test_one_call import CALL, MODERN_HEADERS, PAN, RESULT, modern_call
from tests.play.test_streams import STRAY

SAID = b"x-unknown"
ONE = RESULT.replace(b'"a/1"', b"1")
RESULT_IS = ((SAID, "call.result"),)
ASKED_TOO = (*RESULT_IS, (b"sampling/createMessage", "message.server"))
AGAIN = CALL.replace(b'"a/1"', b"1")
OLD = (b"mcp-protocol-version", b"2025-03-26")
TWO = b"[" + CALL + b"," + CALL.replace(b'"a/1"', b"2") + b"]"
TWO_RESULTS = b"[" + RESULT + b"," + RESULT.replace(b'"a/1"', b"2") + b"]"
TOOLS = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": n, "inputSchema": {}} for n in ("get_order", "drop")]}}
).encode()
LARGE = RESULT.replace(b'"ok"', b'"' + b"word " * 20_000 + b'"')


def streamed(*events: bytes) -> tuple[bytes, ...]:
    return tuple(event(each) for each in events)


WAYS = {
    "a call": Way(CALL, (RESULT,), behind=RESULT_IS),
    "a modern call": Way(modern_call(id="42"), (ONE,), headers=MODERN_HEADERS, behind=RESULT_IS),
    "a call answered in pieces": Way(CALL, (RESULT[:20], RESULT[20:]), behind=RESULT_IS),
    "a call answered at length": Way(CALL, (LARGE,), behind=RESULT_IS),
    "a call answered with a card number": Way(CALL, (RESULT.replace(b'"ok"', b'"' + PAN.encode() + b'"'),), behind=RESULT_IS),
    "a call answered with an error": Way(CALL, (ERROR,), behind=((b"-32000", "call.result"),)),
    "a call answered with a lie": Way(CALL, (OTHER,), behind=((SAID, "never"),)),
    "a call answered with status 500": Way(CALL, (b"oops",), status=500, content_type=b"text/plain"),
    "a call whose credential is refused": Way(CALL, (b"",), status=401, content_type=b"text/plain"),
    "a call to a server that is away": Way(
        CALL, fails=UpstreamError(Reason.UPSTREAM_UNREACHABLE, "refused", sent=False)
    ),
    "a call answered by a stream": Way(CALL, streamed(NOTE, REQUEST, RESULT), content_type=STREAM, behind=ASKED_TOO),
    "a modern call answered by a stream": Way(
        modern_call(id="42"), streamed(NOTE, ONE), headers=MODERN_HEADERS, content_type=STREAM, behind=RESULT_IS
    ),
    "a stream that ends without a result": Way(CALL, streamed(NOTE), content_type=STREAM),
    "a batch": Way(TWO, (TWO_RESULTS,), headers=(OLD,), elements=2, behind=RESULT_IS),
    "a list": Way(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', (TOOLS,), behind=((b"get_order", "call.result"),)),
    "a session's begin": Way(
        INITIALIZE,
        (b'{"jsonrpc":"2.0","id":0,"result":{"x-unknown":1}}',),
        server_headers=((b"mcp-session-id", b"theirs"),),
        behind=RESULT_IS,
    ),
    "a notification": Way(INITIALIZED, (b"",), status=202),
    "a notification refused with an error": Way(
        INITIALIZED, (STRAY,), status=400, behind=((b"-32000", "message.server"),)
    ),
    "a client's answer": Way(b'{"jsonrpc":"2.0","id":9,"result":{}}', (b"",), status=202),
    "a GET stream": Way(b"", streamed(NOTE, REQUEST), method="GET", content_type=STREAM, behind=ASKED_TOO[1:]),
    "a resumed stream": Way(
        b"", streamed(RESULT), method="GET", headers=((b"last-event-id", b"1"),), content_type=STREAM, behind=RESULT_IS
    ),
    "a session's end": Way(b"", (b"",), method="DELETE"),
    "one more call": Way(AGAIN, (ONE,), behind=RESULT_IS, before=3, at_once=True),
    "one more modern call": Way(modern_call(id="42"), (ONE,), headers=MODERN_HEADERS, behind=RESULT_IS, before=3, at_once=True),
    "one more call, answered in its time": Way(AGAIN, (ONE[:20], ONE[20:]), behind=RESULT_IS, before=3),
    "one more call, answered with a card number": Way(
        AGAIN, (ONE.replace(b'"ok"', b'"' + PAN.encode() + b'"'),), behind=RESULT_IS, before=3, at_once=True
    ),
    "one more call, answered with an error": Way(
        AGAIN, (ERROR.replace(b'"a/1"', b"1"),), behind=((b"-32000", "call.result"),), before=3, at_once=True
    ),
    "one more call, answered with a lie": Way(AGAIN, (OTHER,), behind=((SAID, "never"),), before=3, at_once=True),
    "one more call, answered with status 500": Way(
        AGAIN, (b"oops",), status=500, content_type=b"text/plain", before=3, at_once=True
    ),
    "one more call to a server that is away": Way(
        AGAIN, fails=UpstreamError(Reason.UPSTREAM_UNREACHABLE, "refused", sent=False), before=3
    ),
    "one more modern call, answered by a stream": Way(
        modern_call(id="42"), streamed(NOTE, ONE), headers=MODERN_HEADERS, content_type=STREAM, behind=RESULT_IS, before=3
    ),
    "a denial": Way(CALL.replace(b"get_order", b"delete_customer"), sent=0),
    "a card number": Way(CALL.replace(b'"42"', b'"' + PAN.encode() + b'"'), sent=0),
    "unreadable bytes": Way(CALL + b"x", sent=0),
    "another person's session": Way(CALL, headers=((b"mcp-session-id", b"AAAA"),), sent=0),
    "a stranger": Way(CALL, token="nobody", sent=0),
    "nobody": Way(CALL, token=None, sent=0),
    "a foreign origin": Way(CALL, headers=((b"origin", b"https://evil.example"),), sent=0),
}  # fmt: skip


async def undisturbed(way: Way) -> Run:
    run = Run(way)
    await run.go()
    return run


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_undisturbed_each_exchange_is_what_it_is_meant_to_be(way: Way) -> None:
    run = await undisturbed(way)
    assert list(wrongs(way, run.journal)) == [] and unended(run.journal) == []
    assert sum(crossed.what == "sent" for crossed in run.journal) == way.sent
    assert (
        b"".join(crossed.said for crossed in run.journal if crossed.what == "left") or way.status == 202 or not way.body
    )
    assert run.play.world.running == {} and run.play.bugs == []
    for said, after in way.behind:
        assert after == "never" or any(said in crossed.said for crossed in run.journal if crossed.what == "left")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_whatever_goes_wrong_wherever_nothing_is_sent_or_answered_unrecorded(way: Way, fault: Fault) -> None:
    found: list[str] = []
    for at in range(len((await undisturbed(way)).crossings.names)):
        run = Run(way, at, fault)
        await run.go()
        found += [f"{run.where}: {wrong}" for wrong in wrongs(way, run.journal)]
        found += [f"{run.where}: {left_over}" for left_over in leftovers(run)]
    assert found == []


def leftovers(run: Run) -> list[str]:
    """What must be true at the end of any exchange that was not killed in the middle."""
    found: list[str] = []
    if run.play.world.running:
        found.append("a place is still taken")
    book_failed = any(crossed.what == "refused by the book" for crossed in run.journal)
    killed = run.fault in ("cancelled", "cancelled when done")
    if not book_failed and not killed and (calls := unended(run.journal)):
        found.append(f"calls without an end in the book: {calls}")
    at = run.crossings.at or 0
    name = run.crossings.names[at] if at < len(run.crossings.names) else ""
    dropped = name == "upstream close" or (killed and name == "upstream send")
    if run.server.opened and not run.server.closed and not dropped:
        found.append("the server's connection was never let go")
    return found


async def test_the_matrix_has_every_port_in_it() -> None:
    crossed: Counter[str] = Counter()
    for way in WAYS.values():
        crossed.update((await undisturbed(way)).crossings.names)
    ports = {"clock", "credentials", "keys", "ledger intent", "ledger record", "random", "sessions"}
    assert set(crossed) == ports | {"upstream body", "upstream close", "upstream send"}
    cells = crossed.total() * len(FAULTS)
    print(f"{len(WAYS)} exchanges, {crossed.total()} crossings, {len(FAULTS)} faults: {cells} cells")
    print(", ".join(f"{name} {count}" for name, count in sorted(crossed.items())))
    assert cells >= 2_000


# The judge itself: a gate that does the wrong thing is found out


async def test_a_gate_that_sends_without_an_intent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def invented(*_: object) -> Receipt:
        return Receipt(origin="", leaf=b"invented")

    monkeypatch.setattr(exchange, "_record_intents", invented)
    way = WAYS["a call"]
    found = list(wrongs(way, (await undisturbed(way)).journal))
    assert "sent with a receipt that no book gave" in found and any("has no intent" in wrong for wrong in found)


@pytest.mark.parametrize("name", ["a call", "a call answered by a stream", "a resumed stream"])
async def test_a_gate_that_answers_before_the_outcome_is_durable_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[asyncio.Future[None]] = []
    record = Releaser._record

    async def hasty(self: Releaser, draft: Draft) -> None:
        later.append(asyncio.ensure_future(record(self, draft)))

    monkeypatch.setattr(Releaser, "_record", hasty)
    run = await undisturbed(WAYS[name])
    await asyncio.gather(*later)
    assert [wrong for wrong in wrongs(WAYS[name], run.journal) if "left before its call.result was durable" in wrong]


async def test_a_gate_that_sends_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = exchange.forward

    async def twice(*arguments: object) -> object:
        await forward(*arguments)  # type: ignore[arg-type]
        return await forward(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exchange, "forward", twice)
    way = WAYS["a call"]
    assert "sent 2 times" in list(wrongs(way, (await undisturbed(way)).journal))
