"""What no rule changes passes byte for byte, known or unknown: architecture §1, promise 8."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.attacks.recording import Asked
from tests.e2e.wire.place import META, VERSION, Place, answer, event, events_then_end, kept, modern

META_BYTES = json.dumps(META)[1:-1].encode()

# Requests

ODD_JSON = {
    "white space and another order of members": b' \r\n\t{ "params" : {"arguments" : { } , "name":"t" ,"_meta":{%b}},"id" : 1,"method":"tools/call", "jsonrpc":"2.0"}\n',
    "escapes that need not be": rb'{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"\u0074","arguments":{"a":"\/\u00e9\ud83d\ude00\u0041"},"_meta":{%b}}}',
    "raw UTF-8": '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"Schlüssel 🔑":"Zürich\u2028\u2029\x7f"},"_meta":{%b}}}'.encode(),
    "numbers as they were written": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":[1.0,1.10,1E5,1e-7,-0.0,0.1e1,9007199254740993,123456789012345678901]},"_meta":{%b}}}',
    "unknown members everywhere": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","vendor":{"x":1},"params":{"name":"t","arguments":{"b":null},"vendor/thing":[{}],"task":{"ttl":60000},"_meta":{"com.example/trace":{"deep":[1,[2]]},"progressToken":"p","x":true,%b}}}',
    "a progress token that is a string": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"tok-1/\\u0061",%b}}}',
    "a progress token that looks like a number": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"17",%b}}}',
    "a progress token that is a large integer": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":9007199254740993,%b}}}',
    "state and answers handed back": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","requestState":"eyJhbGciOiJub25lIn0.e30.\\u003d==/+_-","inputResponses":{"k":{"action":"accept","content":{"n":1.50}}},"_meta":{%b}}}',
}  # fmt: skip


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("body", ODD_JSON.values(), ids=ODD_JSON)
def test_a_request_reaches_the_server_as_the_bytes_it_is(place: Place, body: bytes, era: str) -> None:
    headers = {"MCP-Protocol-Version": "2025-11-25"}
    sent = body.replace(b",%b", b"").replace(b"%b", b"")
    if era == "modern":
        sent = body.replace(b"%b", META_BYTES)
        headers = {"MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": "t"}
    with place.playing(lambda asked: iter([kept(answer(asked))])):
        assert place.ask(sent, bearer=place.token(), headers=headers).status == 200
    assert place.payments.asked[-1].body == sent


@pytest.mark.parametrize("method", ["vendor/act", "com.example/x.y-z_2", "$/odd", "tools/call2"])
def test_a_granted_method_that_nobody_knows_passes_with_its_answer(place: Place, method: str) -> None:
    params = b'{ "any":[1,{"b":2.50}], "_meta":{"a/b":1} }'
    sent = b'{"jsonrpc":"2.0","id":"v/1","method":"' + method.encode() + b'","params":' + params + b"}"
    told = b'{"jsonrpc":"2.0","id":"v/1","result":{"odd":[1.0, 2],"resultType":"vendor/odd"},"extra":true}'
    with place.playing(lambda asked: iter([kept(told)])):
        got = place.ask(sent, bearer=place.token())
    assert (place.payments.asked[-1].body, got.status, got.body) == (sent, 200, told)


def test_a_granted_notification_that_nobody_knows_passes(place: Place) -> None:
    sent = b'{"jsonrpc":"2.0","method":"vendor/happened","params":{"x":1.0}}'
    with place.playing(lambda asked: iter([kept(b"", status=b"202 Accepted")])):
        got = place.ask(sent, bearer=place.token())
    assert (place.payments.asked[-1].body, got.status, got.body) == (sent, 202, b"")


# Headers of requests

PARAMS = [
    ("Mcp-Param-Region", "us-west1"),
    ("Mcp-Param-Unknown-Thing", "a  b;c=\"d\", e"),
    ("mcp-param-lower", "=?base64?w5xiZXIg8J+YgA==?="),
    ("Mcp-Param-Empty", ""),
    ("Mcp-Param-Number", "9007199254740993"),
    ("Mcp-Param-Bool", "true"),
]  # fmt: skip


def test_parameters_in_headers_pass_as_they_stand_known_or_not(place: Place) -> None:
    body, headers = modern("tools/call", "t", arguments={})
    with place.playing(lambda asked: iter([kept(answer(asked))])):
        assert place.ask(body, bearer=place.token(), headers=headers | dict(PARAMS)).status == 200
    lines = place.payments.asked[-1].head.split(b"\r\n")
    for name, value in PARAMS:
        assert f"{name.lower()}: {value}".encode() in lines


def test_headers_of_the_trace_and_of_the_message_pass_and_those_of_the_hop_do_not(place: Place) -> None:
    passes = {
        "Accept": "application/json;q=0.9, text/event-stream", "Accept-Language": "de-CH", "User-Agent": "odd/1 (x)",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b,c=d", "baggage": "k=v;p",
    }  # fmt: skip
    stays = {"Cookie": "a=b", "X-Forwarded-User": "root", "Forwarded": "for=1", "TE": "trailers", "X-Any": "1"}
    with place.playing(lambda asked: iter([kept(answer(asked))])):
        got = place.ask(bearer=place.token(), headers=passes | stays)
    assert got.status == 200
    lines = [line.partition(b":") for line in place.payments.asked[-1].head.split(b"\r\n")]
    arrived = {name.decode(): value.strip().decode() for name, _, value in lines}
    assert {name: arrived.get(name.lower()) for name in passes} == passes
    assert not {name.lower() for name in stays} & set(arrived)


# Answers

ODD_RESULTS = {
    "white space and escapes": rb'{ "content" : [ {"type":"text" ,"text":"\u0041\/\ud83d\ude00"} ] , "isError":false }',
    "a text cut within an emoji": rb'{"content":[{"type":"text","text":"\ud83d\ude00 \\ud83d \ud83d"}]}',
    "numbers no double holds": b'{"structuredContent":{"a":1e400,"b":-0,"c":1.0,"d":123456789012345678901234567890}}',
    "a name twice, deep inside": b'{"structuredContent":{"a":1,"a":2,"A":3}}',
    "any value as structured content": b'{"content":[],"structuredContent":[null,false,"x",[]]}',
    "unknown content and fields": b'{"content":[{"type":"vendor/hologram","x":{"y":[1.50]}}],"_meta":{"com.example/a":{}},"vendor":1}',
    "another kind of result": b'{"resultType":"vendor/later","ticket":{"id":"t-1","pollInterval":1.0}}',
    "a task": b'{"resultType":"task","taskId":"786512e2-9e0d-44bd-8f29-789f320fe840","status":"working","ttlMs":60000}',
    "a question with state": b'{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{}}},"requestState":"AbC+/=\\u002f.e30"}',
    "a cursor": rb'{"tools":[],"nextCursor":"\u0061b==\/ ?&#","ttlMs":0,"cacheScope":"private"}',
    "deep": b'{"structuredContent":' + b"[" * 300 + b"]" * 300 + b"}",
}  # fmt: skip

ODD_ERRORS = {
    "with data": b'{"code":-32602,"message":"no \\u0041","data":{"any":[1.0,{"x":null}]}}',
    "a URL to open": b'{"code":-32042,"message":"open","data":{"elicitations":[{"mode":"url","url":"https://a.example/?q=1#f"}]}}',
    "a code nobody knows": b'{"code":123,"message":"","vendor":{}}',
}


OUTCOMES = {f"result: {name}": b'"result":' + value for name, value in ODD_RESULTS.items()} | {
    f"error: {name}": b'"error":' + value for name, value in ODD_ERRORS.items()
}


@pytest.mark.parametrize("shape", ["body", "event"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_an_answer_reaches_the_client_as_the_bytes_it_is(place: Place, outcome: bytes, era: str, shape: str) -> None:
    told = b'{"jsonrpc":"2.0","x":[1.0], "id":1,' + outcome + b"} "
    body, headers = modern("tools/call", "t", arguments={})
    if era == "legacy":
        headers = {"MCP-Protocol-Version": "2025-11-25"}
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}'
    with place.playing(lambda asked: iter([kept(told) if shape == "body" else events_then_end(event(told))])):
        got = place.ask(body, bearer=place.token(), headers=headers)
    assert (got.status, got.body) == (200, told if shape == "body" else event(told))


def test_a_text_cut_within_an_emoji_hides_no_card_number(place: Place) -> None:
    told = rb'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"4111111111111111 \ud83d"}]}}'
    with place.playing(lambda asked: iter([kept(told)])):
        got = place.ask(bearer=place.token())
    assert got.status == 200 and b"411111******1111" in got.body and b"4111111111111111" not in got.body


MESSAGES = {
    "progress, string token": b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok-1","progress":0.50,"total":1.0}}',
    "progress, integer token": b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":9007199254740993,"progress":1e2}}',
    "a notification nobody knows": b'{"jsonrpc":"2.0", "method":"vendor/ping", "params":{"a":[1.0]}, "x":1}',
    "a task's status": b'{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t","status":"working"}}',
    "subscribed": b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}',
    "a request nobody knows": b'{"jsonrpc":"2.0","id":"s/1","method":"vendor/ask","params":{"a":1.0}}',
}  # fmt: skip


ONLY_LEGACY = ("a request nobody knows",)
"""2026-07-28 has no requests by servers."""
SAID = [(name, era) for era in ("legacy", "modern") for name in MESSAGES if era == "legacy" or name not in ONLY_LEGACY]


@pytest.mark.parametrize(("name", "era"), SAID)
def test_what_comes_before_the_answer_passes_as_it_is(place: Place, name: str, era: str) -> None:
    body, headers = modern("tools/call", "t", arguments={})
    if era == "legacy":
        headers = {"MCP-Protocol-Version": "2025-11-25"}
    odd = b": odd\nevent: message\nx-vendor: 1\ndata: " + MESSAGES[name] + b"\nretry: 7\nid: a/\xc3\xa9\n\n"

    def script(asked: Asked) -> Iterator[bytes]:
        yield events_then_end(odd, event(answer(asked)))

    with place.playing(script):
        got = place.ask(
            body if era == "modern" else body.replace(json.dumps(META).encode(), b"{}"),
            bearer=place.token(),
            headers=headers,
        )
    assert got.body == odd + event(b'{"jsonrpc":"2.0","id":1,"result":{}}')


@pytest.mark.parametrize(
    "told",
    [
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"x","data":{"requiredCapabilities":{"elicitation":{}}}}}',
        b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: no valid session"}, "id":null}',
        b"Not Acceptable, says a server that is older than you",
        b"",
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "status", [b"400 Bad Request", b"404 Not Found", b"405 Method Not Allowed", b"422 Odd", b"500 Oh"]
)
def test_an_error_of_http_passes_with_its_words_so_that_a_client_can_fall_back(
    place: Place, status: bytes, told: bytes
) -> None:
    kind = b"application/json" if told[:1] == b"{" else b"text/plain"
    with place.playing(lambda asked: iter([kept(told, status=status, kind=kind)])):
        got = place.ask(bearer=place.token())
    assert (got.status, got.body) == (int(status[:3]), told)


@pytest.mark.parametrize(("method", "name"), [("tools/list", "cursor"), ("tools/call", "requestState")])
def test_state_with_a_card_number_is_not_changed_in_silence(place: Place, method: str, name: str) -> None:
    """It may not leave in clear, and what stands for it is refused when it comes back: the server never sees another state than its own."""
    field = {"cursor": "nextCursor"}.get(name, name)
    told = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[],"' + field.encode() + b'":"after:4111111111111111"}}'
    with place.playing(lambda asked: iter([kept(told)])):
        first = place.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "t"}}, bearer=place.token())
    masked = json.loads(first.body)["result"][field]
    assert masked == "after:411111******1111"
    with place.nothing_arrives():
        params = {"name": "t", name: masked}
        again = place.ask({"jsonrpc": "2.0", "id": 2, "method": method, "params": params}, bearer=place.token())
    assert again.reason == "mask_in_arguments" and again.error["data"]["at"] == [f"/params/{name}"]
