"""What crosses the ports, in order, for every way that one call can go."""

import asyncio
import json

import msgspec
import pytest

from gatebook.gate.exchange import exchange
from gatebook.ledger.entry import Clocked
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.model.http import EventStream, Reply
from gatebook.ports import Instant
from tests.world import SECRET, Play, whole

CALL = b'{"jsonrpc": "2.0", "id": "a/1", "method": "tools/call", "params": {"name": "get_order", "arguments": {"id": "42"}}}'
RESULT = b'{"jsonrpc":"2.0","id":"a/1","result":{"content":[{"type":"text","text":"ok"}],"x-unknown":1e2}}'
PAN = "4111111111111111"  # Visa's published test number
MODERN = b"2026-07-28"


def modern_call(**arguments: object) -> bytes:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"name": "get_order", "arguments": arguments, "_meta": meta}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


MODERN_HEADERS = ((b"mcp-protocol-version", MODERN), (b"mcp-method", b"tools/call"), (b"mcp-name", b"get_order"))


async def test_an_allowed_call_is_recorded_sent_recorded_and_answered_with_the_servers_own_bytes():
    play = Play()
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert play.events == ["call.intent", "sent", "upstream closed", "call.result"]
    assert isinstance(answer, Reply) and answer.status == 200 and answer.body is RESULT
    assert play.sent[0].body is not None and play.sent[0].body == CALL
    assert play.drafts[0].policy is not None and play.drafts[0].policy.rule.startswith("role:support")


async def test_an_answer_that_came_with_its_head_goes_the_same_way():
    play = Play()
    play.upstreams.at_once = True
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert play.events == ["call.intent", "sent", "upstream closed", "call.result"]
    assert isinstance(answer, Reply) and (answer.status, answer.body) == (200, RESULT)


async def test_an_answer_that_came_with_its_head_is_too_large_as_ever():
    play = Play(limits=Limits(response_bytes=len(RESULT) - 1))
    play.upstreams.at_once = True
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert play.events == ["call.intent", "sent", "upstream closed", "call.result"]
    assert (
        play.drafts[-1].reason == Reason.UPSTREAM_TOO_LARGE and isinstance(answer, Reply) and RESULT not in answer.body
    )


async def test_the_server_receives_the_injected_credential_and_nothing_of_the_callers():
    play = Play()
    play.answers(RESULT)
    hostile = (
        (b"cookie", b"s=1"),
        (b"x-forwarded-user", b"root"),
        (b"x-api-key", b"k"),
        (b"proxy-authorization", b"p"),
    )
    await play.ask(CALL, headers=hostile)
    headers = dict(play.sent[0].headers)
    assert headers[b"authorization"] == b"Bearer " + SECRET
    assert b"alice" not in b"".join(headers.values())
    assert not {name for name, _ in hostile} & set(headers)


async def test_nothing_is_sent_when_the_intent_cannot_be_recorded():
    play = Play()
    play.ledger.fails_on = lambda draft: draft.event == "call.intent"
    answer = await play.ask(CALL)
    assert play.sent == []
    assert isinstance(answer, Reply) and answer.status == 503


async def test_nothing_is_answered_when_the_outcome_cannot_be_recorded():
    play = Play()
    play.answers(RESULT)
    play.ledger.fails_on = lambda draft: draft.event == "call.result"
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 502
    assert b"may have acted" in answer.body  # an agent that reads "nothing happened" makes the refund twice
    assert b"ok" not in answer.body


async def test_a_denied_call_is_recorded_and_never_sent():
    play = Play()
    answer = await play.ask(CALL.replace(b"get_order", b"delete_customer"))
    assert play.events == ["call.refused"]
    assert isinstance(answer, Reply) and answer.status == 200
    error = json.loads(answer.body)
    assert error["id"] == "a/1" and error["error"]["code"] > 0


