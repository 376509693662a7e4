"""Servers that break off, lie, leak and never end, behind a running gate: each gets its caller a clear error, and holds up nobody else."""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.e2e.attacks import table
from tests.e2e.attacks.ground import CALL, PAN, SECRET, Attempt, Ground
from tests.e2e.attacks.recording import Asked, Script, reply, result, stream_head
from tests.play.test_hostile_answers import BODIES

pytestmark = pytest.mark.e2e

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'
ELICITS = b'{"jsonrpc":"2.0","id":"s-1","method":"elicitation/create","params":{"message":"x","requestedSchema":{}}}'


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def raw(*pieces: bytes) -> Script:
    def script(asked: Asked) -> Iterator[bytes]:
        yield from pieces

    return script


def silent_after(*pieces: bytes) -> Script:
    def script(asked: Asked) -> Iterator[bytes]:
        yield from pieces
        asked.wait_until_gone()

    return script


def body(make: Callable[[Asked], bytes], *fields: bytes, **framing: bytes) -> Script:
    def script(asked: Asked) -> Iterator[bytes]:
        yield reply(make(asked), *fields, **framing)

    return script


def stream(*events: Callable[[Asked], bytes] | bytes, fields: tuple[bytes, ...] = ()) -> Script:
    def script(asked: Asked) -> Iterator[bytes]:
        yield stream_head(*fields)
        for each in events:
            yield each if isinstance(each, bytes) else each(asked)

    return script


def endless_body(asked: Asked) -> Iterator[bytes]:
    yield OK + b"transfer-encoding: chunked\r\n\r\n"
    while True:
        yield b"1000\r\n" + b" " * 4096 + b"\r\n"


def answered(asked: Asked) -> bytes:
    return event(result(asked))


def as_error(asked: Asked) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + asked.id + b',"error":{"code":-32000,"message":"no"}}'


class Failure(msgspec.Struct, frozen=True):
    """What a server does, and what its caller gets and the book says. `status` 200: the error is an event of a stream that had begun."""

    script: Script
    reason: str
    status: int = 502


HUGE = b'{"content":[{"type":"text","text":"' + b"x" * (2 << 20) + b'"}]}'

FAILURES: dict[str, Failure] = {
    # dead, slow
    "closes at once": Failure(raw(), "upstream_broken"),
    "half a head": Failure(raw(b"HTTP/1.1 200 OK\r\ncontent-"), "upstream_broken"),
    "never answers": Failure(silent_after(), "upstream_timeout", 504),
    "a head and no body": Failure(silent_after(OK + b"content-length: 100\r\n\r\n"), "upstream_timeout", 504),
    "half a body": Failure(raw(OK + b"content-length: 100\r\n\r\n{"), "upstream_broken"),
    "half a chunk": Failure(raw(OK + b"transfer-encoding: chunked\r\n\r\n64\r\n{"), "upstream_broken"),
    "continues for ever": Failure(raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 50), "upstream_invalid"),
    # lying
    "no HTTP": Failure(raw(b"SSH-2.0-OpenSSH_9.9\r\n"), "upstream_invalid"),
    "two lengths": Failure(raw(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"), "upstream_invalid"),
    "length and chunked": Failure(raw(OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), "upstream_invalid"),
    "switches protocols": Failure(raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), "upstream_invalid"),
    "compressed": Failure(body(result, b"content-encoding: gzip"), "upstream_invalid"),
    "another id": Failure(body(lambda asked: result(asked).replace(asked.id, b'"other"', 1)), "upstream_invalid"),
    "an error of another id": Failure(body(lambda asked: as_error(asked).replace(asked.id, b'"other"', 1)), "upstream_invalid"),
    "two answers": Failure(body(lambda asked: result(asked) + result(asked)), "upstream_invalid"),
    "a batch": Failure(body(lambda asked: b"[" + result(asked) + b"]"), "upstream_invalid"),
    "a request": Failure(body(lambda asked: ELICITS), "upstream_invalid"),
    "a key twice": Failure(body(lambda asked: result(asked).replace(b'"id"', b'"id":0,"id"')), "upstream_invalid"),
    "a page": Failure(body(lambda asked: b"<html>", kind=b"text/html"), "upstream_invalid"),
    "no content": Failure(body(lambda asked: b"", status=b"204 No Content"), "upstream_invalid"),
    "accepted": Failure(body(lambda asked: b"", status=b"202 Accepted"), "upstream_invalid"),
    "UTF-16": Failure(body(lambda asked: result(asked).decode().encode("utf-16")), "upstream_invalid"),
    "nested deep": Failure(body(lambda asked: result(asked, b"[" * 200_000 + b"]" * 200_000)), "upstream_invalid"),
    # large
    "two megabytes": Failure(body(lambda asked: result(asked, HUGE)), "upstream_too_large"),
    "a body without end": Failure(endless_body, "upstream_too_large"),
    "a head of 40 kB": Failure(raw(OK + b"x: " + b"x" * 40_000 + b"\r\n\r\n"), "upstream_invalid"),
    # elsewhere
    **{
        f"redirects with {status}": Failure(body(lambda asked: b"", b"location: /elsewhere", status=b"%d Moved" % status), "upstream_redirect")
        for status in (301, 302, 303, 307, 308)
    },
    "wants another credential": Failure(
        body(lambda asked: b"", b'www-authenticate: Bearer resource_metadata="http://evil.example/prm"', status=b"401 Unauthorized"),
        "upstream_refused_credential",
    ),
    "forbids": Failure(body(as_error, b"www-authenticate: Basic evil.example", status=b"403 Forbidden"), "upstream_refused_credential"),
    # in a stream
    "a stream of another call": Failure(stream(lambda asked: event(result(asked).replace(asked.id, b'"other"', 1))), "upstream_invalid", 200),
    "a stream of no JSON": Failure(stream(event(NOTE), event(b"<html>")), "upstream_invalid", 200),
    "a stream that is cut": Failure(stream(event(NOTE), b"data: {"), "upstream_broken", 200),
    "a stream that falls silent": Failure(silent_after(stream_head() + event(NOTE)), "upstream_timeout", 200),
    "an event of two megabytes": Failure(stream(event(NOTE), event(HUGE)), "upstream_too_large", 200),
    "a line of two megabytes": Failure(stream(event(NOTE), b": " + b"x" * (2 << 20)), "upstream_too_large", 200),
    "both line ends": Failure(stream(event(NOTE), b"data: {}\r\rdata: {}\r\n\r\n"), "upstream_invalid", 200),
}  # fmt: skip


