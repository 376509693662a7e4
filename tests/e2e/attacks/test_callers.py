"""Callers with a good token who want more than is theirs: another's session, another name, another's credential."""

import http.client
import json
from typing import Any

import pytest

from tests.e2e.attacks import table
from tests.e2e.attacks.ground import CALL, PAN, SECRET, Attempt, Ground
from tests.e2e.attacks.recording import Asked, reply, result, stream_head

pytestmark = pytest.mark.e2e

INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}  # fmt: skip
UPSTREAM_SESSION = "upstream-session-77"


def opens_a_session(asked: Asked) -> Any:
    yield reply(result(asked, b"{}"), b"mcp-session-id: " + UPSTREAM_SESSION.encode())


def session_of(place: Ground, subject: str, **claims: Any) -> str:
    with place.playing(opens_a_session):
        answer = place.ask(INITIALIZE, bearer=place.token(subject, **claims))
    assert answer.status == 200 and UPSTREAM_SESSION not in answer.whole
    return answer.headers["mcp-session-id"]


# 59: sessions


def test_the_owner_of_a_session_uses_it_through_every_worker(place: Ground) -> None:
    handle = session_of(place, "alice")
    for _ in range(12):  # each a connection of its own, so that both workers get some
        attempt = place.attempt(
            lambda a: place.ask(bearer=place.token("alice"), headers={"Mcp-Session-Id": handle}, address=a)
        )
        assert attempt.answer.status == 200
        assert (
            f"mcp-session-id: {UPSTREAM_SESSION}".encode() in attempt.arrived and handle.encode() not in attempt.arrived
        )


THIEVES: dict[str, dict[str, Any]] = {
    "another person": {"subject": "mallory"},
    "another program of the same person": {"azp": "other-client"},
    "a person whose name begins alike": {"subject": "alice2"},
    "a person named in another case": {"subject": "Alice"},
}


def with_session(place: Ground, handle: str, bearer: str | None, method: str = "POST") -> Attempt:
    headers = {"Mcp-Session-Id": handle}
    return place.attempt(lambda a: place.ask(bearer=bearer, headers=headers, address=a, method=method))


@pytest.mark.parametrize("name", THIEVES)
def test_a_session_is_its_owners_alone(place: Ground, name: str) -> None:
    handle, bearer = session_of(place, "alice"), place.token(**{"subject": "alice", **THIEVES[name]})
    for method, made in {
        method: with_session(place, handle, bearer, method) for method in ("POST", "GET", "DELETE")
    }.items():
        assert (made.arrived, made.answer.status, made.answer.error["code"]) == (b"", 404, -32001)
        assert place.held(59, f"{method} by {name}", made).out.reason == "session_unknown"


def test_a_session_of_one_server_opens_nothing_at_another(place: Ground) -> None:
    handle = session_of(place, "alice")
    attempt = place.attempt(
        lambda a: place.ask(
            bearer=place.token("alice", server="everything"), headers={"Mcp-Session-Id": handle}, server="everything", address=a
        )
    )  # fmt: skip
    assert (attempt.answer.status, attempt.answer.reason) == (404, "session_unknown")
    assert place.held(59, "at another server", attempt).res.server == "everything"


def test_a_guessed_session_opens_nothing(place: Ground) -> None:
    guesses = [UPSTREAM_SESSION, "A" * 100, "A" * 8000, "=", "\xe9", "null", "0"]
    guesses += [guesses[1][:-1], "../" + UPSTREAM_SESSION, session_of(place, "alice")[:-4] + "AAAA"]
    for n, made in enumerate([with_session(place, handle, place.token()) for handle in guesses], 1):
        assert (made.arrived, made.answer.status, made.answer.reason) == (b"", 404, "session_unknown")
        assert place.held(59, f"guess {n}", made).out.reason == "session_unknown"


def test_a_session_that_was_ended_is_ended_for_its_owner_too(place: Ground) -> None:
    """The server forgets it, and its answer goes on: the handle opens to the server's id and to nothing else."""
    handle, token = session_of(place, "alice"), place.token("alice")
    assert with_session(place, handle, token, "DELETE").answer.status < 300

    def forgotten(asked: Asked) -> Any:
        yield reply(b"", status=b"404 Not Found")

    with place.playing(forgotten):
        later = [with_session(place, handle, token) for _ in range(4)]
    for made in later:
        assert (made.answer.status, made.answer.body) == (404, b"")
        [_, entry] = place.entries(lambda entries: len(entries) == 2, made.address)
        assert not entry.out.ok
        table.saw(59, "after it was ended", "HTTP 404, the server's own", table.in_words(entry))


