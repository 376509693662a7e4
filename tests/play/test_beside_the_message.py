"""What stands beside the message: bodies where none belongs, headers of another revision, and names that are cut to be recorded."""

import asyncio
import base64
import json
from typing import Any

import msgspec
import pytest

from gatebook.gate.exchange import exchange
from gatebook.model.deployment import Allow, Limits, Match, Role
from gatebook.model.errors import Reason
from gatebook.model.http import EventStream, Headers, Reply
from tests.play.test_one_call import CALL, MODERN, MODERN_HEADERS, PAN, RESULT, modern_call
from tests.world import SECRET, Play, whole

DELETE_CUSTOMER = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_customer"}}'
EVERYTHING = Role(
    name="all",
    match=(Match(issuer="corp", group="support"),),
    allow=(Allow(server="payments", tools=("**",), methods=("**",)),),
)
SMUGGLED = b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


def wrapped(value: bytes) -> bytes:
    return b"=?base64?" + base64.b64encode(value) + b"?="


def recorded(play: Play) -> str:
    return repr(play.drafts)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("body", [DELETE_CUSTOMER, SMUGGLED, b" "])
async def test_a_body_where_none_belongs_is_refused_and_recorded(method: str, body: bytes) -> None:
    play = Play()
    answer = await play.ask(body, method=method)
    assert isinstance(answer, Reply) and answer.status == 400
    assert play.sent == []
    assert [(draft.event, draft.reason) for draft in play.drafts] == [("call.refused", Reason.BAD_REQUEST)]


@pytest.mark.parametrize("version", [(), ((b"mcp-protocol-version", b"2025-11-25"),)])
async def test_headers_that_repeat_the_body_stay_here_in_a_revision_without_them(version: Headers) -> None:
    """Nobody compared them, and a router before the server may believe them."""
    play = Play()
    play.answers(RESULT)
    lies = ((b"mcp-name", b"delete_customer"), (b"mcp-method", b"tools/list"), (b"mcp-param-id", b"1"))
    await play.ask(CALL, headers=(*version, *lies))
    assert not {name for name, _ in play.sent[0].headers} & {name for name, _ in lies}


async def test_headers_that_repeat_the_body_go_on_where_they_were_compared() -> None:
    play = Play()
    play.answers(RESULT)
    await play.ask(modern_call(id="42"), headers=MODERN_HEADERS)
    assert dict(play.sent[0].headers)[b"mcp-name"] == b"get_order"


@pytest.mark.parametrize(
    "name", [b"user-agent", b"accept-language", b"traceparent", b"tracestate", b"baggage", b"accept", b"content-type"]
)
async def test_a_card_number_in_a_header_does_not_reach_the_server(name: bytes) -> None:
    play = Play()
    play.answers(RESULT)
    arrival = play.arrival(CALL)
    plain = {b"accept": b"*/*;x=", b"content-type": b"application/json;x="}.get(name, b"a=")
    headers = (*(field for field in arrival.headers if field[0] != name), (name, plain + PAN.encode()))
    await exchange(msgspec.structs.replace(arrival, headers=headers), play.gone, play.world)
    assert PAN.encode() not in repr(play.sent[0].headers).encode()
    assert dict(play.sent[0].headers)[b"content-type"].startswith(b"application/json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"mcp-param-cvv", b"123"),
        (b"mcp-param-pan", b"4111111111111112"),
        (b"mcp-param-pan", wrapped(b"4111111111111112")),
        (b"mcp-param-pan", wrapped(wrapped(b"4111111111111112"))),
        (b"mcp-param-x", PAN.encode()),
        (b"mcp-param-x", b"411111******1111"),
        (b"mcp-param-x", wrapped(b"[cvv removed]")),
        (b"mcp-param-" + PAN.encode(), b"1"),
        (b"mcp-param-4111-1111-1111-1111", b"1"),
        (b"last-event-id", PAN.encode()),
    ],
)
async def test_a_header_that_repeats_an_argument_is_judged_as_one(name: bytes, value: bytes) -> None:
    play = Play()
    answer = await play.ask(modern_call(id="42"), headers=(*MODERN_HEADERS, (name, value)))
    assert isinstance(answer, Reply) and b"_in_arguments" in answer.body and b'"at":[""]' in answer.body
    assert play.sent == [] and PAN not in recorded(play)