BREAKS = {"closes at once", "half a head", "half a body", "wants another credential"}
"""After these a client that tries again would send our credential twice."""


def failing(name: str) -> dict[str, Any]:
    return {**CALL, "params": {"name": "get_order", "arguments": {"case": name}}}


def case_of(asked: Asked) -> str:
    return str(json.loads(asked.body)["params"]["arguments"]["case"])


@pytest.fixture(scope="module")
def failures(place: Ground) -> dict[str, Attempt]:
    """Every failing server at once, while the other server is in use."""

    def script(asked: Asked) -> Iterator[bytes]:
        yield from FAILURES[case_of(asked)].script(asked)

    def attempt(name: str) -> Attempt:
        address = place.address()
        return Attempt(address, [place.ask(failing(name), bearer=bearer, address=address)], b"")

    bearer = place.token()
    with place.playing(script), ThreadPoolExecutor(len(FAILURES)) as pool:
        started: dict[str, Future[Attempt]] = {name: pool.submit(attempt, name) for name in FAILURES}
        while not all(future.done() for future in started.values()):
            place.served_meanwhile()
        return {name: future.result() for name, future in started.items()}


@pytest.mark.parametrize("name", FAILURES)
def test_a_server_that_fails_gets_its_caller_a_clear_error_and_is_recorded(
    place: Ground, failures: dict[str, Attempt], name: str
) -> None:
    attempt, failure = failures[name], FAILURES[name]
    assert attempt.answer.status == failure.status
    last = attempt.answer.body if failure.status != 200 else attempt.answer.body.split(b"data: ")[-1]
    error = json.loads(last)
    assert error["id"] == 1 and error["error"]["data"]["reason"] == failure.reason
    assert "evil.example" not in attempt.answer.whole and "/elsewhere" not in attempt.answer.whole
    assert len(attempt.answer.body) < 4096
    entries = place.entries(lambda entries: any(entry.ev == "call.result" for entry in entries), attempt.address)
    results = [entry for entry in entries if entry.ev == "call.result"]
    assert [(entry.out.ok, entry.out.reason) for entry in results] == [(False, failure.reason)]
    assert results[0].call == entries[0].call == error["error"]["data"]["call"]
    if name.startswith("redirects") or name in BREAKS:
        refusal = f"HTTP {attempt.answer.status}, {error['error']['code']} `{failure.reason}`; asked once"
        table.saw(63, f"a server that {name}", refusal, table.in_words(results[0]))