def test_a_session_is_no_credential(place: Ground) -> None:
    made = with_session(place, session_of(place, "alice"), None)
    assert (made.arrived, made.answer.status, made.answer.reason) == (b"", 401, "credential_missing")
    assert place.held(59, "instead of a token", made).ev == "auth.failed"


# 62, 63: what a caller says of itself, and what is its own

HOSTILE: dict[str, str] = {
    "X-Forwarded-User": "root", "X-Forwarded-Email": "root@corp", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.9", "Remote-User": "root", "X-Remote-User": "root", "Forwarded": "for=203.0.113.9",
    "X-Api-Key": "client-key-1", "Cookie": "session=client-cookie", "Proxy-Authorization": "Basic client-proxy", "X-Original-URL": "/admin",
    "X-HTTP-Method-Override": "DELETE", "X-Gatebook-Call-Id": "forged", "Gatebook-Call-Id": "forged-call", "Gatebook-Receipt": "forged",
    "Via": "1.1 forged", "Max-Forwards": "0", "Range": "bytes=0-1", "If-None-Match": "*", "Accept-Encoding": "gzip", "TE": "trailers",
    "Trailer": "Authorization", "Keep-Alive": "timeout=9", "Proxy-Connection": "keep-alive", "X_Api_Key": "client-under",
}  # fmt: skip


def test_nothing_a_caller_says_of_itself_reaches_the_server_or_the_identity(place: Ground) -> None:
    bearer = place.token("alice")
    attempt = place.attempt(lambda a: place.ask(bearer=bearer, headers=HOSTILE, address=a))
    assert attempt.answer.status == 200
    head = attempt.arrived.partition(b"\r\n\r\n")[0].decode().lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert fields["authorization"] == f"bearer {SECRET}".lower()
    for name, value in HOSTILE.items():
        if name.lower() not in ("gatebook-call-id", "accept-encoding", "keep-alive"):
            assert name.lower() not in fields
        assert value.lower() not in fields.values()
    assert bearer.encode() not in attempt.arrived and bearer.split(".")[2].encode() not in attempt.arrived
    entries = place.entries(lambda entries: len(entries) == 2, attempt.address)
    assert {(entry.who.sub, entry.from_.ip) for entry in entries} == {("alice", attempt.address)}
    assert fields["gatebook-call-id"] == entries[0].call
    for name in HOSTILE:
        table.saw(
            62,
            name,
            "HTTP 200; it reached neither the server nor the identity",
            "`call.result` `completed` of the token's caller",
        )


@pytest.mark.parametrize("named", ["authorization", "Authorization, close", "host", "x-api-key", "gatebook-call-id"])
def test_connection_takes_nothing_of_ours_away(place: Ground, named: str) -> None:
    attempt = place.attempt(lambda a: place.ask(bearer=place.token(), headers={"Connection": named}, address=a))
    assert attempt.answer.status == 200
    assert f"Bearer {SECRET}".encode() in attempt.arrived
    entries = place.entries(lambda entries: len(entries) == 2, attempt.address)
    table.saw(62, f"Connection: {named}", "HTTP 200; the server got our credential", table.in_words(entries[-1]))


@pytest.mark.parametrize("named", ["content-type", "mcp-protocol-version", "Accept, MCP-Protocol-Version"])
def test_connection_takes_nothing_away_that_the_server_must_see(place: Ground, named: str) -> None:
    headers = {"Connection": named, "MCP-Protocol-Version": "2025-06-18"}
    attempt = place.attempt(lambda a: place.ask(bearer=place.token(), headers=headers, address=a))
    assert (attempt.arrived, attempt.answer.status) == (b"", 400)
    assert attempt.answer.reason == "bad_request"
    entries = place.entries(bool, attempt.address)
    assert entries[-1].out.reason == "bad_request" and not entries[-1].out.ok
    table.saw(62, f"Connection: {named}", attempt.answer.in_words, table.in_words(entries[-1]))


# 68: what one may see is not shown to another


def lists(asked: Asked) -> Any:
    tools = [{"name": name, "inputSchema": {}} for name in ("get_order", "list_orders", "delete_customer")]
    value = json.dumps({"tools": tools, "ttlMs": 60000, "cacheScope": "public"}).encode()
    yield reply(result(asked, value), b"cache-control: public, max-age=600", b"etag: x")


