"""HTTP that two readers could frame, route or end differently; and callers who take their time."""

import contextlib
import json

import pytest

from tests.e2e.attacks import table
from tests.e2e.attacks.ground import CALL, Attempt, Ground, answers, until_closed

pytestmark = pytest.mark.e2e

RAW = json.dumps(CALL).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(RAW), RAW)
SMUGGLED = b"POST /payments/mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def request(
    *fields: bytes, body: bytes = RAW, line: bytes = b"POST /payments/mcp HTTP/1.1", host: bytes | None = b"Host: HERE"
) -> bytes:
    """A request with exactly these fields besides a good token; HERE and TOKEN are put in when it is sent."""
    lines = [
        line,
        *([host] if host else []),
        b"Authorization: Bearer TOKEN",
        b"Content-Type: application/json",
        *fields,
    ]
    return b"\r\n".join([*lines, b"", b""]) + body


LENGTH = b"Content-Length: %d" % len(RAW)

UNREADABLE: dict[str, tuple[bytes, int, str]] = {
    "length and chunked": (request(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKED), 400, "bad_request"),
    "chunked and length": (request(b"Transfer-Encoding: chunked", LENGTH, body=CHUNKED), 400, "bad_request"),
    "chunked and length 0": (request(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=CHUNKED), 400, "bad_request"),
    "two lengths": (request(LENGTH, b"Content-Length: 5"), 400, "bad_request"),
    "two lengths that agree": (request(LENGTH, LENGTH), 400, "bad_request"),
    "a list of lengths": (request(LENGTH + b", %d" % len(RAW)), 400, "bad_request"),
    "a signed length": (request(b"Content-Length: +%d" % len(RAW)), 400, "bad_request"),
    "a hexadecimal length": (request(b"Content-Length: 0x10"), 400, "bad_request"),
    "a length of 30 digits": (request(b"Content-Length: " + b"9" * 30), 400, "bad_request"),
    "chunked twice": (request(b"Transfer-Encoding: chunked, chunked", body=CHUNKED), 400, "bad_request"),
    "chunked after gzip": (request(b"Transfer-Encoding: gzip, chunked", body=CHUNKED), 400, "bad_request"),
    "identity": (request(b"Transfer-Encoding: identity", LENGTH), 400, "bad_request"),
    "a coding that is nearly chunked": (request(b"Transfer-Encoding: xchunked", body=CHUNKED), 400, "bad_request"),
    "chunked with a tab": (request(b"Transfer-Encoding: \x0bchunked", body=CHUNKED), 400, "bad_request"),
    "a folded header": (request(b"X: 1", b" folded", LENGTH), 400, "bad_request"),
    "a folded coding": (request(b"Transfer-Encoding:", b" chunked", body=CHUNKED), 400, "bad_request"),
    "a space before the colon": (request(b"Transfer-Encoding : chunked", LENGTH, body=CHUNKED), 400, "bad_request"),
    "a header without a colon": (request(b"nonsense", LENGTH), 400, "bad_request"),
    "a null in a header": (request(b"X: a\0b", LENGTH), 400, "bad_request"),
    "a bare CR in a header": (request(b"X: a\rContent-Length: 0", LENGTH), 400, "bad_request"),
    "a bare LF in a header": (request(b"X: a\nContent-Length: 0", LENGTH), 400, "bad_request"),
    "chunk sizes by LF": (request(b"Transfer-Encoding: chunked", body=CHUNKED.replace(b"\r\n", b"\n") + b"\r\n\r\n"), 400, "bad_request"),
    "a chunk size that is none": (request(b"Transfer-Encoding: chunked", body=b"zz\r\n\r\n0\r\n\r\n"), 400, "bad_request"),
    "a chunk size of 20 digits": (request(b"Transfer-Encoding: chunked", body=b"f" * 20 + b"\r\nx\r\n0\r\n\r\n"), 400, "bad_request"),
    "a chunked body that goes on behind its last chunk": (request(b"Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"x\r\n" + SMUGGLED), 400, "bad_request"),
    "a chunk size with a sign": (request(b"Transfer-Encoding: chunked", body=b"+" + CHUNKED), 400, "bad_request"),
    "a chunk size in 0x": (request(b"Transfer-Encoding: chunked", body=b"0x" + CHUNKED), 400, "bad_request"),
    "a chunk size with a space before it": (request(b"Transfer-Encoding: chunked", body=b" " + CHUNKED), 400, "bad_request"),
    "a length with a tab before it, and another": (request(b"Content-Length:\t5", LENGTH), 400, "bad_request"),
    "a length with a comma": (request(LENGTH + b","), 400, "bad_request"),
    "two empty lines before the request": (b"\r\n\r\n" + request(LENGTH), 400, "bad_request"),
    "no Host": (request(LENGTH, host=None), 400, "bad_request"),
    "two Hosts": (request(b"Host: evil.example", LENGTH), 400, "bad_request"),
    "an absolute target": (request(LENGTH, line=b"POST http://HERE/payments/mcp HTTP/1.1"), 400, "bad_request"),
    "CONNECT": (request(LENGTH, line=b"CONNECT evil.example:443 HTTP/1.1"), 400, "bad_request"),
    "an asterisk": (request(LENGTH, line=b"POST * HTTP/1.1"), 400, "bad_request"),
    "a fragment": (request(LENGTH, line=b"POST /payments/mcp#x HTTP/1.1"), 400, "bad_request"),
    "two spaces in the line": (request(LENGTH, line=b"POST  /payments/mcp HTTP/1.1"), 400, "bad_request"),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
    "HTTP/3.0": (request(LENGTH, line=b"POST /payments/mcp HTTP/3.0"), 400, "bad_request"),
    "HTTP/0.9": (b"GET /payments/mcp\r\n\r\n", 400, "bad_request"),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), 400, "bad_request"),
    "an unknown expectation": (request(LENGTH, b"Expect: 200-ok"), 417, "bad_request"),
    "a header of 64 kB": (request(LENGTH, b"X: " + b"x" * (64 << 10)), 431, "too_large"),
    "a head of many headers": (request(LENGTH, *[b"X-%d: 1" % n for n in range(200)]), 431, "too_large"),
    "a target of 10 kB": (request(LENGTH, line=b"POST /" + b"x" * 10_000 + b" HTTP/1.1"), 414, "too_large"),
    "a body that says it is too large": (request(b"Content-Length: 65537", body=b""), 413, "too_large"),
    "a chunked body that is too large": (request(b"Transfer-Encoding: chunked", body=(b"1000\r\n" + b"x" * 4096 + b"\r\n") * 40), 413, "too_large"),
    "chunk extensions without end": (request(b"Transfer-Encoding: chunked", body=(b"1;" + b"x" * 4000 + b"\r\ny\r\n") * 60), 413, "too_large"),
    "a chunked body in an upgrade": (request(b"Transfer-Encoding: chunked", b"Connection: upgrade", b"Upgrade: h2c", body=CHUNKED), 400, "bad_request"),
    "an upgrade twice": (request(b"Upgrade: h2c", b"Upgrade: websocket", b"Connection: upgrade", LENGTH), 400, "bad_request"),
}  # fmt: skip


