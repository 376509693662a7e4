"""The bridge with a gate in memory: what crosses HTTP for each line, and which lines come back."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from gatebook.cli.connecting import bridge as bridge_module
from gatebook.cli.connecting.bridge import Bridge
from gatebook.cli.person.errors import NotLoggedIn

URL = "https://gate.example/payments/mcp"
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
Answer = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


class Tokens:
    """A credential that gives t1, t2, … and another one only where the last was refused."""

    def __init__(self) -> None:
        self.number = 1
        self.gone = False

    async def token(self, *, instead_of: str | None = None) -> str:
        if self.gone:
            raise NotLoggedIn("log in again")
        if instead_of == f"t{self.number}":
            self.number += 1
        return f"t{self.number}"


class World:
    """A bridge, its lines in and out, and every request that it made."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[httpx2.Request] = []
        self.heard: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.tokens = Tokens()
        self._answer = answer
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def handle(request: httpx2.Request) -> httpx2.Response:
            await request.aread()
            self.requests.append(request)
            return await answer(request)

        self.http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
        self.bridge = Bridge(
            URL, self.http, self.tokens, lambda raw: self.heard.append(json.loads(raw)), self.said.append
        )
        self._running = asyncio.create_task(self.bridge.run(self._read()))

    async def _read(self) -> AsyncIterator[bytes]:
        while (line := await self._lines.get()) is not None:
            yield line

    async def say(self, **message: Any) -> None:
        await self._lines.put(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def end(self) -> None:
        await self._lines.put(None)
        async with asyncio.timeout(5):
            await self._running
        await self.http.aclose()


def result(request: httpx2.Request, **more: Any) -> httpx2.Response:
    return httpx2.Response(200, json={"jsonrpc": "2.0", "id": json.loads(request.content)["id"], "result": more})


def events(*texts: str, forever: asyncio.Event | None = None) -> httpx2.Response:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            for text in texts:
                yield text.encode()
            if forever is not None:
                await asyncio.Event().wait()
        finally:
            if forever is not None:
                forever.set()

    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=pieces())


def modern(number: int, method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return {"id": number, "method": method, "params": {"name": "t", **params, "_meta": META}}


async def test_a_refused_token_is_replaced_once_and_the_request_sent_again_with_another() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        good = request.headers["authorization"] == "Bearer t2"
        return result(request) if good else httpx2.Response(401)

    world = World(answer)
    await world.say(**modern(1))
    await world.until(lambda: bool(world.heard))
    assert [request.headers["authorization"] for request in world.requests] == ["Bearer t1", "Bearer t2"]
    assert world.heard[0]["result"] == {}
    await world.end()


async def test_a_gate_that_refuses_every_token_is_asked_twice_and_no_more() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, json={"error": "invalid_token"})

    world = World(answer)
    await world.say(**modern(1))
    await world.until(lambda: bool(world.heard))
    assert len(world.requests) == 2
    assert world.heard[0]["error"]["data"]["reason"] == "no_answer"
    assert "log in again" in world.heard[0]["error"]["message"]
    await world.end()


async def test_a_cancelled_modern_request_is_one_whose_stream_is_closed_and_nothing_is_sent_for_it() -> None:
    closed = asyncio.Event()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        return events('data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n', forever=closed)

    world = World(answer)
    await world.say(**modern(1))
    await world.until(lambda: bool(world.heard))
    await world.say(method="notifications/cancelled", params={"requestId": 1, "_meta": META})
    async with asyncio.timeout(5):
        await closed.wait()
    await world.end()
    assert len(world.requests) == 1
    assert [each.get("method") for each in world.heard] == ["notifications/progress"], "and no answer comes for it"


async def legacy(request: httpx2.Request) -> httpx2.Response | None:
    """What every legacy server here does."""
    if request.method in ("GET", "DELETE"):
        return httpx2.Response(405)
    message = json.loads(request.content)
    if message.get("method") == "initialize":
        response = result(request, protocolVersion="2025-11-25")
        response.headers["mcp-session-id"] = "s1"
        return response
    return None if "id" in message else httpx2.Response(202)


async def begin(world: World) -> None:
    await world.say(id=0, method="initialize", params={})
    await world.say(method="notifications/initialized")
    await world.until(lambda: bool(world.heard) and len(world.requests) >= 2)


async def test_a_cancelled_legacy_request_is_told_to_the_server_and_its_answer_still_comes() -> None:
    told = asyncio.Event()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST" and b"cancelled" in request.content:
            told.set()
        known = await legacy(request)
        if known is not None:
            return known
        await told.wait()
        return result(request)

    world = World(answer)
    await begin(world)
    await world.say(id="a", method="tools/call", params={"name": "t"})
    await world.say(method="notifications/cancelled", params={"requestId": "a"})
    await world.until(lambda: len(world.heard) == 2)
    assert world.heard[1]["id"] == "a"
    sent = [json.loads(request.content) for request in world.requests if request.method == "POST"]
    assert sent[-1]["method"] == "notifications/cancelled"
    await world.end()