def test_a_list_is_each_callers_own_and_private(place: Ground) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with place.playing(lists):
        own = place.attempt(lambda a: place.ask(message, bearer=place.token("alice"), address=a))
        none = place.attempt(lambda a: place.ask(message, bearer=place.token("bob", groups=()), address=a))
    found = json.loads(own.answer.body)["result"]
    assert [tool["name"] for tool in found["tools"]] == ["get_order", "list_orders"]
    assert found["cacheScope"] == "private"
    assert "public" not in own.answer.headers.get("cache-control", "")
    assert (none.arrived, none.answer.reason) == (b"", "denied")
    place.refused(none.address)


def test_a_denial_is_the_same_whether_or_not_the_object_exists(place: Ground) -> None:
    def denied(name: str) -> dict[str, Any]:
        attempt = place.attempt(
            lambda a: place.ask({**CALL, "params": {"name": name}}, bearer=place.token(), address=a)
        )
        assert attempt.arrived == b""
        place.refused(attempt.address)
        answer = json.loads(attempt.answer.body)
        answer["error"]["data"].pop("call")
        return {**answer, "headers": sorted(attempt.answer.headers.keys()), "status": attempt.answer.status}

    assert denied("delete_customer") == denied("no_such_tool_anywhere")


# Several at once


@pytest.mark.parametrize("subject", ["alice", "bob"])
def test_a_callers_name_in_the_book_is_its_own_with_many_at_once(place: Ground, subject: str) -> None:
    """One id from two people, at the same time and through the same workers: each gets its own answer."""
    attempts: list[tuple[str, str, http.client.HTTPConnection]] = []
    for n in range(20):
        who, address = (subject, f"other-{n}")[n % 2], place.address()
        connection = http.client.HTTPConnection("127.0.0.1", place.gate.port, timeout=20, source_address=(address, 0))
        body = json.dumps({**CALL, "params": {"name": "get_order", "arguments": {"whose": who}}})
        headers = {"Authorization": f"Bearer {place.token(who)}", "Content-Type": "application/json", "Accept": "*/*"}
        connection.request("POST", "/payments/mcp", body=body, headers=headers)
        attempts.append((who, address, connection))

    for _, _, connection in attempts:
        assert connection.getresponse().status == 200
        connection.close()
    for who, address, _ in attempts:
        entries = place.entries(lambda entries: len(entries) == 2, address)
        assert {entry.who.sub for entry in entries} == {who}


# What callers put into the book


@pytest.mark.parametrize(
    "agent", [f"card {PAN}", "\x1b[2J\x1b]0;owned\x07", "x" * 4000, "\xff\xfe", '"},{"ev":"log.init"']
)
def test_what_a_program_says_of_itself_is_harmless_in_the_book(place: Ground, agent: str) -> None:
    attempt = place.attempt(lambda a: place.ask(bearer=place.token(), headers={"User-Agent": agent}, address=a))
    entries = place.entries(bool, attempt.address)
    client = entries[0].from_.client or ""
    assert PAN not in client and len(client) <= 120 and client.isprintable()


def test_a_stream_that_a_caller_leaves_is_closed_in_the_book(place: Ground) -> None:
    gone: list[bool] = []

    def endless(asked: Asked) -> Any:
        yield stream_head()
        yield b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n\n'
        gone.append(asked.wait_until_gone())

    address = place.address()
    with place.playing(endless), place.connected(address) as connection:
        head = f"GET /payments/mcp HTTP/1.1\r\nHost: 127.0.0.1:{place.gate.port}\r\nAuthorization: Bearer {place.token()}\r\n"
        connection.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
        received = b""
        while b"notifications/message" not in received:
            received += connection.recv(65536)
    entries = place.entries(lambda entries: any(entry.ev == "stream.close" for entry in entries), address)
    assert [entry.ev for entry in entries if entry.ev.startswith("stream")] == ["stream.open", "stream.close"]
    assert entries[-1].out.reason == "cancelled" and len({entry.call for entry in entries}) == 1
    assert gone == [True]


def test_the_look_through_the_files_finds_what_is_there(place: Ground) -> None:
    """The check at the end of all attacks can fail."""
    planted = place.gate.directory / "planted"
    for value in (SECRET, PAN, place.token()):
        planted.write_bytes(b"..." + value.encode() + b"...")
        assert any("planted" in found for found in place.sweep())
    planted.unlink()
    assert place.sweep() == []