async def test_headers_that_repeat_arguments_are_judged_beside_one_another() -> None:
    play = Play()
    play.answers(RESULT)
    cid, card = (b"mcp-param-cid", b"1234"), (b"mcp-param-card", b"visa")
    refused = await play.ask(modern_call(id="42"), headers=(*MODERN_HEADERS, cid, card))
    assert isinstance(refused, Reply) and b"card_number_in_arguments" in refused.body and play.sent == []
    await play.ask(modern_call(id="42"), headers=(*MODERN_HEADERS, cid))
    assert dict(play.sent[0].headers)[b"mcp-param-cid"] == b"1234"


@pytest.mark.parametrize(
    "value", [PAN.encode(), wrapped(PAN.encode()), wrapped(wrapped(PAN.encode())), b"411111******1111"]
)
async def test_a_name_that_nobody_compares_is_inspected(value: bytes) -> None:
    """A method of an extension may have one; what it repeats is not ours to know."""
    play = Play(roles=(EVERYTHING,))
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN.decode(),
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "acme/pay", "params": {"_meta": meta}}).encode()
    headers = (MODERN_HEADERS[0], (b"mcp-method", b"acme/pay"))
    answer = await play.ask(body, headers=(*headers, (b"mcp-name", value)))
    assert isinstance(answer, Reply) and b"_in_arguments" in answer.body and play.sent == []
    play.answers(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    await play.ask(body, headers=(*headers, (b"mcp-name", wrapped(b"account"))))
    assert len(play.sent) == 1


async def test_one_principal_has_so_many_streams_open_and_no_more() -> None:
    """Each holds a connection to the server: without a bound one caller would hold them all."""
    play = Play(limits=Limits(calls_per_principal=2))
    for _ in range(3):
        play.answers(b": hello\n\n", asyncio.Event(), content_type=b"text/event-stream")
    streams = [await play.ask(b"", method="GET") for _ in range(2)]
    refused = await play.ask(b"", method="GET")
    assert isinstance(refused, Reply) and refused.status == 429
    assert play.drafts[-1].reason == Reason.TOO_MANY_CALLS
    for stream in streams:
        assert isinstance(stream, EventStream)
        await anext(stream.events)
        await stream.events.aclose()  # type: ignore[attr-defined]
    assert play.world.running == {}
    assert isinstance(await play.ask(b"", method="GET"), EventStream)


async def test_open_streams_take_no_calls_place() -> None:
    play = Play(limits=Limits(calls_per_principal=1))
    play.answers(b": hello\n\n", asyncio.Event(), content_type=b"text/event-stream")
    play.answers(RESULT)
    assert isinstance(await play.ask(b"", method="GET"), EventStream)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 200


@pytest.mark.parametrize("seen", range(8, 17))
async def test_a_card_number_is_masked_before_a_clients_name_is_cut(seen: int) -> None:
    play = Play()
    play.answers(RESULT)
    await play.ask(CALL, headers=((b"user-agent", b"z" * (120 - seen) + PAN.encode()),))
    assert PAN[:8] not in recorded(play)


@pytest.mark.parametrize("seen", range(8, 17))
async def test_a_card_number_is_masked_before_an_id_is_cut(seen: int) -> None:
    play = Play()
    await play.ask(json.dumps({**json.loads(CALL), "id": "z" * (127 - seen) + PAN}).encode())
    assert PAN[:8] not in recorded(play)


@pytest.mark.parametrize("leaked", [PAN, SECRET.decode()])
@pytest.mark.parametrize("where", ["id", "method"])
@pytest.mark.parametrize("seen", [11, 13, 15])
async def test_what_a_server_leaks_is_masked_before_its_words_are_cut(leaked: str, where: str, seen: int) -> None:
    play = Play()
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}}
    message[where] = "z" * (128 - (where == "id") - seen) + leaked
    play.answers(f"data: {json.dumps(message)}\n\n".encode(), content_type=b"text/event-stream")
    await whole(await play.ask(CALL))
    assert any(draft.event == "message.server" for draft in play.drafts)
    assert leaked[:11] not in recorded(play)
