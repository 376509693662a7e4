"""Every place of a server's answer that can hold something: the raw bytes of one HTTP answer each, by the name of the case."""

import json
import time
from collections.abc import Callable, Iterator

from tests.e2e.attacks.recording import Asked, reply, result, stream_head
from tests.e2e.canary.plants import KEY, PLAIN, load, text


def answers() -> dict[str, Callable[[Asked], Iterator[bytes]]]:
    """Name → what the server sends. `released_*`: the gate lets it out, masked, and so it is recorded."""
    return {
        "released_text": _json(lambda name: {"content": [{"type": "text", "text": text(name)}]}),
        "released_structure": _json(lambda name: {"content": [], "structuredContent": load(name)}),
        "released_compact": lambda asked: iter(
            [reply(result(asked, json.dumps(load(said(asked)), separators=(",", ":")).encode()))]
        ),
        "released_nested": _json(lambda name: {"content": [{"type": "text", "text": json.dumps(load(name))}]}),
        "released_tool_error": _json(lambda name: {"content": [{"type": "text", "text": text(name)}], "isError": True}),
        "released_large": _json(
            lambda name: {"content": [{"type": "text", "text": "x" * 200_000}], "structuredContent": load(name)}
        ),
        "released_error": _error,
        "released_http_error": _http_error,
        "plain_http_error": lambda asked: iter(
            [reply(text("plain_http_error").encode(), status=b"500 " + PLAIN.encode(), kind=b"text/plain")]
        ),
        "html_http_error": lambda asked: iter(
            [reply(b"<pre>" + text("html").encode() * 2000, status=b"502 Bad", kind=b"text/html")]
        ),
        "headers": _headers,
        "session_id": lambda asked: iter([reply(result(asked), b"mcp-session-id: " + text("session").encode())]),
        "wrong_id": lambda asked: iter(
            [reply(json.dumps({"jsonrpc": "2.0", "id": PLAIN, "result": load("wrong_id")}).encode())]
        ),
        "two_keys": lambda asked: iter([reply(b'{"a":1,"a":"' + text("two_keys").encode() + b'"}')]),
        "equal_keys": _json(lambda name: {KEY: load(name), f"{KEY[:6]}******{KEY[-4:]}": 1}),
        "cut_json": lambda asked: iter([reply(json.dumps(load("cut_json")).encode()[:-30])]),
        "no_json": lambda asked: iter([reply(text("no_json").encode())]),
        "no_http": lambda asked: iter([text("no_http").encode() + b"\r\n\r\n"]),
        "status_line": lambda asked: iter(
            [b"HTTP/1.1 " + PLAIN.encode() + b" " + text("status").encode() + b"\r\n\r\n"]
        ),
        "long_header": lambda asked: iter([reply(result(asked), b"x-long: " + text("long").encode() * 3000)]),
        "bad_length": lambda asked: iter(
            [b"HTTP/1.1 200 OK\r\ncontent-length: " + PLAIN.encode() + b"\r\n\r\n" + json.dumps(load("cut")).encode()]
        ),
        "compressed": lambda asked: iter([reply(text("compressed").encode(), b"content-encoding: gzip")]),
        "redirect": lambda asked: iter(
            [reply(b"", b"location: http://127.0.0.1/" + PLAIN.encode(), status=b"302 Found")]
        ),
        "refused_credential": lambda asked: iter(
            [reply(b"", b"www-authenticate: " + text("challenge").encode(), status=b"401 Unauthorized")]
        ),
        "released_events": _events,
        "slow_events": _slow_events,
        "event_names": _event_lines(b"event: "),
        "event_ids": _event_lines(b"id: "),
        "event_comments": _event_lines(b": "),
        "event_retries": _event_lines(b"retry: "),
        "event_unknown_fields": _event_lines(b"x-field: "),
        "event_no_json": _event_lines(b"data: "),
        "event_cut": lambda asked: iter([stream_head(), b"data: " + text("event_cut").encode()]),
        "server_requests": _server_requests,
    }


def _json(made: Callable[[str], object]) -> Callable[[Asked], Iterator[bytes]]:
    def script(asked: Asked) -> Iterator[bytes]:
        yield reply(result(asked, json.dumps(made(said(asked))).encode()))

    return script


def said(asked: Asked) -> str:
    """The case that the caller asked for, which is also the marker in its load."""
    name: str = json.loads(asked.body)["params"]["arguments"]["say"]
    return name


def _error(asked: Asked) -> Iterator[bytes]:
    error = {"code": int(PLAIN[:9]), "message": text(said(asked)), "data": load(said(asked))}
    yield reply(b'{"jsonrpc":"2.0","id":' + asked.id + b',"error":' + json.dumps(error).encode() + b"}")


def _http_error(asked: Asked) -> Iterator[bytes]:
    error = {"code": -32000, "message": text(said(asked))}
    body = b'{"jsonrpc":"2.0","id":' + asked.id + b',"error":' + json.dumps(error).encode() + b"}"
    yield reply(body, status=b"500 " + text("reason").encode())


def _headers(asked: Asked) -> Iterator[bytes]:
    fields = [
        b"%b: %b" % (name, text(name.decode()).encode())
        for name in (b"set-cookie", b"x-trace", b"cache-control", b"server", b"etag", b"retry-after", b"date", b"link")
    ]
    yield reply(result(asked), *fields, kind=b'application/json; note="' + text("media-type").encode() + b'"')


def _event(message: object, *lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in (*lines, b"data: " + json.dumps(message).encode(), b""))


def _progress(name: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": load(name)}}


def _events(asked: Asked) -> Iterator[bytes]:
    name = said(asked)
    yield stream_head()
    for _ in range(5):
        yield _event(_progress(name))
    answer = (
        b'{"jsonrpc":"2.0","id":' + asked.id + b',"result":' + json.dumps({"content": [], "x": load(name)}).encode()
    )
    yield b"event: message\nid: 7\ndata: " + answer + b"}\n\n"


def _slow_events(asked: Asked) -> Iterator[bytes]:
    """A card number cut by the network, and the end of the stream in the middle of an event."""
    yield stream_head()
    whole = _event(_progress("slow_events"))
    for start in range(0, len(whole), 97):
        yield whole[start : start + 97]
        time.sleep(0.001)
    yield whole[: len(whole) // 2]


def _event_lines(field: bytes) -> Callable[[Asked], Iterator[bytes]]:
    def script(asked: Asked) -> Iterator[bytes]:
        yield stream_head()
        yield field + text(said(asked)).encode() + b"\n\n"
        yield _event(_progress(said(asked)), field + text(said(asked)).encode())

    return script


def _server_requests(asked: Asked) -> Iterator[bytes]:
    """The server asks the client something, under an id and a method that are plants themselves."""
    yield stream_head()
    params = {"message": text("server_requests"), "requestedSchema": {"type": "object", "properties": {}}}
    yield _event({"jsonrpc": "2.0", "id": PLAIN, "method": "elicitation/create", "params": params})
    yield _event({"jsonrpc": "2.0", "id": 8, "method": f"vendor/{PLAIN}", "params": load("server_requests")})
    yield _event({"jsonrpc": "2.0", "id": json.loads(asked.id), "result": {"content": []}})