def test_nothing_is_ever_sent_twice_and_no_redirect_is_followed(place: Ground, failures: dict[str, Attempt]) -> None:
    asked = [found for found in place.payments.asked if b'"case"' in found.body]
    assert sorted(case_of(found) for found in asked) == sorted(FAILURES)
    assert not any(b"/elsewhere" in found.head for found in place.payments.asked)


# The injected credential, echoed

RAW = SECRET.encode()
ECHOES: dict[str, str] = {
    "raw": SECRET,
    "with its scheme": f"Bearer {SECRET}",
    "base64": base64.b64encode(RAW).decode(),
    "base64 of a pair": base64.b64encode(b"user:" + RAW).decode(),
    "base64url": base64.urlsafe_b64encode(RAW).decode(),
    "in a URL": f"https://x.example/?key={quote(SECRET, safe='')}",
    "in a URL, lower case": quote(SECRET, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d").replace("%26", "%26"),
    "JSON in a string": json.dumps({"authorization": SECRET}),
    "slashes escaped": SECRET.replace("/", "\\/"),
}  # fmt: skip
ECHO_PLACES: dict[str, Callable[[str], Script]] = {
    "a result": lambda text: body(lambda asked: result(asked, json.dumps({"content": [{"type": "text", "text": text}]}).encode())),
    "an object key": lambda text: body(lambda asked: result(asked, json.dumps({"structuredContent": {text: 1}}).encode())),
    "an error": lambda text: body(lambda asked: as_error(asked).replace(b'"no"', json.dumps(text).encode())),
    "an error's data": lambda text: body(lambda asked: as_error(asked).replace(b'"no"', b'"no","data":' + json.dumps([text]).encode())),
    "an HTTP error": lambda text: body(lambda asked: b"bad key: " + text.encode(), status=b"500 Oops", kind=b"text/plain"),
    "a page of JSON": lambda text: body(lambda asked: json.dumps({"key": text}).encode(), status=b"400 Bad"),
    "a header": lambda text: body(result, b"cache-control: " + text.encode(), b"retry-after: " + text.encode(), b"x: " + text.encode()),
    "a notification": lambda text: stream(event(NOTE.replace(b'"x"', json.dumps(text).encode())), answered),
    "a server's request": lambda text: stream(event(ELICITS.replace(b'"x"', json.dumps(text).encode())), answered),
    "a comment": lambda text: stream(b": " + text.encode() + b"\n\n", answered),
    "a comment in an event": lambda text: stream(b"event: message\n: " + text.encode() + b"\n", answered),
    "an event's id": lambda text: stream(b"id: " + text.encode() + b"\n", answered),
    "a stream's header": lambda text: stream(answered, fields=(b"cache-control: " + text.encode(),)),
}  # fmt: skip


COUNTED = {"a result", "an object key", "an error", "an error's data", "a notification", "a server's request"}
"""Places that are part of a message: it goes on without the credential. What stands elsewhere is dropped or withheld whole."""


@pytest.mark.parametrize("where", ECHO_PLACES)
def test_an_echoed_credential_never_comes_back(place: Ground, where: str) -> None:
    bearer = place.token()
    made: dict[str, Attempt] = {}
    for how, text in ECHOES.items():
        with place.playing(ECHO_PLACES[where](text)):
            made[how] = place.attempt(lambda address: place.ask(bearer=bearer, address=address))
        answer = made[how].answer
        assert answer.status in (200, 400, 500), how
        seen = answer.whole.replace("\\/", "/").replace('\\"', '"')
        for form in (SECRET, *ECHOES.values()):
            assert form not in seen, how
        assert base64.b64encode(RAW)[:20].decode() not in seen, how
    for attempt in made.values():
        entries = place.entries(lambda entries: any(entry.ev == "call.result" for entry in entries), attempt.address)
        entries = place.entries(
            lambda entries: where not in COUNTED or any(entry.dlp for entry in entries), attempt.address
        )
        assert {key for entry in entries for key in entry.dlp} == ({"secret:redacted"} if where in COUNTED else set())
        [result_] = [entry for entry in entries if entry.ev == "call.result"]
        fate = "redacted" if where in COUNTED else "dropped" if result_.out.ok else "withheld with all that it stood in"
        counted = ", counted as `secret:redacted`" if where in COUNTED else ""
        table.saw(67, f"in {where}", f"HTTP {attempt.answer.status}; {fate}", table.in_words(result_) + counted)


# Card numbers in every place of an answer

MASKED = "411111******1111"
CARD_EVENTS: dict[str, bytes] = {
    "a notification": event(NOTE.replace(b'"x"', b'"card ' + PAN.encode() + b'"')),
    "a server's request": event(ELICITS.replace(b'"x"', b'"card ' + PAN.encode() + b'"')),
    "a server's request's id": event(ELICITS.replace(b"s-1", PAN.encode())),
    "a comment": b": card " + PAN.encode() + b"\n\n",
    "an id": b"id: " + PAN.encode() + b"\ndata: {}\n\n",
    "an id before an event": b"id: " + PAN.encode() + b"\n",
    "an event's name": b"event: " + PAN.encode() + b"\n",
    "an unknown field": b"card: " + PAN.encode() + b"\n",
}


@pytest.fixture(scope="module")
def card_bodies(place: Ground) -> dict[str, tuple[Attempt, Attempt]]:
    """Each body as a body and as an event."""

    def with_id(asked: Asked) -> bytes:
        return BODIES[case_of(asked)].replace(b'"id":"a/1"', b'"id":1').replace(b'"id": "a/1"', b'"id": 1')

    bearer = place.token()
    found = {}
    for name in BODIES:
        attempts = []
        for script in (body(with_id), stream(lambda asked: event(with_id(asked)))):
            with place.playing(script):
                attempts.append(place.attempt(lambda a, n=name: place.ask(failing(n), bearer=bearer, address=a)))
        found[name] = (attempts[0], attempts[1])
    return found


@pytest.mark.parametrize("name", BODIES)
def test_a_card_number_in_an_answer_is_masked_for_the_caller_and_counted_in_the_book(
    place: Ground, card_bodies: dict[str, tuple[Attempt, Attempt]], name: str
) -> None:
    for attempt in card_bodies[name]:
        seen = attempt.answer.whole
        assert attempt.answer.status == 200
        assert PAN not in seen and "4111 1111 1111 1111" not in seen and "\\u0034\\u0031\\u0031\\u0031" * 4 not in seen
        entries = place.entries(lambda entries: any(entry.ev == "call.result" for entry in entries), attempt.address)
        assert sum(entries[-1].dlp.values()) >= 1 and PAN not in repr(entries)


@pytest.mark.parametrize("name", CARD_EVENTS)
def test_a_card_number_beside_an_answer_never_leaves(place: Ground, name: str) -> None:
    with place.playing(stream(event(NOTE), CARD_EVENTS[name], answered)):
        answer = place.ask(bearer=place.token())
    assert answer.status == 200 and b"notifications/message" in answer.body
    assert PAN not in answer.whole


def test_a_card_number_in_a_description_of_a_tool_is_masked(place: Ground) -> None:
    tool = {"name": "get_order", "description": f"e.g. {PAN}", "inputSchema": {"properties": {"c": {"default": PAN}}}}
    with place.playing(body(lambda asked: result(asked, json.dumps({"tools": [tool]}).encode()))):
        answer = place.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, bearer=place.token())
    assert PAN not in answer.whole and answer.body.count(MASKED.encode()) == 2


