"""Lines of stdio to the gate, and what comes back to lines. One task for each request; what the client says in order, the gate hears in order.

Legacy: the session of `initialize` goes with every message; one GET stream brings what the server says by itself; a broken stream is taken up
where it ended; at the end the session is deleted. Modern: every message stands alone, and a cancelled request is one whose stream is closed.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx2
import msgspec

from gatebook.cli.connecting import messages
from gatebook.cli.connecting.credentials import Credential
from gatebook.cli.connecting.messages import Agreed, Id, Message, NotAMessage
from gatebook.cli.person.errors import PersonError, told
from gatebook.model.errors import Malformed
from gatebook.wire.sse import EventSplitter

MAX_ANSWER_BYTES: Final = 64 << 20
FINISH_S: Final = 60.0
"""How long requests under way may go on when the client has closed its end."""
RESUMES: Final = 5
LISTEN_PAUSE_S: Final = (1.0, 30.0)


class Bridge:
    """`out` takes one message without its line end. `say` is for the person: standard error."""

    def __init__(
        self,
        url: str,
        http: httpx2.AsyncClient,
        credential: Credential,
        out: Callable[[bytes], None],
        say: Callable[[str], None],
    ) -> None:
        self._url, self._http, self._credential, self._out, self._say = url, http, credential, out, say
        self._agreed = Agreed()
        self._marks: dict[str, dict[tuple[str, ...], str]] = {}
        self._under_way: dict[Id, tuple[asyncio.Task[None], Message]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Until the client closes its end; then what is under way is finished, and the session is over."""
        async for line in lines:
            if line.strip():
                await self._take(line)
        under_way = [task for task, _ in self._under_way.values()]
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=FINISH_S)
            for task in late:
                task.cancel()
        await self._end()

    async def _take(self, line: bytes) -> None:
        try:
            message = messages.read(line)
        except NotAMessage as wrong:
            self._out(messages.failure(None, "bad_line", str(wrong), code=-32700))
            return
        if message.method == "notifications/cancelled" and self._cancelled(message):
            return
        if not message.is_request:
            await self._post(message)
        elif message.method == "initialize":
            await self._post(message)  # what comes next depends on what it leads to
        else:
            assert message.id is not None
            task = asyncio.create_task(self._post(message))
            self._under_way[message.id] = (task, message)
            task.add_done_callback(functools.partial(self._done, message.id))
            await asyncio.sleep(0)  # it begins before the next line is looked at

    def _done(self, name: Id, task: "asyncio.Task[None]") -> None:
        if self._under_way.get(name, (None,))[0] is task:
            del self._under_way[name]

    def _cancelled(self, message: Message) -> bool:
        """Whether this cancelled a modern request, by closing its stream: then nothing is sent. A legacy one is told to the server."""
        name = message.params.get("requestId")
        task, asked = self._under_way.get(name, (None, None)) if isinstance(name, int | str) else (None, None)
        if task is not None and asked is not None and asked.era == "modern":
            task.cancel()
            return True
        return self._agreed.session is None and self._agreed.version is None

    # One message

    async def _post(self, message: Message) -> None:
        try:
            await self._posted(message)
        except PersonError as error:
            self._fail(message, "not_logged_in", told(error))
        except httpx2.HTTPError as error:
            self._fail(message, "unreachable", f"the gate cannot be reached or broke off: {type(error).__name__}")
        except (Malformed, NotAMessage, msgspec.MsgspecError):
            self._fail(message, "bad_answer", "the gate's answer is no JSON-RPC")
        except Exception as bug:  # the client must not wait for ever: here anything at all becomes an answer
            self._fail(message, "internal", f"gatebook connect failed on this message: {type(bug).__name__}")
        if message.method == "notifications/initialized" and self._listening is None and self._agreed.session:
            self._listening = asyncio.create_task(self._listen())

    async def _posted(self, message: Message) -> None:
        refused: str | None = None
        while True:
            token = await self._credential.token(instead_of=refused)
            headers = messages.headers_of(message, self._agreed, self._marks) | {"authorization": f"Bearer {token}"}
            async with self._http.stream("POST", self._url, content=message.raw, headers=headers) as response:
                # Refused before anything was sent on: asking again with another token does nothing twice.
                if response.status_code == 401 and refused is None:
                    refused = token
                    continue
                await self._answered(message, response)
                return

    async def _answered(self, message: Message, response: httpx2.Response) -> None:
        if message.method == "initialize" and response.status_code == 200:
            self._agreed = Agreed(session=response.headers.get("mcp-session-id"))
        if _media_type(response) == "text/event-stream" and response.status_code == 200:
            await self._streamed(message, response)
            return
        raw = await _whole(response)
        if response.status_code == 403 and _lacks_scope(response):
            words = f"this takes a person's fresh login by several factors: type gatebook token {self._url} --fresh >/dev/null, then call again"
            if message.is_request:
                self._fail(message, "insufficient_scope", words)
            else:
                self._say(f"the gate refused {message.method or 'an answer'}: {words}")
            return
        answer = messages.answer_in(raw, message.id)
        if answer is not None and message.is_request:
            self._hand_over(message, answer)
        elif message.is_request:
            self._fail(message, "no_answer", _words(response))
        elif response.status_code >= 400:
            self._say(f"the gate refused {message.method or 'an answer'}: {_words(response)}")

    async def _streamed(self, message: Message, response: httpx2.Response) -> None:
        """The answer by events; taken up again where the stream ends before it, as far as the server lets us (2025-11-25, SSE polling)."""
        last, answered, pause_s = await self._events(response, message)
        for _ in range(RESUMES):
            if answered or last is None or message.era == "modern":
                break
            await asyncio.sleep(pause_s)
            async with self._get(await self._credential.token(), last) as again:
                if again.status_code != 200 or _media_type(again) != "text/event-stream":
                    break
                further, answered, pause_s = await self._events(again, message)
                last = further or last
        if not answered and message.is_request:
            self._fail(message, "no_answer", "the stream ended before the answer; whether the server acted is unknown")

    async def _events(self, response: httpx2.Response, message: Message | None) -> tuple[str | None, bool, float]:
        """(last event id, whether `message` was answered, seconds to wait before asking again)."""
        splitter = EventSplitter(MAX_ANSWER_BYTES)
        last, answered, pause_s = None, False, LISTEN_PAUSE_S[0]
        async for piece in response.aiter_bytes():
            for event in splitter.feed(piece):
                if event.id is not None:
                    last = event.id.decode("latin-1")
                if event.retry is not None:
                    pause_s = min(int(event.retry) / 1000, LISTEN_PAUSE_S[1])
                if not event.data:
                    continue
                came = messages.read(event.data)
                if message is not None and came.method is None and came.id == message.id:
                    answered = True
                    self._hand_over(message, came.raw)
                else:
                    self._out(came.raw)
        return last, answered, pause_s

    def _hand_over(self, message: Message, answer: bytes) -> None:
        """The answer to `message`; what it says for later messages is remembered."""
        if message.method in ("initialize", "tools/list"):
            result = messages.read(answer).result or {}
            if message.method == "tools/list":
                self._marks |= messages.marks_of(result)
            elif isinstance(result.get("protocolVersion"), str):
                self._agreed.version = result["protocolVersion"]
        self._out(answer)

    def _fail(self, message: Message, reason: str, words: str) -> None:
        if message.is_request:
            self._out(messages.failure(message.id, reason, words))
        self._say(words)

    # What the server says by itself (legacy)

    async def _listen(self) -> None:
        last: str | None = None
        refused: str | None = None
        pause_s = LISTEN_PAUSE_S[0]
        while True:
            try:
                token = await self._credential.token(instead_of=refused)
                async with self._get(token, last) as response:
                    if response.status_code == 401 and refused is None:
                        refused = token
                        continue
                    if response.status_code != 200 or _media_type(response) != "text/event-stream":
                        if response.status_code in (401, 403, 404, 405):
                            return  # the server has no such stream, or we have no session any more
                    else:
                        refused = None
                        further, _, pause_s = await self._events(response, None)
                        last = further or last
            except PersonError as error:
                self._say(told(error))
                return
            except (httpx2.HTTPError, Malformed, NotAMessage):
                pause_s = min(pause_s * 2, LISTEN_PAUSE_S[1])
            await asyncio.sleep(pause_s)

    def _get(self, token: str, last: str | None) -> "contextlib.AbstractAsyncContextManager[httpx2.Response]":
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {token}", **self._agreed.headers()}
        if last is not None:
            headers["last-event-id"] = last
        return self._http.stream("GET", self._url, headers=headers)

    async def _end(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._agreed.session is not None:
            with contextlib.suppress(httpx2.HTTPError, PersonError):
                token = await self._credential.token()
                headers = {"authorization": f"Bearer {token}", **self._agreed.headers()}
                await self._http.delete(self._url, headers=headers, timeout=5)


async def _whole(response: httpx2.Response) -> bytes:
    raw = b""
    async for piece in response.aiter_bytes():
        raw += piece
        if len(raw) > MAX_ANSWER_BYTES:
            raise httpx2.ReadError("the answer is too large")
    return raw


def _media_type(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _lacks_scope(response: httpx2.Response) -> bool:
    """RFC 6750 §3.1."""
    return 'error="insufficient_scope"' in response.headers.get("www-authenticate", "")


def _words(response: httpx2.Response) -> str:
    known = {
        401: "the gate does not accept the token: log in again (gatebook login), or look at the job's identity",
        403: "the gate forbids this",
        404: "the gate knows no such session or server: start this program again",
    }
    return known.get(response.status_code, f"the gate answered {response.status_code} without a message")
