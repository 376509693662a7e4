"""federation.ports.Documents over https: a stranger names the URL, so the connection goes to an address that was judged first.

The name is resolved once; every address it has must be public; the connection is made to one of those very addresses, with the name in the
TLS handshake and the Host header. So a second answer of the resolver (DNS rebinding) changes nothing. No redirect, no port but 443, no
proxy, no content coding, 5 s for everything.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import h11

from gatebook.federation.addresses import is_public
from gatebook.federation.documents import MAX_DOCUMENT_BYTES, is_client_url
from gatebook.federation.errors import ProviderFailed
from gatebook.trusted_roots import trusting_soon

TOTAL_S = 5.0
MAX_HEAD_BYTES = 16 << 10

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
Connect = Callable[[str, str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""(address, server name) → a TLS connection whose certificate was verified for the name."""


async def resolve(host: str) -> tuple[str, ...]:
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


async def connect(address: str, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = await trusting_soon(None)
    return await asyncio.open_connection(address, 443, ssl=context, server_hostname=name, limit=MAX_HEAD_BYTES)


class HttpsDocuments:
    """Documents. `resolve` and `connect` are the two ways out, replaced in tests."""

    def __init__(self, resolve: Resolve = resolve, connect: Connect = connect, *, total_s: float = TOTAL_S) -> None:
        self._resolve = resolve
        self._connect = connect
        self._total_s = total_s

    async def fetch(self, url: str) -> bytes:
        if not is_client_url(url):
            raise ProviderFailed("not a URL that a client may name itself by")
        try:
            async with asyncio.timeout(self._total_s):
                return await self._fetch(url)
        except TimeoutError as error:
            raise ProviderFailed(f"{url}: no complete answer within {self._total_s:g} s") from error
        except (OSError, h11.RemoteProtocolError, UnicodeError) as error:
            raise ProviderFailed(f"{url}: {type(error).__name__}") from error

    async def _fetch(self, url: str) -> bytes:
        parts = urlsplit(url)
        host = parts.netloc
        addresses = await self._resolve(host)
        if not addresses or not all(is_public(address) for address in addresses):
            raise ProviderFailed(f"{url}: its host has an address that is not public")
        reader, writer = await self._connect(addresses[0], host)
        try:
            return await _get(reader, writer, host, parts.path)
        finally:
            writer.close()


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str) -> bytes:
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    headers = [("Host", host), ("Accept", "application/json"), ("Accept-Encoding", "identity"), ("Connection", "close")]
    writer.write(wire.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
    writer.write(wire.send(h11.EndOfMessage()) or b"")
    body = bytearray()
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(4096))
        elif isinstance(event, h11.Response):
            _demand_plain(event)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_DOCUMENT_BYTES:
                raise ProviderFailed("the document is too large")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise ProviderFailed("the connection ended early")


def _demand_plain(response: h11.Response) -> None:
    if response.status_code != 200:
        raise ProviderFailed(f"answered {response.status_code}; redirects are not followed")
    codings = [value for name, value in response.headers if name == b"content-encoding" and value != b"identity"]
    types = [value.partition(b";")[0].strip().lower() for name, value in response.headers if name == b"content-type"]
    if codings or len(types) != 1 or not (types[0] == b"application/json" or types[0].endswith(b"+json")):
        raise ProviderFailed("answered with something else than plain JSON")