def sent(place: Ground, raw: bytes) -> bytes:
    return raw.replace(b"HERE", b"127.0.0.1:%d" % place.gate.port).replace(b"TOKEN", place.token().encode())


@pytest.fixture(scope="module")
def unreadable(place: Ground) -> dict[str, Attempt]:
    return {
        name: place.attempt(lambda address, raw=raw: place.raw(sent(place, raw), address))
        for name, (raw, _, _) in UNREADABLE.items()
    }


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_request_that_is_none_is_answered_once_recorded_and_cut(
    place: Ground, unreadable: dict[str, Attempt], name: str
) -> None:
    attempt, (_, status, reason) = unreadable[name], UNREADABLE[name]
    assert attempt.arrived == b""
    assert [answer.status for answer in attempt.got] == [status]
    assert attempt.answer.headers["connection"] == "close"
    entry = place.held(64, name, attempt)
    assert (entry.ev, entry.out.reason, entry.res.method) == ("auth.failed", reason, "UNREADABLE")


# Which server, which host, which page

PATHS = ["//payments/mcp", "/payments/mcp/", "/payments//mcp", "/%70ayments/mcp", "/payments/%6dcp", "/payments%2fmcp", "/payments;x/mcp",
         "/payments/mcp;x", "/payments/mcp;jsessionid=1", "/./payments/mcp", "/x/../payments/mcp", "/everything/../payments/mcp",
         "/everything/mcp/../../payments/mcp", "/payments/mcp%00", "/payments/mcp%20", "/payments/mcp.", "/PAYMENTS/mcp", "/payments/MCP",
         "/payments\\mcp", "/payments/mcp?", "/payments/mcp?x=1", "/payments/mcp%3f", "/payments/sse", "/payments", "/", "/mcp",
         "/healthz/../payments/mcp", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/other/mcp"]  # fmt: skip


@pytest.fixture(scope="module")
def paths(place: Ground) -> dict[str, Attempt]:
    def raw(path: str) -> bytes:
        return sent(place, request(LENGTH, b"Connection: close", line=f"POST {path} HTTP/1.1".encode()))

    return {path: place.attempt(lambda address, path=path: place.raw(raw(path), address)) for path in PATHS}


@pytest.mark.parametrize("path", PATHS)
def test_one_spelling_names_a_server_and_no_other(place: Ground, paths: dict[str, Attempt], path: str) -> None:
    attempt = paths[path]
    assert (attempt.arrived, attempt.answer.status, attempt.answer.error["code"]) == (b"", 404, 1404)
    entry = place.refused(attempt.address)
    assert (entry.out.reason, entry.res.server) == ("not_found", None)


HOSTS = [
    b"evil.example",
    b"127.0.0.1",
    b"127.0.0.1:1",
    b"127.0.0.1.evil.example:HERE",
    b"user@127.0.0.1:HERE",
    b"[::2]:HERE",
    b"127.0.0.1:HERE.",
]


def test_another_host_is_forbidden(place: Ground) -> None:
    def attempt(host: bytes) -> Attempt:
        named = host.replace(b"HERE", b"%d" % place.gate.port)
        asked = sent(place, request(LENGTH, b"Connection: close", host=b"Host: " + named))
        return place.attempt(lambda address: place.raw(asked, address))

    for host, made in {host: attempt(host) for host in HOSTS}.items():
        assert (made.arrived, made.answer.status, made.answer.reason) == (b"", 403, "host_forbidden")
        assert place.held(65, f"Host: {host.decode()}", made).out.reason == "host_forbidden"


ORIGINS = [
    "https://evil.example",
    "null",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost.evil.example",
    "",
    "file://",
    "http://x@127.0.0.1",
]


KINDS = ["text/plain", "application/json, text/plain", "application/json; charset=utf-16", "multipart/form-data", ""]


def with_header(place: Ground, name: str, value: str) -> Attempt:
    bearer = place.token()
    return place.attempt(lambda address: place.ask(bearer=bearer, headers={name: value}, address=address))


def test_a_foreign_origin_is_forbidden_and_may_read_nothing(place: Ground) -> None:
    for origin, made in {origin: with_header(place, "Origin", origin) for origin in ORIGINS}.items():
        assert (made.arrived, made.answer.status, made.answer.reason) == (b"", 403, "origin_forbidden")
        assert "access-control-allow-origin" not in made.answer.headers
        assert place.held(65, f"Origin: {origin or '(empty)'}", made).out.reason == "origin_forbidden"


def test_another_media_type_is_not_read(place: Ground) -> None:
    for made in [with_header(place, "Content-Type", kind) for kind in KINDS]:
        assert (made.arrived, made.answer.status) == (b"", 415)
        assert place.refused(made.address).out.reason == "unsupported_media_type"


# One connection, several requests


def test_requests_sent_ahead_are_answered_one_by_one_in_order(place: Ground) -> None:
    asks = [sent(place, request(LENGTH, body=RAW.replace(b'"id": 1', b'"id": %d' % n))) for n in range(1, 6)]
    last = sent(place, request(LENGTH, b"Connection: close", body=RAW.replace(b'"id": 1', b'"id": 6')))
    attempt = place.attempt(lambda address: place.raw(b"".join([*asks, last]), address))
    assert [json.loads(answer.body)["id"] for answer in attempt.got] == [1, 2, 3, 4, 5, 6]
    assert attempt.arrived.count(b"POST /mcp") == 6


def test_a_request_within_a_body_is_never_a_request(place: Ground) -> None:
    body = RAW.replace(b'"42"', json.dumps(SMUGGLED.decode()).encode())
    raw = sent(place, request(b"Content-Length: %d" % len(body), b"Connection: close", body=body))
    attempt = place.attempt(lambda address: place.raw(raw, address))
    assert [answer.status for answer in attempt.got] == [200]
    assert attempt.arrived.count(b"\r\nhost:") + attempt.arrived.count(b"\r\nHost:") == 1
    entries = place.entries(lambda entries: len(entries) == 2, attempt.address)
    table.saw(64, "a request within a body", "HTTP 200: it is the body's", table.in_words(entries[-1]))


def test_what_follows_a_body_needs_a_credential_of_its_own(place: Ground) -> None:
    smuggled = SMUGGLED.replace(b"Host: x", b"Host: 127.0.0.1:%d" % place.gate.port)
    attempt = place.attempt(lambda address: place.raw(sent(place, request(LENGTH)) + smuggled + b"x", address))
    assert [answer.status for answer in attempt.got] == [200, 401, 400]
    assert attempt.arrived.count(b"POST /mcp") == 1
    entries = place.entries(lambda entries: len(entries) == 4, attempt.address)
    assert {entry.out.reason for entry in entries if entry.ev == "auth.failed"} == {"credential_missing", "bad_request"}
    table.saw(
        64,
        "a second request behind a body, without a token",
        "HTTP 401, 1401 `credential_missing`",
        "`auth.failed` `credential_missing`",
    )


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
def test_an_upgrade_is_not_taken_up(place: Ground, protocol: bytes) -> None:
    fields = (
        b"Connection: Upgrade, HTTP2-Settings, close",
        b"Upgrade: " + protocol,
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
    )
    attempt = place.attempt(lambda address: place.raw(sent(place, request(LENGTH, *fields)), address))
    assert [answer.status for answer in attempt.got] == [200]
    assert "upgrade" not in attempt.answer.headers and b"pgrade" not in attempt.arrived
    entries = place.entries(lambda entries: len(entries) == 2, attempt.address)
    table.saw(64, f"an upgrade to {protocol.decode()}", "HTTP 200: answered as HTTP/1.1", table.in_words(entries[-1]))


# Those who take their time: header_s and body_s are one second here


@pytest.mark.parametrize("part", ["head", "body", "chunked body"])
def test_a_request_that_never_ends_is_cut_off_and_others_are_served(place: Ground, part: str) -> None:
    whole = sent(
        place, request(b"Transfer-Encoding: chunked", body=CHUNKED) if part == "chunked body" else request(LENGTH)
    )
    cut = whole[: whole.index(b"\r\n\r\n") - 5] if part == "head" else whole[:-9]
    address, before = place.address(), len(place.payments.received)
    with place.connected(address) as connection:
        connection.sendall(cut)
        place.served_meanwhile()
        [answer] = answers(until_closed(connection))
    attempt = Attempt(address, [answer], bytes(place.payments.received[before:]))
    assert (attempt.arrived, answer.status) == (b"", 408)
    assert place.held(64, f"slowloris: a {part} that never ends", attempt).out.reason == "bad_request"


def test_many_who_say_nothing_keep_nobody_out(place: Ground) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(place.connected()) for _ in range(200)]
        place.served_meanwhile()
        assert [until_closed(connection) for connection in idle] == [b""] * 200
