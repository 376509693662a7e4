"""TLS towards clients: versions, ALPN, certificates that change, and the worker's listeners as a whole."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatebook.gate.leaving import Gone
from gatebook.model.deployment import Deployment, Limits
from gatebook.model.errors import ConfigurationError, Reason
from gatebook.model.http import Answer, Arrival, EventStream, Reply
from gatebook.serve.http import HttpServer, reload, tls_context
from tests.faults.certificates import Authority
from tests.faults.http_ends import Client, Served, on_both_loops, settles, until

pytestmark = pytest.mark.slow

GET = b"GET /over-tls HTTP/1.1\r\nHost: a\r\n\r\n"


def serving(authority: Authority, name: str = "localhost") -> ssl.SSLContext:
    certificate, key = authority.issue(name)
    return tls_context(str(certificate), str(key))


def trusting(authority: Authority, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@on_both_loops
async def test_a_request_over_tls_is_one_and_says_so(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Served(tls=serving(authority)) as served:
        client = await served.connect(tls=trusting(authority, "h2", "http/1.1"))
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            await client.send(GET)
            assert (await client.answer()).body == b"/over-tls"
        assert served.arrivals[0].tls


@on_both_loops
async def test_handshakes_that_wait_have_their_place_among_the_connections_and_make_room(tmp_path: Path) -> None:
    """Each costs more than a connection, and nobody knows yet who began it."""
    authority = Authority(tmp_path)
    async with Served(limits=Limits(connections=24), tls=serving(authority)) as served:
        before = await served.connect(tls=trusting(authority), source="127.0.0.2")
        await before.send(GET)
        await before.answer()
        silent = [await served.connect() for _ in range(40)]
        await asyncio.gather(*(client.rest() for client in silent[3:]))
        assert (served.registry.turned_away, len(served.registry.connections)) == (37, 4)
        for number in range(10, 20):
            for _ in range(3):
                await served.connect(source=f"127.0.0.{number}")
        await until(lambda: served.registry.given_up == 10)
        assert (served.registry.accepted, len(served.registry.connections)) == (1, 24)
        late = await served.connect(tls=trusting(authority), source="127.0.0.3")
        for client in (before, late):
            await client.send(GET)
            assert (await client.answer()).status == 200
        assert served.registry.accepted == 2


@on_both_loops
async def test_a_handshake_that_fails_leaves_its_place(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Served(tls=serving(authority)) as served:
        garbage, gone = await served.connect(), await served.connect()
        await garbage.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await garbage.rest()
        gone.hang_up()
        await until(lambda: not served.registry.connections)
        assert served.registry.accepted == 0


@on_both_loops
async def test_a_refusal_over_tls_is_read_and_the_connection_ends(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Served(tls=serving(authority)) as served:
        client = await served.connect(tls=trusting(authority))
        await client.send(b"BAD\r\n\r\n")
        assert (await client.answer()).status == 400
        assert await client.rest() == b""
        assert served.unreadable == [("127.0.0.1", Reason.BAD_REQUEST)]


@on_both_loops
async def test_a_reader_over_tls_that_takes_nothing_is_waited_for_and_then_closed(tmp_path: Path) -> None:
    given = 0

    async def events() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 100_000

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return EventStream(status=200, headers=(), events=events())

    authority = Authority(tmp_path)
    async with Served(answer, Limits(stream_idle_s=0.5), tls=serving(authority)) as served:
        client = await served.connect(tls=trusting(authority), receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        assert await settles(lambda: given) < 100
        while served.registry.connections:
            await asyncio.sleep(0.01)


@on_both_loops
async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Served(tls=serving(authority)) as served:
        old = trusting(authority)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1

        def visit() -> None:
            with (
                socket.create_connection(("127.0.0.1", served.port)) as sock,
                old.wrap_socket(sock, server_hostname="localhost"),
            ):
                pass

        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(visit)
        # The server's half of the failed handshake is the loop's to close; it has no name to wait for.
        assert await settles(lambda: served.registry.accepted) == 0


@on_both_loops
async def test_new_handshakes_use_the_new_certificate_and_open_connections_go_on(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    context = serving(old)
    async with Served(tls=context) as served:
        before = await served.connect(tls=trusting(old))
        certificate, key = new.issue("localhost")
        reload(context, str(certificate), str(key))
        after = await served.connect(tls=trusting(new))
        for client in (before, after):
            await client.send(GET)
            assert (await client.answer()).status == 200


@on_both_loops
async def test_a_certificate_that_does_not_fit_its_key_changes_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = serving(authority)
    certificate, _ = authority.issue("elsewhere")
    _, key = authority.issue("another")
    with pytest.raises(ConfigurationError, match="elsewhere"):
        reload(context, str(certificate), str(key))
    with pytest.raises(ConfigurationError, match="nowhere"):
        reload(context, str(tmp_path / "nowhere.crt"), str(key))
    async with Served(tls=context) as served:
        client = await served.connect(tls=trusting(authority))
        await client.send(GET)
        assert (await client.answer()).status == 200


@on_both_loops
async def test_a_worker_listens_on_tcp_and_unix_and_drains_both(tmp_path: Path) -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=200, body=arrival.client_ip.encode())

    async def unreadable(client_ip: str, reason: Reason) -> None:
        raise AssertionError

    deployment = Deployment(
        profile="dev",
        public_url="http://localhost",
        listen=(),
        workers=1,
        data_dir=str(tmp_path),
        origin="tests",
        log_key="",
        payload_public_key="",
    )
    tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    unix.bind(str(tmp_path / "s"))
    server = HttpServer(answer, unreadable, deployment)
    await server.listen([tcp, unix])
    server.reload_certificates()
    address = tcp.getsockname()
    clients = [
        Client(*await asyncio.open_connection(*address)),
        Client(*await asyncio.open_unix_connection(tmp_path / "s")),
    ]
    for client, expected in zip(clients, (b"127.0.0.1", b"unix"), strict=True):
        await client.send(GET)
        assert (await client.answer()).body == expected
    assert await server.drain(20) == 0
    for client in clients:
        assert await client.rest() == b""
        client.hang_up()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
