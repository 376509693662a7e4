"""One connection to a server that is probed: a request to its result, over HTTP or over a program's standard input and output."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2
import msgspec
import typer

from gatebook import __version__
from gatebook.cli.connecting import messages
from gatebook.cli.connecting.messages import Agreed
from gatebook.cli.person.asking import trusting
from gatebook.model.errors import Malformed
from gatebook.serve.patience import family_processor_s, patiently
from gatebook.serve.runner.launching import NotStarted, Pipes, start
from gatebook.serve.runner.sandbox import Launch
from gatebook.wire import strict_json
from gatebook.wire.revisions import VERSION_META
from gatebook.wire.sse import EventSplitter

MAX_ANSWER_BYTES: Final = 16 << 20
ANSWER_S: Final = 30.0
START_S: Final = 120.0
"""A command may fetch its package first. One that still gets on then is waited for, as `patience` says."""


class Refused(Exception):
    """The server answered with an error. `code`: its JSON-RPC code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server answered with error {code}")
        self.code = code


class Broken(Exception):
    """There is no MCP server there, or it broke off. The words are for the operator and repeat nothing of what it said."""


class Speaker(Protocol):
    """Who speaks to the server. One request at a time."""

    async def request(self, method: str, params: dict[str, Any], *, within_s: float = ANSWER_S) -> dict[str, Any]:
        """The result. Raises Refused, Broken."""

    async def notify(self, method: str) -> None:
        """Said, and nothing is waited for. Raises Broken."""

    def agree(self, version: str) -> None:
        """What `initialize` led to: requests say it from here on."""


def modern_params(version: str) -> dict[str, Any]:
    """What every request of a modern revision carries."""
    prefix = "io.modelcontextprotocol/"
    client = {"name": "gatebook", "version": __version__}
    return {"_meta": {VERSION_META: version, f"{prefix}clientInfo": client, f"{prefix}clientCapabilities": {}}}


def _body(number: int | None, method: str, params: dict[str, Any]) -> bytes:
    whole = {"jsonrpc": "2.0", "method": method} | ({"params": params} if params else {})
    return msgspec.json.encode(whole if number is None else whole | {"id": number})


def _result(raw: bytes, number: int) -> dict[str, Any] | None:
    """The result, if `raw` answers request `number`; None where it is something else. Raises Refused, Broken."""
    try:
        found = strict_json.decode(raw)
    except Malformed as wrong:
        raise Broken("the server's message is no JSON, or can be read in two ways") from wrong
    if not isinstance(found, dict) or "method" in found or ("error" in found and found.get("id") not in (number, None)):
        return None
    if "error" in found:
        code = found["error"].get("code") if isinstance(found["error"], dict) else None
        raise Refused(code if isinstance(code, int) else 0)
    if found.get("id") != number:
        return None
    if not isinstance(found.get("result"), dict):
        raise Broken("the server's answer has no result")
    result: dict[str, Any] = found["result"]
    return result


# --- HTTP ---------------------------------------------------------------------------------------------------------------------


class OverHttp:
    """A server at a URL; `headers` hold its credential."""

    def __init__(self, url: str, http: httpx2.AsyncClient, headers: Mapping[str, str]) -> None:
        self._url, self._http, self._own = url, http, dict(headers)
        self._agreed = Agreed()
        self._number = 0

    def agree(self, version: str) -> None:
        self._agreed.version = version

    async def request(self, method: str, params: dict[str, Any], *, within_s: float = ANSWER_S) -> dict[str, Any]:
        self._number += 1
        try:
            async with asyncio.timeout(within_s):
                return await self._posted(_body(self._number, method, params))
        except TimeoutError as late:
            raise Broken(f"the server did not answer {method} within {within_s:g} s") from late
        except httpx2.HTTPError as failure:
            raise Broken(f"it cannot be reached, or broke off: {type(failure).__name__}") from failure

    async def notify(self, method: str) -> None:
        raw = _body(None, method, {})
        try:
            await self._http.post(self._url, content=raw, headers=self._headers(raw), timeout=ANSWER_S)
        except httpx2.HTTPError as failure:
            raise Broken(f"it broke off: {type(failure).__name__}") from failure

    def _headers(self, raw: bytes) -> dict[str, str]:
        return messages.headers_of(messages.read(raw), self._agreed, {}) | self._own

    async def _posted(self, raw: bytes) -> dict[str, Any]:
        async with self._http.stream("POST", self._url, content=raw, headers=self._headers(raw)) as response:
            if response.status_code in (401, 403):
                raise Broken(f"it wants a credential (HTTP {response.status_code}): give one with --secret")
            if (session := response.headers.get("mcp-session-id")) is not None:
                self._agreed.session = session
            async for message in _messages(response):
                if (result := _result(message, self._number)) is not None:
                    return result
        raise Broken(f"it gave no answer (HTTP {response.status_code}): is it an MCP server's URL?")


