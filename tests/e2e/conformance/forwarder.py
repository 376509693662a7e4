"""A forwarder that adds header lines to each request and changes no other byte; the suite itself can send none.

Host and Origin go through as they came, so the server behind it must expect the forwarder's own port in Host.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

READ_BYTES = 65536
HEAD_LIMIT_BYTES = 1 << 20


@contextlib.contextmanager
def forwarding(url: str, *header_lines: str, port: int = 0) -> Iterator[str]:
    """Yields the URL to use instead of `url`; each request then carries `header_lines` ("Name: value"). Plain HTTP. `port`: 0 for any."""
    target = urlsplit(url)
    assert target.hostname is not None
    added = "".join(f"{line}\r\n" for line in header_lines).encode("latin-1")
    forwarder = _Forwarder(target.hostname, target.port or 80, added)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="header-forwarder")
    thread.start()
    try:
        bound = asyncio.run_coroutine_threadsafe(forwarder.start(port), loop).result()
        yield urlunsplit(target._replace(netloc=f"127.0.0.1:{bound}"))
    finally:
        asyncio.run_coroutine_threadsafe(forwarder.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Forwarder:
    def __init__(self, host: str, port: int, added: bytes) -> None:
        self._upstream = (host, port)
        self._added = added
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=HEAD_LIMIT_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports that are closing are closed a turn of the loop later

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        # A task that is cancelled before its first step, or while it connects, closes nothing by itself.
        connection.add_done_callback(lambda _: writer.close())

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client connection and its own upstream connection; either side's end ends both."""
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream, limit=HEAD_LIMIT_BYTES)
        except OSError:
            writer.transport.abort()
            return
        ways = {
            asyncio.ensure_future(self._forward_requests(reader, up_writer)),
            asyncio.ensure_future(_copy(up_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up_writer.close()  # before anything is waited for: whoever is cancelled a second time gets no further
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _forward_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Head by head and body by body until the client hangs up: the next head is found only by knowing the body's end."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(head[:-2] + self._added + b"\r\n")
                await writer.drain()
                await _forward_body(head, reader, writer)


async def _forward_body(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    headers = _headers(head)
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        while True:
            size_line = await reader.readuntil(b"\r\n")
            writer.write(size_line)
            size = int(size_line.split(b";")[0], 16)
            if size == 0:
                break
            await _forward_exactly(size + 2, reader, writer)
        while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
            writer.write(trailer)
        writer.write(trailer)
        await writer.drain()
    else:
        await _forward_exactly(int(headers.get(b"content-length", b"0")), reader, writer)


async def _forward_exactly(count: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while count:
        piece = await reader.read(min(count, READ_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", count)
        writer.write(piece)
        await writer.drain()
        count -= len(piece)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(READ_BYTES):
            writer.write(piece)
            await writer.drain()


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = head.split(b"\r\n")[1:-2]
    pairs = (line.partition(b":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