@pytest.mark.parametrize(
    "header",
    ["set-cookie", "www-authenticate", "location", "server", "link", "refresh", "x-internal", "clear-site-data"],
)
def test_a_servers_own_headers_stay_behind_the_gate(place: Ground, header: str) -> None:
    with place.playing(body(result, header.encode() + b": evil=1; url=http://evil.example")):
        answer = place.ask(bearer=place.token())
    assert answer.status == 200 and "evil" not in answer.whole


# Streams and hang-ups


def test_a_servers_question_is_in_the_book_before_the_client_has_it_and_the_answer_before_the_server(
    place: Ground,
) -> None:
    with place.playing(stream(event(ELICITS), answered)):
        asking = place.attempt(lambda a: place.ask(bearer=place.token(), address=a))
    assert b"elicitation/create" in asking.answer.body
    reply_ = {"jsonrpc": "2.0", "id": "s-1", "result": {"action": "accept", "content": {"name": "x"}}}
    answering = place.attempt(lambda a: place.ask(reply_, bearer=place.token(), address=a))
    assert answering.answer.status == 202 and b'"accept"' in answering.arrived
    asked = place.entries(lambda entries: len(entries) == 3, asking.address)
    assert [entry.ev for entry in asked] == ["call.intent", "message.server", "call.result"]
    assert (asked[1].res.method, asked[1].call) == ("elicitation/create", asked[0].call)
    [answered_] = place.entries(bool, answering.address)
    assert answered_.ev == "message.client" and answered_.out.ok