async def _messages(response: httpx2.Response) -> AsyncIterator[bytes]:
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "text/event-stream":
        splitter = EventSplitter(MAX_ANSWER_BYTES)
        async for piece in response.aiter_bytes():
            for event in splitter.feed(piece):
                if event.data:
                    yield event.data
        return
    raw = bytearray()
    async for piece in response.aiter_bytes():
        raw += piece
        if len(raw) > MAX_ANSWER_BYTES:
            raise Broken(f"it answered with more than {MAX_ANSWER_BYTES >> 20} MiB")
    if media == "application/json" and raw:
        yield bytes(raw)


@contextlib.asynccontextmanager
async def over_http(
    url: str, headers: Mapping[str, str], tls: Mapping[str, Any] | None = None
) -> AsyncIterator[Speaker]:
    """A new connection to the server at `url` (`https:`, `http:`, or `unix:/SOCKET:/PATH`)."""
    if url.startswith("unix:"):
        socket, _, path = url.removeprefix("unix:").partition(":")
        transport = httpx2.AsyncHTTPTransport(uds=socket)
        async with httpx2.AsyncClient(transport=transport, timeout=ANSWER_S) as http:
            yield OverHttp(f"http://localhost{path}", http, headers)
        return
    known = dict(tls) if tls is not None else trusting(url)
    async with httpx2.AsyncClient(timeout=ANSWER_S, **known) as http:
        yield OverHttp(url, http, headers)


# --- a program ----------------------------------------------------------------------------------------------------------------


class OverProgram:
    """A program that speaks MCP on its standard input and output, started as the runner starts it."""

    def __init__(self, pipes: Pipes, pid: int) -> None:
        self._pipes = pipes
        self._had_s = partial(family_processor_s, pid)
        self._number = 0
        self._read = bytearray()

    def agree(self, version: str) -> None:
        """Nothing goes beside a line."""

    async def request(self, method: str, params: dict[str, Any], *, within_s: float = ANSWER_S) -> dict[str, Any]:
        self._number += 1
        began_s = asyncio.get_running_loop().time()
        asking = self._asked(method, params)
        try:
            return await patiently(asking, self._had_s, partial(_tell, method), least_s=within_s)
        except TimeoutError as late:
            waited_s = asyncio.get_running_loop().time() - began_s
            raise Broken(f"it did not answer {method} within {waited_s:.0f} s, and does nothing any more") from late

    async def _asked(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        await self._pipes.write(_body(self._number, method, params) + b"\n")
        while (line := await self._line()) is not None:
            if (result := _result(line, self._number)) is not None:
                return result
            await self._decline(line)
        raise Broken(
            "the program ended before it answered: run it by hand to see why; it has no network unless you say --network"
        )

    async def notify(self, method: str) -> None:
        await self._pipes.write(_body(None, method, {}) + b"\n")

    async def _line(self) -> bytes | None:
        """The next line that may be a message; None at the end. Other lines are what programs print by mistake."""
        while True:
            line, newline, rest = self._read.partition(b"\n")
            if newline:
                self._read = rest
                if line.lstrip()[:1] == b"{":
                    return bytes(line)
                continue
            piece = await self._pipes.stdout.read(64 << 10)
            if not piece:
                return None
            self._read += piece
            if len(self._read) > MAX_ANSWER_BYTES:
                raise Broken(f"it answered with more than {MAX_ANSWER_BYTES >> 20} MiB")

    async def _decline(self, line: bytes) -> None:
        """Requests of the server's own: we are there to look only."""
        asked = msgspec.json.decode(line)
        if isinstance(asked, dict) and "method" in asked and "id" in asked:
            error = {"code": -32601, "message": "Not here."}
            answer = {"result": {}} if asked["method"] == "ping" else {"error": error}
            await self._pipes.write(msgspec.json.encode({"jsonrpc": "2.0", "id": asked["id"], **answer}) + b"\n")


@contextlib.asynccontextmanager
async def over_program(launch: Launch, private: Path) -> AsyncIterator[Speaker]:
    """A new process of the program; it and all that it started is ended afterwards, and `private` is gone."""
    try:
        child, pipes = await start(launch, private, str(private))
    except NotStarted as failure:
        raise Broken(f"it cannot be started: {failure}") from failure
    unheard = asyncio.create_task(_discarded(pipes.stderr))
    try:
        yield OverProgram(pipes, child.pid)
    finally:
        pipes.close_stdin()
        await child.end()
        unheard.cancel()
        pipes.close()


def _tell(method: str, waited_s: float) -> None:
    typer.echo(f"no answer to {method} after {waited_s:.0f} s; the program is busy, so it is waited for", err=True)


async def _discarded(stream: asyncio.StreamReader) -> None:
    """Its complaints: a program that is not read stops."""
    while await stream.read(64 << 10):
        pass