async def test_every_legacy_message_goes_with_session_and_version_and_the_session_is_deleted() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return await legacy(request) or result(request)

    world = World(answer)
    await begin(world)
    await world.say(id=1, method="ping")
    await world.until(lambda: len(world.heard) == 2)
    await world.end()
    assert "mcp-session-id" not in world.requests[0].headers
    for request in world.requests[1:]:
        assert (request.headers["mcp-session-id"], request.headers["mcp-protocol-version"]) == ("s1", "2025-11-25")
    assert world.requests[-1].method == "DELETE"


async def test_what_the_server_says_by_itself_comes_as_lines_and_the_stream_is_taken_up_where_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_module, "LISTEN_PAUSE_S", (0.0, 0.0))
    closed = asyncio.Event()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and "last-event-id" not in request.headers:
            return events('id: e1\ndata: {"jsonrpc":"2.0","id":7,"method":"roots/list"}\n\n')
        if request.method == "GET":
            return events('id: e2\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\n', forever=closed)
        return await legacy(request) or result(request)

    world = World(answer)
    await begin(world)
    await world.until(lambda: len(world.heard) == 3)
    assert [each.get("method") for each in world.heard] == [None, "roots/list", "notifications/message"]
    await world.say(id=7, result={"roots": []})
    await world.until(lambda: any(b"roots" in request.content for request in world.requests))
    assert [r.headers.get("last-event-id") for r in world.requests if r.method == "GET"] == [None, "e1"]
    await world.end()
    assert closed.is_set()


async def test_a_stream_that_ends_before_its_answer_is_taken_up_again_and_nothing_is_sent_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_module, "LISTEN_PAUSE_S", (0.0, 0.0))

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and request.headers.get("last-event-id") == "p1":
            return events('id: p2\ndata: {"jsonrpc":"2.0","id":1,"result":{"late":true}}\n\n')
        known = await legacy(request)
        return known if known is not None else events("id: p1\nretry: 0\ndata:\n\n")

    world = World(answer)
    await begin(world)
    await world.say(id=1, method="tools/call", params={"name": "t"})
    await world.until(lambda: len(world.heard) == 2)
    assert world.heard[1]["result"] == {"late": True}
    await world.end()
    assert sum(request.method == "POST" and b"tools/call" in request.content for request in world.requests) == 1


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: httpx2.Response(502, text="<html>"), "no_answer"),
        (lambda: httpx2.Response(404), "no_answer"),
        (lambda: events("data: not json\n\n"), "bad_answer"),
        (lambda: events('data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n'), "no_answer"),
    ],
)
async def test_whatever_does_not_answer_is_an_error_to_the_client(
    response: Callable[[], httpx2.Response], reason: str
) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return response()

    world = World(answer)
    await world.say(**modern(5))
    await world.until(lambda: any("error" in each for each in world.heard))
    assert (world.heard[-1]["id"], world.heard[-1]["error"]["data"]["reason"]) == (5, reason)
    assert world.heard[-1]["error"]["code"] > 0
    await world.end()


async def test_a_break_of_the_connection_and_a_login_that_ended_are_told() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no", request=request)

    world = World(answer)
    await world.say(**modern(1))
    await world.until(lambda: len(world.heard) == 1)
    world.tokens.gone = True
    await world.say(**modern(2))
    await world.until(lambda: len(world.heard) == 2)
    assert [each["error"]["data"]["reason"] for each in world.heard] == ["unreachable", "not_logged_in"]
    await world.end()


async def test_requests_run_beside_each_other_and_what_is_under_way_is_finished_at_the_end() -> None:
    gate = asyncio.Event()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if json.loads(request.content)["id"] == 1:
            await gate.wait()
        return result(request)

    world = World(answer)
    await world.say(**modern(1))
    await world.say(**modern(2))
    await world.until(lambda: len(world.heard) == 1)
    assert world.heard[0]["id"] == 2
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await world.end()
    assert [each["id"] for each in world.heard] == [2, 1]


async def test_a_call_that_demands_a_fresh_login_says_what_to_type() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        challenge = 'Bearer error="insufficient_scope", scope="mcp:payments mcp:payments:mfa"'
        error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "not enough"}}
        return httpx2.Response(403, headers={"www-authenticate": challenge}, json=error)

    world = World(answer)
    await world.say(**modern(1))
    await world.until(lambda: bool(world.heard))
    [heard] = world.heard
    assert (len(world.requests), heard["id"], heard["error"]["data"]["reason"]) == (1, 1, "insufficient_scope")
    assert f"gatebook token {URL} --fresh" in heard["error"]["message"]
    await world.end()