def test_an_error_that_answers_a_notification_is_in_the_book_as_the_servers_own_and_as_no_calls_result(
    place: Ground,
) -> None:
    """MCP 2025-11-25, transports: it has no id, or null."""
    refusal = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no, ' + PAN.encode() + b'"}}'
    cancels = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    with place.playing(body(lambda asked: refusal, status=b"400 Bad Request")):
        attempt = place.attempt(lambda a: place.ask(cancels, bearer=place.token(), address=a))
    assert attempt.answer.status == 400 and MASKED.encode() in attempt.answer.body and PAN not in attempt.answer.whole
    entries = place.entries(lambda entries: len(entries) == 3, attempt.address)
    assert [(entry.ev, entry.out.reason) for entry in entries] == [
        ("message.client", "permitted"), ("message.server", "error_result"), ("message.client", "upstream_invalid"),
    ]  # fmt: skip
    assert (entries[1].x, len(entries[1].pay), entries[2].x["status"]) == ({"error_code": -32000}, 1, 400)
    assert len({entry.call for entry in entries}) == 1


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_hang_up_means_what_its_era_says(place: Ground, era: str) -> None:
    """Legacy: the server goes on, and its answer is in the book. Modern: the server is cut off, and that is in the book."""
    cut: list[bool] = []
    left: Future[None] = Future()

    def script(asked: Asked) -> Iterator[bytes]:
        yield stream_head() + event(NOTE)
        left.result(20)
        if era == "modern":
            cut.append(asked.wait_until_gone())
        else:
            yield answered(asked)

    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    fields = ("MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: get_order")
    message = {**CALL, "params": {**CALL["params"], **({"_meta": meta} if era == "modern" else {})}}
    raw_request = place.post(json.dumps(message).encode(), *(fields if era == "modern" else ()), bearer=place.token())
    address = place.address()
    with place.playing(script):
        with place.connected(address) as connection:
            connection.sendall(raw_request)
            received = b""
            while b"notifications/message" not in received:
                received += connection.recv(65536)
        left.set_result(None)
        entries = place.entries(lambda entries: any(entry.ev == "call.result" for entry in entries), address)
    reasons = [entry.out.reason for entry in entries if entry.ev == "call.result"]
    assert reasons == (["cancelled"] if era == "modern" else ["completed"])
    assert cut == ([True] if era == "modern" else [])


def test_a_caller_that_leaves_before_the_answer_changes_nothing_in_the_legacy_era(place: Ground) -> None:
    left: Future[None] = Future()

    def script(asked: Asked) -> Iterator[bytes]:
        left.result(20)
        yield reply(result(asked))

    address, before = place.address(), len(place.payments.asked)
    with place.playing(script):
        with place.connected(address) as connection:
            connection.sendall(place.post(json.dumps(CALL).encode(), bearer=place.token()))
            place.entries(bool, address)  # the intent is durable, so the request is on its way
        left.set_result(None)
        entries = place.entries(lambda entries: len(entries) == 2, address)
    assert [entry.out.reason for entry in entries] == ["permitted", "completed"]
    assert len(place.payments.asked) == before + 1


def test_a_resumed_stream_is_recorded_and_filtered_like_any_other(place: Ground) -> None:
    tools = [{"name": name, "inputSchema": {}} for name in ("get_order", "delete_customer")]
    late = json.dumps({"jsonrpc": "2.0", "id": 5, "result": {"tools": tools}}).encode()
    with place.playing(stream(b"id: 9\n" + event(late))):
        headers = {"Last-Event-ID": "8", "Accept": "text/event-stream"}
        resumed = place.attempt(lambda a: place.ask(bearer=place.token(), headers=headers, address=a, method="GET"))
    assert b"get_order" in resumed.answer.body and b"delete_customer" not in resumed.answer.body
    assert b"last-event-id: 8" in resumed.arrived.lower()
    entries = place.entries(lambda entries: len(entries) == 3, resumed.address)
    assert [entry.ev for entry in entries] == ["stream.open", "call.result", "stream.close"]
    assert entries[1].x["id"] == "5"
