"""A server that lies, leaks or breaks off: what its caller gets, and what the book says, for each way."""

import base64
import json
import re

import pytest

from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Answer, EventStream, Reply
from tests.play.test_one_call import CALL, MODERN_HEADERS, PAN, RESULT, modern_call
from tests.world import SECRET, Play, whole

STREAM = b"text/event-stream"
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}'
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
OTHER = RESULT.replace(b'"a/1"', b'"a/2"')
ERROR = b'{"jsonrpc":"2.0","id":"a/1","error":{"code":-32000,"message":"no"}}'
REQUEST = b'{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def left(answer: Answer, body: bytes) -> str:
    """Everything that reaches the client, as text: status, headers and body."""
    return repr((answer.status, answer.headers)) + body.decode("utf-8", "replace")


async def told(play: Play, body: bytes = CALL, **asked: object) -> str:
    answer = await play.ask(body, **asked)  # type: ignore[arg-type]
    return left(answer, await whole(answer))


def outcomes(play: Play) -> list[str]:
    return [draft.reason for draft in play.drafts if draft.event == "call.result"]


# A body that is not the answer

LIES = {
    "a result of another call": OTHER,
    "an error of another call": ERROR.replace(b'"a/1"', b'"a/2"'),
    "an id of another type": RESULT.replace(b'"a/1"', b"1"),
    "a request": REQUEST,
    "a notification": NOTE,
    "a batch": b"[" + RESULT + b"]",
    "nothing": b"",
    "an empty batch": b"[]",
    "no JSON": b"<html>",
    "a bare value": b"42",
    "no JSON-RPC": b'{"ok":true}',
    "two messages": RESULT + RESULT,
    "a byte order mark": b"\xef\xbb\xbf" + RESULT,
    "a key twice": RESULT.replace(b'"id"', b'"id":"a/2","id"'),
    "a key in another case": RESULT.replace(b'"id"', b'"ID":"a/2","id"'),
    "an escaped key twice": RESULT.replace(b'"id"', b'"\\u0069d":"a/2","id"'),
    "not UTF-8": RESULT.replace(b"ok", b"\xff\xfe"),
    "result and error": RESULT[:-1] + b',"error":{"code":1,"message":""}}',
    "nested a hundred thousand deep": RESULT.replace(b'"ok"', b"[" * 100_000 + b"]" * 100_000),
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
async def test_a_body_that_is_no_answer_to_the_call_is_refused_and_recorded(body: bytes) -> None:
    play = Play()
    play.answers(body)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 502
    error = json.loads(answer.body)
    assert error["id"] == "a/1" and error["error"]["data"]["reason"] == Reason.UPSTREAM_INVALID
    assert outcomes(play)[-1] == Reason.UPSTREAM_INVALID
    assert play.bugs == []


@pytest.mark.parametrize("content_type", [b"text/html", b"application/json; charset=utf-16", b"application/xml"])
async def test_a_result_of_another_media_type_is_refused(content_type: bytes) -> None:
    play = Play()
    play.answers(RESULT, content_type=content_type)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 502
    assert outcomes(play) == [Reason.UPSTREAM_INVALID]


# Lies on a stream


@pytest.mark.parametrize(
    "lie", [OTHER, ERROR.replace(b'"a/1"', b'"a/2"'), RESULT.replace(b'"a/1"', b"1")], ids=["result", "error", "type"]
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_answer_to_another_call_does_not_leave_on_a_calls_stream(lie: bytes, together: bool) -> None:
    play = Play()
    pieces = [event(lie), event(RESULT)]
    play.answers(*([b"".join(pieces)] if together else pieces), content_type=STREAM)
    seen = await told(play)
    assert "a/2" not in seen and '"x-unknown"' not in seen
    assert '"upstream_invalid"' in seen
    assert outcomes(play) == [Reason.UPSTREAM_INVALID]


@pytest.mark.parametrize("together", [True, False])
async def test_only_the_first_of_two_answers_leaves(together: bool) -> None:
    play = Play()
    pieces = [event(RESULT), event(RESULT.replace(b'"ok"', b'"second"'))]
    play.answers(*([b"".join(pieces)] if together else pieces), content_type=STREAM)
    seen = await told(play)
    assert '"ok"' in seen and "second" not in seen
    assert outcomes(play) == [Reason.COMPLETED]


async def test_what_was_released_before_a_broken_event_still_leaves() -> None:
    """Else the book would say that the call was answered, and the caller would not have the answer."""
    play = Play()
    play.answers(event(RESULT) + event(b"not json"), content_type=STREAM)
    seen = await told(play)
    assert '"x-unknown"' in seen and "not json" not in seen
    assert outcomes(play) == [Reason.COMPLETED]


async def test_a_server_sends_no_requests_in_the_modern_era() -> None:
    play = Play()
    play.answers(event(REQUEST), event(RESULT.replace(b'"a/1"', b"1")), content_type=STREAM)
    seen = await told(play, modern_call(id="42"), headers=MODERN_HEADERS)
    assert "sampling/createMessage" not in seen
    assert outcomes(play) == [Reason.UPSTREAM_INVALID]


async def test_a_get_stream_that_resumes_nothing_carries_no_responses() -> None:
    play = Play()
    play.answers(event(NOTE), event(RESULT), event(NOTE), content_type=STREAM)
    seen = await told(play, b"", method="GET")
    assert seen.count("notifications/message") == 1 and "x-unknown" not in seen
    assert play.events[-1] == "stream.close" and play.drafts[-1].reason == Reason.UPSTREAM_INVALID


# The credential, echoed

SECRET_TEXT = SECRET.decode()
SPELLINGS = {
    "raw": SECRET_TEXT,
    "in a sentence": f"Authorization: Bearer {SECRET_TEXT}!",
    "base64": base64.b64encode(SECRET).decode(),
    "base64 of the header": base64.b64encode(b"Bearer " + SECRET).decode(),
    "base64url of a pair": base64.urlsafe_b64encode(b"user:" + SECRET).decode(),
    "escaped": "".join(f"\\u{ord(c):04x}" for c in SECRET_TEXT),
    "JSON in a string": json.dumps({"key": SECRET_TEXT}),
}
PLACES = {
    "result": (200, b"application/json", RESULT, '"ok"'),
    "error message": (200, b"application/json", ERROR, '"no"'),
    "error with a status": (500, b"application/json", ERROR, '"no"'),
    "stream": (200, STREAM, event(RESULT), '"ok"'),
    "notification": (200, STREAM, event(NOTE) + event(RESULT), '"x"'),
    "server request": (200, STREAM, event(REQUEST.replace(b"[]", b'["x"]')) + event(RESULT), '"x"'),
}


def spelt(template: bytes, mark: str, value: str) -> bytes:
    text = '"' + value + '"' if value.startswith("\\u") else json.dumps(value)
    assert mark.encode() in template
    return template.replace(mark.encode(), text.encode())


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize(("status", "kind", "template", "mark"), PLACES.values(), ids=PLACES)
async def test_an_echoed_credential_is_redacted(
    spelling: str, status: int, kind: bytes, template: bytes, mark: str
) -> None:
    play = Play()
    play.answers(spelt(template, mark, spelling), status=status, content_type=kind)
    seen = await told(play)
    assert "redacted" in seen
    for form in (spelling, SECRET_TEXT, SPELLINGS["base64"][:16]):
        assert form not in seen and form not in repr(play.drafts)


@pytest.mark.parametrize("spelling", [SPELLINGS["raw"], SPELLINGS["base64"]], ids=["raw", "base64"])
@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_an_echoed_credential_is_redacted_in_the_text_of_an_error(status: int, spelling: str) -> None:
    play = Play()
    play.answers(f"bad key {spelling}".encode(), status=status, content_type=b"text/plain")
    seen = await told(play)
    assert spelling not in seen and "redacted" in seen


@pytest.mark.parametrize("value", [SECRET, base64.b64encode(SECRET), PAN.encode()], ids=["raw", "base64", "pan"])
@pytest.mark.parametrize(
    "name",
    [
        b"mcp-protocol-version",
        b"cache-control",
        b"retry-after",
        b"allow",
        b"x-accel-buffering",
        b"x-api-key",
        b"server",
    ],
)
async def test_no_header_of_the_servers_carries_a_secret_or_a_card_number(name: bytes, value: bytes) -> None:
    play = Play()
    play.upstreams.extra_headers = ((name, b"x " + value),)
    play.answers(RESULT)
    assert value.decode() not in await told(play)
    play.answers(event(RESULT), content_type=STREAM)
    assert value.decode() not in await told(play)


async def test_a_content_type_carries_no_secret() -> None:
    play = Play()
    play.answers(RESULT, content_type=b"application/json; note=" + SECRET)
    seen = await told(play)
    assert SECRET_TEXT not in seen and "application/json" in seen


@pytest.mark.parametrize(
    ("said", "left_with"),
    [
        ("public, max-age=600", "private"), ("S-MaxAge=5", "private"), ("max-age=5, S-MAXAGE=5", "private"), ("no-store, public", "private"),
        ("must-revalidate", "private"), ("no-store, must-revalidate", "no-store, must-revalidate"), ("no-cache", "no-cache"),
        ("private, max-age=5", "private, max-age=5"), ("private=x, s-maxage = 9", "private"),
    ],
)  # fmt: skip
async def test_no_shared_cache_may_keep_one_callers_answer(said: str, left_with: str) -> None:
    play = Play()
    play.upstreams.extra_headers = ((b"cache-control", said.encode()),)
    play.answers(RESULT)
    assert dict((await play.ask(CALL)).headers)[b"cache-control"].decode() == left_with


async def test_cookies_challenges_and_redirects_stay_on_their_side() -> None:
    play = Play()
    own = (b"set-cookie", b"www-authenticate", b"location", b"server", b"link", b"access-control-allow-origin")
    play.upstreams.extra_headers = tuple((name, b"evil.example") for name in own)
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert not {name for name, _ in answer.headers} & set(own)


# Card numbers, everywhere

MASKED = "411111******1111"
GROUPED = "4111 1111 1111 1111"


def result(value: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "a/1", "result": value}).encode()


def text(value: str) -> dict[str, object]:
    return {"type": "text", "text": value}


BODIES = {
    "text": result({"content": [text(f"card {PAN}")]}),
    "grouped digits": result({"content": [text(f"card {GROUPED}")]}),
    "structured and its twin": result(
        {"structuredContent": {"card": PAN}, "content": [text(json.dumps({"card": PAN}))]}
    ),
    "a number": result({"structuredContent": {"card": int(PAN)}}),
    "an object key": result({"structuredContent": {f"card {PAN}": 1}}),
    "JSON in JSON in a string": result({"content": [text(json.dumps(json.dumps({"pan": PAN})))]}),
    "resource text": result({"contents": [{"uri": "orders://1", "text": f"pan,{PAN}"}]}),
    "resource URI": result({"contents": [{"uri": f"orders://{PAN}", "text": ""}]}),
    "embedded resource": result({"content": [{"type": "resource", "resource": {"uri": "o://1", "text": PAN}}]}),
    "prompt message": result({"messages": [{"role": "user", "content": text(f"pay with {PAN}")}]}),
    "completion values": result({"completion": {"values": [PAN, "x"]}}),
    "result _meta": result({"content": [], "_meta": {"note": PAN}}),
    "cursor": result({"content": [], "nextCursor": PAN}),
    "escaped digits": RESULT.replace(b'"ok"', b'"' + b"".join(b"\\u%04x" % ord(c) for c in PAN) + b'"'),
    "error message": ERROR.replace(b'"no"', b'"card ' + PAN.encode() + b' declined"'),
    "error data": ERROR.replace(b'"no"', b'"no","data":{"card":"' + PAN.encode() + b'"}'),
    "an unknown member": RESULT.replace(b'"result"', b'"vendor":"' + PAN.encode() + b'","result"'),
}


def shows_no_card(seen: str) -> bool:
    return PAN not in seen and GROUPED not in seen


@pytest.mark.parametrize("kind", ["body", "stream"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_card_number_is_masked_wherever_it_stands(body: bytes, kind: str) -> None:
    play = Play()
    if kind == "body":
        play.answers(body)
    else:
        play.answers(event(body), content_type=STREAM)
    seen = re.sub(r"\\u00(..)", lambda escape: chr(int(escape[1], 16)), await told(play))
    assert shows_no_card(seen) and "4111" in seen and "1111" in seen
    assert shows_no_card(repr(play.drafts))
    assert play.drafts[-1].findings


async def test_a_masked_number_stays_a_number() -> None:
    play = Play()
    play.answers(BODIES["a number"])
    card = json.loads(await whole(await play.ask(CALL)))["result"]["structuredContent"]["card"]
    assert type(card) is int and card != int(PAN)


@pytest.mark.parametrize("code", [PAN, "-" + PAN, "4111111111111111e0"])
async def test_a_card_number_as_an_error_code_is_in_no_record(code: str) -> None:
    play = Play()
    play.answers(ERROR.replace(b"-32000", code.encode()))
    seen = await told(play)
    assert PAN not in seen and PAN not in repr(play.drafts)


@pytest.mark.parametrize("listing", ["tools", "prompts"])
async def test_a_card_number_in_a_description_of_a_list_is_masked(listing: str) -> None:
    play = Play(roles=_everything())
    entry = {"name": "get_order", "description": f"e.g. {PAN}", "inputSchema": {"properties": {"x": {"default": PAN}}}}
    play.answers(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {listing: [entry]}}).encode())
    seen = await told(play, f'{{"jsonrpc":"2.0","id":1,"method":"{listing}/list"}}'.encode())
    assert PAN not in seen and seen.count(MASKED) == 2


EVENTS = {
    "a comment": b": " + PAN.encode() + b"\n\n",
    "a comment within an event": b"event: message\n: " + PAN.encode() + b"\n" + event(RESULT),
    "an unknown field": b"x-card: " + PAN.encode() + b"\n" + event(RESULT),
    "an unknown field alone": b"x-card: " + PAN.encode() + b"\n\n",
    "an id": b"id: " + PAN.encode() + b"\n" + event(RESULT),
    "an id that another replaces": b"id: " + PAN.encode() + b"\nid: 1\n" + event(RESULT),
    "an id with a null": b"id: " + PAN.encode() + b"\x00\n" + event(RESULT),
    "an event name": b"event: " + PAN.encode() + b"\n" + event(RESULT),
    "an id without data": b"id: " + PAN.encode() + b"\n\n",
    "a retry": b"retry: " + PAN.encode() + b"\n" + event(RESULT),
    "a field name": PAN.encode() + b"\n" + event(RESULT),
    "a notification": event(NOTE.replace(b'"x"', b'"' + PAN.encode() + b'"')),
    "a server request": event(REQUEST.replace(b"[]", b'["' + PAN.encode() + b'"]')),
    "the id of a server request": event(REQUEST.replace(b'"id":9', b'"id":"' + PAN.encode() + b'"')),
    "the method of a notification": event(NOTE.replace(b"message", PAN.encode())),
    "an event without its end": b"data: " + PAN.encode(),
}


@pytest.mark.parametrize("raw", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("value", [PAN.encode(), SECRET], ids=["pan", "secret"])
async def test_no_line_of_a_stream_carries_a_card_number_or_the_secret(raw: bytes, value: bytes) -> None:
    play = Play()
    play.answers(event(NOTE) + raw.replace(PAN.encode(), value), content_type=STREAM)
    answer = await play.ask(CALL)
    assert isinstance(answer, EventStream)
    seen = await whole(answer)
    assert value not in seen and value not in repr(play.drafts).encode()
    assert b"notifications/message" in seen
    assert play.bugs == []


async def test_clean_comments_ids_and_unknown_fields_pass_byte_for_byte() -> None:
    play = Play()
    raw = b": keep-alive\n\nid: 1\ndata:\nretry: 100\n\nx-vendor: 7\n:note\n" + event(RESULT)
    play.answers(raw, content_type=STREAM)
    assert await whole(await play.ask(CALL)) == raw


# Errors by HTTP status


@pytest.mark.parametrize("status", [400, 404, 405, 410, 429, 500, 503])
@pytest.mark.parametrize(
    ("kind", "body"),
    [(b"application/json", b'{"error":"Session not found"}'), (b"text/plain", b"Session not found"), (b"", b"")],
    ids=["json", "text", "empty"],
)
async def test_a_status_that_is_an_answer_in_itself_reaches_the_client(status: int, kind: bytes, body: bytes) -> None:
    """Clients start a new session on 404 and fall back to another era on 400, 404 and 405, whatever the body is."""
    play = Play()
    play.answers(body, status=status, content_type=kind)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == status
    assert answer.body == body
    assert outcomes(play) == [Reason.UPSTREAM_INVALID]


async def test_a_card_number_in_json_that_is_no_message_is_masked_too() -> None:
    play = Play()
    play.answers(json.dumps({"detail": {"pan": PAN, "cvv": "123"}}).encode(), status=400)
    seen = await told(play)
    assert PAN not in seen and MASKED in seen and '"123"' not in seen


async def test_an_error_body_without_end_is_not_passed_on() -> None:
    play = Play()
    play.answers(b"x" * (2 << 20), status=500, content_type=b"text/plain")
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 500 and answer.body == b""


# What happens to messages that await no answer


@pytest.mark.parametrize(
    ("method", "body"), [("GET", b""), ("DELETE", b""), ("POST", INITIALIZED)], ids=["get", "delete", "notification"]
)
@pytest.mark.parametrize("sent", [True, False])
async def test_what_could_not_be_delivered_is_in_the_book_before_it_is_said(
    method: str, body: bytes, sent: bool
) -> None:
    play = Play()
    play.fails(Reason.UPSTREAM_UNREACHABLE, sent=sent)
    answer = await play.ask(body, method=method)
    assert isinstance(answer, Reply) and answer.status == 502
    last = play.drafts[-1]
    assert (last.ok, last.reason) == (False, Reason.UPSTREAM_UNREACHABLE)
    assert play.events[:2] == ["stream.open" if method == "GET" else "message.client", "sent"]
    assert len(play.drafts) == 2


async def test_a_stream_that_the_server_does_not_have_is_closed_in_the_book() -> None:
    play = Play()
    play.answers(b"", status=405, content_type=b"text/plain")
    answer = await play.ask(b"", method="GET")
    assert isinstance(answer, Reply) and answer.status == 405
    assert [draft.event for draft in play.drafts] == ["stream.open", "stream.close"]
    assert not play.drafts[-1].ok


@pytest.mark.parametrize("kind", [b"application/json", STREAM])
async def test_an_answer_beyond_the_limit_is_cut_off_and_named(kind: bytes) -> None:
    play = Play()
    play.answers(*([b"data: " + b"x" * (1 << 20)] * 18), content_type=kind)
    seen = await told(play)
    assert '"upstream_too_large"' in seen and len(seen) < 4096
    assert outcomes(play) == [Reason.UPSTREAM_TOO_LARGE]


@pytest.mark.parametrize("kind", [b"application/json", STREAM])
async def test_a_break_in_the_middle_is_unknown_and_said(kind: bytes) -> None:
    play = Play()
    play.answers(b"data: {", UpstreamError(Reason.UPSTREAM_BROKEN, "cut", sent=True), content_type=kind)
    seen = await told(play)
    assert '"upstream_broken"' in seen
    assert outcomes(play) == [Reason.UPSTREAM_BROKEN]


def _everything() -> tuple[object, ...]:
    from gatebook.model.deployment import Allow, Match, Role

    allow = Allow(server="payments", tools=("**",), resources=("**",), prompts=("**",), methods=("**",))
    return (Role(name="all", match=(Match(issuer="corp", group="support"),), allow=(allow,)),)


# A body that is no message of MCP

SAID = f"declined {PAN} cvv 987, key {SECRET.decode()}"
ENCODINGS = ("utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32", "utf-7")


def in_utf_7(text: str) -> bytes:
    """Each character behind a plus sign, as no encoder must write it and each decoder reads it."""
    return b"+" + base64.b64encode(text.encode("utf-16-be")).rstrip(b"=") + b"-"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("media_type", [b"text/plain", b"application/json"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("call", "status"), [(CALL, 500), (CALL, 400), (INITIALIZED, 202), (INITIALIZED, 500)])
async def test_a_text_in_another_encoding_does_not_leave(
    encoding: str, media_type: bytes, declared: bool, call: bytes, status: int
) -> None:
    """Who decodes it reads what nobody looked at: Python's own `json.loads` finds UTF-16 by itself."""
    text = json.dumps({"detail": SAID}) if media_type == b"application/json" else SAID
    body = in_utf_7(text) if encoding == "utf-7" else text.encode(encoding)
    if encoding == "utf-7" and not declared:
        return  # nobody takes a text for UTF-7 unasked
    play = Play()
    play.answers(
        body, status=status, content_type=media_type + (b"; charset=" + encoding.encode() if declared else b"")
    )
    answer = await play.ask(call)
    got = await whole(answer)
    for reading in ("utf-8", encoding):
        seen = got.decode(reading, "replace")
        assert PAN not in seen and "987" not in seen and SECRET.decode() not in seen
    types = [value for name, value in answer.headers if name == b"content-type"]
    assert all(b"charset" not in each or b"utf-8" in each for each in types)
    assert play.bugs == []


@pytest.mark.parametrize(
    "body",
    [b'{"a":"\\u0034111111111111111",}', b"{'a':'4\\u0031111111111111111'}", b'{"a":"\xff' + PAN.encode() + b'"}'],
)
async def test_what_is_said_to_be_json_and_is_none_does_not_leave(body: bytes) -> None:
    """A lenient parser may read in it what ours does not."""
    play = Play()
    play.answers(body, status=500)
    answer = await play.ask(CALL)
    assert (answer.status, await whole(answer)) == (500, b"")


async def test_an_error_in_plain_words_leaves_masked() -> None:
    for media_type, body in (
        (b"text/plain", SAID.encode()),
        (b"application/json", json.dumps({"detail": SAID}).encode()),
    ):
        play = Play()
        play.answers(body, status=500, content_type=media_type)
        got = await whole(await play.ask(CALL))
        assert b"declined 411111******1111" in got and b"[secret redacted]" in got and b"987" not in got


# Names that hold what must not be written

NAMES = (
    "4111 - 1111 - 1111 - 1111",
    "4111--1111--1111--1111",
    "4111\t1111\t1111\t1111",
    "cvv 123",
    "cvv: 123",
    "cvv123",
)


@pytest.mark.parametrize("name", NAMES)
async def test_the_name_of_an_argument_in_which_something_is_found_is_not_written(name: str) -> None:
    play = Play()
    params = {"name": "get_order", "arguments": {name: "cvv 123", "note": 1}}
    await play.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode())
    [draft] = [draft for draft in play.drafts if draft.asked is not None]
    assert draft.asked is not None and draft.asked.shape == {"...": "string", "note": "integer"}


# Lines of a stream that cost


async def test_a_large_comment_of_a_stream_is_judged_beside_the_loop_and_only_so_long() -> None:
    """As a large message is: everybody's calls would wait for it."""
    turns: list[int] = []
    comment = b": " + b"4111 1111 1111 1112 " * 8_000 + b"\n"
    play = Play()
    judged = play.world.turns.take

    def counted(sender: object, size: int, *rest: object, **more: object) -> object:
        turns.append(size)
        return judged(sender, size, *rest, **more)  # type: ignore[arg-type]

    play.world.turns.take = counted  # type: ignore[method-assign,assignment]
    play.answers(event(NOTE) + comment + b"\n" + event(RESULT), content_type=STREAM)
    assert '"x-unknown"' in await told(play)
    assert turns == [len(comment)]


async def test_an_event_of_too_many_lines_ends_the_stream() -> None:
    play = Play()
    play.answers(b"x\n" * 300_001 + event(RESULT), content_type=STREAM)
    assert '"upstream_too_large"' in await told(play)
    assert outcomes(play) == [Reason.UPSTREAM_TOO_LARGE]


async def test_a_byte_order_mark_before_data_is_no_line_beside_it() -> None:
    play = Play()
    play.answers(b"\xef\xbb\xbf" + event(RESULT.replace(b'"ok"', b'"' + PAN.encode() + b'"')), content_type=STREAM)
    seen = await told(play)
    assert "411111******1111" in seen and "inspection_failed" not in seen