async def test_a_denial_says_the_same_whether_or_not_the_tool_exists():
    answers = []
    for name in (b"delete_customer", b"no_such_tool"):
        play = Play()
        body = json.loads(await whole(await play.ask(CALL.replace(b"get_order", name))))
        body["error"]["data"].pop("call")
        answers.append(body)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("token", [None, "nobody"])
async def test_an_unidentified_caller_gets_a_challenge_and_an_entry(token):
    play = Play()
    answer = await play.ask(CALL, token=token)
    assert isinstance(answer, Reply) and answer.status == 401
    assert b"resource_metadata=" in dict(answer.headers)[b"www-authenticate"]
    assert play.events == ["auth.failed"]


async def test_a_caller_without_any_role_learns_nothing():
    play = Play()
    answer = await play.ask(CALL, token="stranger")
    assert play.events == ["call.refused"]
    assert isinstance(answer, Reply)
    assert "Not permitted" in json.loads(answer.body)["error"]["message"]


async def test_a_card_number_in_the_arguments_is_refused_naming_the_pointer_and_not_the_number():
    play = Play()
    answer = await play.ask(CALL.replace(b'"42"', b'"' + PAN.encode() + b'"'))
    assert play.events == ["call.refused"]
    assert isinstance(answer, Reply)
    error = json.loads(answer.body)["error"]
    assert error["data"]["at"] == ["/params/arguments/id"]
    assert PAN not in answer.body.decode()
    assert PAN not in repr(play.journal)


async def test_our_own_mask_coming_back_is_refused():
    play = Play()
    answer = await play.ask(CALL.replace(b'"42"', b'"411111******1111"'))
    assert isinstance(answer, Reply)
    assert json.loads(answer.body)["error"]["data"]["reason"] == "mask_in_arguments"


async def test_a_card_number_in_the_answer_is_masked_before_it_is_recorded():
    play = Play()
    play.answers(RESULT.replace(b'"ok"', b'"card ' + PAN.encode() + b'"'))
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply)
    assert b"411111******1111" in answer.body and PAN.encode() not in answer.body
    assert PAN not in repr(play.journal)
    assert [finding.detector for finding in play.drafts[-1].findings] == ["pan"]


async def test_a_server_that_echoes_its_credential_is_redacted():
    play = Play()
    play.answers(RESULT.replace(b'"ok"', b'"' + SECRET + b'"'))
    assert SECRET not in await whole(await play.ask(CALL))


async def test_an_answer_to_another_request_is_a_lie_and_refused():
    play = Play()
    play.answers(RESULT.replace(b'"a/1"', b'"a/2"'))
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 502
    assert play.drafts[-1].reason == Reason.UPSTREAM_INVALID


@pytest.mark.parametrize(("reason", "status"), [(Reason.UPSTREAM_UNREACHABLE, 502), (Reason.UPSTREAM_TIMEOUT, 504)])
async def test_a_failed_send_is_recorded_and_answered_clearly(reason, status):
    play = Play()
    play.fails(reason, sent=True)
    answer = await play.ask(CALL)
    assert play.events == ["call.intent", "sent", "call.result"]
    assert play.drafts[-1].reason == reason and not play.drafts[-1].ok
    assert isinstance(answer, Reply) and answer.status == status


async def test_the_servers_challenge_is_not_relayed():
    play = Play()
    play.upstreams.extra_headers = ((b"www-authenticate", b'Bearer resource_metadata="https://evil.example"'),)
    play.answers(b"", status=401, content_type=b"text/plain")
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 502
    assert b"evil.example" not in repr(answer).encode()


async def test_an_event_stream_passes_byte_for_byte_and_its_result_is_recorded_before_it_leaves():
    play = Play()
    progress = b'event: message\r\nid: 7\r\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":1}}\r\n\r\n'
    result = b": ping\n\ndata: " + RESULT + b"\n\n"
    play.answers(progress, result, content_type=b"text/event-stream")
    answer = await play.ask(CALL)
    assert isinstance(answer, EventStream)
    seen = b""
    async for piece in answer.events:
        if b"x-unknown" in piece:
            assert "call.result" in play.events
        seen += piece
    assert seen == progress + result
    assert play.events == ["call.intent", "sent", "call.result", "upstream closed", "session.chunk"]


