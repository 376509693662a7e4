"""Cancellation in both eras: a notification in the legacy one, a hang-up in the modern one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.attacks.recording import Asked
from tests.e2e.wire.place import LAST_CHUNK, NOTE, Place, answer, chunk, event, kept, modern, stream_begins

LEGACY = {"MCP-Protocol-Version": "2025-11-25"}
CANCEL = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b, "reason":"no \\u0041longer"}}'
TOKENS = [b'"a/1"', b'"a\\/1"', b"9007199254740993", b"-1"]


@pytest.mark.parametrize("shape", ["body", "stream"])
@pytest.mark.parametrize("token", TOKENS, ids=repr)
def test_a_cancellation_reaches_the_server_while_its_call_is_under_way(place: Place, token: bytes, shape: str) -> None:
    call = b'{"jsonrpc":"2.0","id":' + token + b',"method":"tools/call","params":{"name":"t"}}'
    under_way, cancelled = threading.Event(), threading.Event()
    seen: list[bytes] = []

    def script(asked: Asked) -> Iterator[bytes]:
        if b"notifications/cancelled" in asked.body:
            seen.append(asked.body)
            cancelled.set()
            yield kept(b"", status=b"202 Accepted")
            return
        if shape == "stream":
            yield stream_begins() + chunk(event(NOTE))
        under_way.set()
        assert cancelled.wait(20)
        if shape == "stream":
            yield LAST_CHUNK  # a cancelled request is not answered
        else:
            yield kept(answer(asked))  # it was done before the word came

    bearer = place.token()
    with place.playing(script), ThreadPoolExecutor(1) as caller:
        calling = caller.submit(place.ask, call, bearer=bearer, headers=LEGACY)
        assert under_way.wait(20)
        told = place.ask(CANCEL % token, bearer=bearer, headers=LEGACY)
        got = calling.result(20)
    assert (told.status, told.body, seen) == (202, b"", [CANCEL % token])
    if shape == "stream":
        assert got.body.startswith(event(NOTE)) and b'"reason":"upstream_broken"' in got.body
    else:
        assert got.body == b'{"jsonrpc":"2.0","id":' + token + b',"result":{}}'


@pytest.mark.parametrize("token", TOKENS, ids=repr)
def test_a_server_cancels_its_own_question(place: Place, token: bytes) -> None:
    question = b'{"jsonrpc":"2.0","id":' + token + b',"method":"roots/list"}'
    told = [event(question), event(CANCEL % token)]

    def script(asked: Asked) -> Iterator[bytes]:
        yield stream_begins() + b"".join(chunk(each) for each in told) + chunk(event(answer(asked))) + LAST_CHUNK

    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}'
    with place.playing(script):
        got = place.ask(call, bearer=place.token(), headers=LEGACY)
    assert got.body == b"".join(told) + event(b'{"jsonrpc":"2.0","id":1,"result":{}}')


@pytest.mark.parametrize("when", ["before the head", "within a body", "within a stream"])
def test_a_modern_hang_up_is_a_cancellation_at_once(place: Place, when: str) -> None:
    """2026-07-28, cancellation: the server's connection is closed, wherever its answer has got to."""
    under_way, left = threading.Event(), threading.Event()
    cut: list[bool] = []

    def script(asked: Asked) -> Iterator[bytes]:
        if when == "within a body":
            yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        if when == "within a stream":
            yield stream_begins() + chunk(event(NOTE))
        under_way.set()
        assert left.wait(20)
        cut.append(asked.wait_until_gone(20))

    body, headers = modern("tools/call", "t", arguments={})
    address = place.address()
    with place.playing(script):
        lines = [f"{name}: {value}" for name, value in headers.items()]
        with place.connected(address) as connection:
            connection.sendall(place.post(body, *lines, bearer=place.token()))
            assert under_way.wait(20)
            if when == "within a stream":
                received = b""
                while NOTE not in received:
                    received += connection.recv(65536)
        left.set()
        entries = place.entries(lambda found: any(entry.ev == "call.result" for entry in found), address)
    assert cut == [True]
    assert [entry.out.reason for entry in entries if entry.ev == "call.result"] == ["cancelled"]


TAGGED = b'"_meta":{"io.modelcontextprotocol/subscriptionId":%b}'
SUBSCRIPTION_ENDS = {
    "with a result": b'{"jsonrpc":"2.0","id":%b,"result":{"resultType":"complete",%b}}',
    "with a cancellation": b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,%b}}',
    "without a word": None,
}


@pytest.mark.parametrize("token", [b"1", b'"sub\\/1"', b"9007199254740993"], ids=repr)
@pytest.mark.parametrize("end", SUBSCRIPTION_ENDS.values(), ids=SUBSCRIPTION_ENDS)
def test_a_subscription_ends_as_its_server_ends_it(place: Place, end: bytes | None, token: bytes) -> None:
    """2026-07-28, subscriptions: the stream is closed, with a result or without; the gate puts nothing behind it."""
    meta = TAGGED % token
    told = [
        event(b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{' + meta + b"}}"),
        event(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{' + meta + b"}}"),
        *([] if end is None else [event(end % (token, meta))]),
    ]
    body, headers = modern("subscriptions/listen", notifications={"toolsListChanged": True})
    sent = body.replace(b'"id": 1', b'"id": ' + token)
    with place.playing(lambda asked: iter([stream_begins() + b"".join(map(chunk, told)) + LAST_CHUNK])):
        got = place.ask(sent, bearer=place.token(), headers=headers)
    assert place.payments.asked[-1].body == sent
    assert got.body == b"".join(told)