async def test_a_legacy_hang_up_reads_the_answer_to_its_end_and_records_it():
    play = Play()
    ping = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n\n'
    play.answers(ping, b"data: " + RESULT + b"\n\n", content_type=b"text/event-stream")
    answer = await play.ask(CALL)
    assert isinstance(answer, EventStream)
    await answer.events.__anext__()
    await answer.events.aclose()  # type: ignore[attr-defined]
    results = [draft for draft in play.drafts if draft.event == "call.result"]
    assert [draft.reason for draft in results] == [Reason.COMPLETED]


async def test_a_stream_that_the_client_never_read_is_recorded_too():
    play = Play()
    play.answers(b"data: " + RESULT + b"\n\n", content_type=b"text/event-stream")
    answer = await play.ask(CALL)
    assert isinstance(answer, EventStream)
    await answer.events.aclose()  # type: ignore[attr-defined]
    assert play.events[-2:] == ["call.result", "upstream closed"]


async def test_a_modern_hang_up_cancels_and_is_recorded():
    play = Play()
    play.upstreams.hold = asyncio.Event()
    asking = asyncio.create_task(play.ask(modern_call(id="42"), headers=MODERN_HEADERS))
    while not play.sent:
        await asyncio.sleep(0)
    play.gone.set()
    await asking
    assert [draft.reason for draft in play.drafts] == ["permitted", Reason.CANCELLED]


async def test_a_stream_that_breaks_off_is_answered_with_an_error_event_and_recorded():
    play = Play()
    from gatebook.model.errors import UpstreamError

    broken = UpstreamError(Reason.UPSTREAM_BROKEN, "cut", sent=True)
    play.answers(b": hello\n\n", broken, content_type=b"text/event-stream")
    body = await whole(await play.ask(modern_call(id="42"), headers=MODERN_HEADERS))
    assert b'"upstream_broken"' in body
    assert play.drafts[-1].reason == Reason.UPSTREAM_BROKEN


async def test_a_header_that_contradicts_the_body_is_refused():
    play = Play()
    headers = (*MODERN_HEADERS[:2], (b"mcp-name", b"delete_customer"))
    answer = await play.ask(modern_call(id="42"), headers=headers)
    assert isinstance(answer, Reply) and answer.status == 400
    assert json.loads(answer.body)["error"]["code"] == -32020
    assert play.events == ["call.refused"]


async def test_a_list_holds_only_what_the_caller_may_use():
    play = Play()
    tools = [{"name": name, "inputSchema": {}} for name in ("get_order", "delete_customer", "list_orders")]
    play.answers(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools, "nextCursor": "c"}}).encode())
    body = await whole(await play.ask(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'))
    assert [tool["name"] for tool in json.loads(body)["result"]["tools"]] == ["get_order", "list_orders"]
    assert json.loads(body)["result"]["nextCursor"] == "c"


async def test_another_persons_session_id_opens_nothing():
    play = Play()
    play.upstreams.extra_headers = ((b"mcp-session-id", b"upstream-session"),)
    initialize = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}'
    play.answers(b'{"jsonrpc":"2.0","id":0,"result":{}}')
    first = await play.ask(initialize)
    assert isinstance(first, Reply)
    handle = dict(first.headers)[b"mcp-session-id"]
    assert b"upstream-session" not in handle
    play.answers(RESULT)
    await play.ask(CALL, headers=((b"mcp-session-id", handle),))
    assert dict(play.sent[-1].headers)[b"mcp-session-id"] == b"upstream-session"
    answer = await play.ask(CALL, token="mallory", headers=((b"mcp-session-id", handle),))
    assert isinstance(answer, Reply) and answer.status == 404
    assert len(play.sent) == 2


async def test_a_batch_with_one_forbidden_call_goes_nowhere_and_every_call_is_answered():
    play = Play()
    other = CALL.replace(b'"a/1"', b"2").replace(b"get_order", b"delete_customer")
    answer = await play.ask(b"[" + CALL + b"," + other + b"]", headers=((b"mcp-protocol-version", b"2025-03-26"),))
    assert play.sent == []
    assert isinstance(answer, Reply)
    assert [error["id"] for error in json.loads(answer.body)] == ["a/1", 2]


async def test_a_batch_is_refused_after_the_revision_that_had_it():
    play = Play()
    answer = await play.ask(b"[" + CALL + b"]", headers=((b"mcp-protocol-version", b"2025-06-18"),))
    assert isinstance(answer, Reply) and answer.status == 400
    assert play.sent == []


async def test_unreadable_bytes_of_a_known_caller_are_refused_without_being_kept():
    play = Play()
    answer = await play.ask(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}')
    assert isinstance(answer, Reply) and answer.status == 400
    assert play.events == ["call.refused"]
    assert play.drafts[0].payloads == ()


async def test_equal_calls_have_equal_fingerprints_whatever_their_ids_and_others_have_not():
    play = Play()
    for body in (CALL, CALL.replace(b"a/1", b"b/2"), CALL.replace(b'"42"', b'"43"')):
        play.answers(RESULT.replace(b"a/1", b"b/2") if b"b/2" in body else RESULT)
        await play.ask(body)
    prints = [draft.asked.fp for draft in play.drafts if draft.asked is not None]
    assert prints[0] == prints[1] != prints[2]


async def test_a_foreign_host_name_is_forbidden_and_recorded():
    play = Play()
    arrival = play.arrival(CALL)
    rebound = tuple((name, b"evil.example" if name == b"host" else value) for name, value in arrival.headers)
    answer = await exchange(msgspec.structs.replace(arrival, headers=rebound), play.gone, play.world)
    assert isinstance(answer, Reply) and answer.status == 403
    assert play.sent == [] and [draft.reason for draft in play.drafts] == ["host_forbidden"]


async def test_with_an_unsynchronised_clock_nothing_passes_in_pci():
    play = Play()
    now = play.world.clock.now()
    play.world.clock = StoppedClock(msgspec.structs.replace(now, clocked=Clocked(src="test", off=0, ok=False)))
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 503
    assert play.sent == [] and play.drafts[-1].reason == "clock_unsynchronised"


async def test_one_principal_has_so_many_calls_under_way_and_no_more():
    play = Play(limits=Limits(calls_per_principal=1))
    play.answers(b"data: " + RESULT + b"\n\n", content_type=b"text/event-stream")
    streaming = await play.ask(CALL)
    assert isinstance(streaming, EventStream)
    refused = await play.ask(CALL)
    assert isinstance(refused, Reply) and refused.status == 429
    await whole(streaming)
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 200


class StoppedClock:
    def __init__(self, instant: Instant) -> None:
        self._instant = instant

    def now(self) -> Instant:
        return self._instant


@pytest.mark.parametrize("reason", [Reason.DRAINING, Reason.LEDGER_UNAVAILABLE])
async def test_while_the_gate_is_closed_a_caller_is_refused_and_the_refusal_is_recorded(reason):
    play = Play()
    play.closed = reason
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 503 and (b"retry-after", b"5") in answer.headers
    assert play.sent == [] and [draft.reason for draft in play.drafts] == [reason]


async def test_a_subject_that_could_be_a_card_number_is_recorded_by_its_hmac_and_stays_one_person():
    play = Play()
    for token in (PAN, PAN, "5555555555554444"):
        play.answers(RESULT)
        await play.ask(CALL, token=token)
    subjects = [draft.who.sub for draft in play.drafts if draft.event == "call.intent"]
    assert subjects[0] == subjects[1] != subjects[2] and subjects[0].startswith("hmac:")
    assert PAN not in repr(play.drafts)


async def test_a_foreign_origin_is_forbidden():
    play = Play()
    answer = await play.ask(CALL, headers=((b"origin", b"https://evil.example"),))
    assert isinstance(answer, Reply) and answer.status == 403
    assert play.sent == []
