"""TLS towards servers: whom we believe, who we are, and what a cut means."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatebook.model.deployment import Limits, Server
from gatebook.model.errors import Reason, UpstreamError
from tests.faults.certificates import Authority
from tests.faults.http_ends import on_both_loops
from tests.faults.upstream_ends import Sending, Upstream, Visit, always, ok

pytestmark = pytest.mark.slow


def presenting(authority: Authority, name: str = "localhost", *, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name, expired=expired))
    return context


async def refused(sending: Sending, upstream: Upstream, ca_file: Path | None) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await sending.send(upstream.server(ca_file=None if ca_file is None else str(ca_file)))
    assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_UNREACHABLE, False)
    assert upstream.requests == []
    return caught.value


@on_both_loops
async def test_a_server_of_another_authority_is_sent_nothing(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    async with Upstream(always(ok()), tls=presenting(theirs)) as upstream, Sending() as sending:
        await refused(sending, upstream, ours.certificate)
        await refused(sending, upstream, None)


@on_both_loops
async def test_a_server_of_another_name_is_sent_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Upstream(always(ok()), tls=presenting(authority, "elsewhere")) as upstream, Sending() as sending:
        await refused(sending, upstream, authority.certificate)


@on_both_loops
async def test_a_server_with_an_expired_certificate_is_sent_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = presenting(authority, expired=True)
    async with Upstream(always(ok()), tls=tls) as upstream, Sending() as sending:
        await refused(sending, upstream, authority.certificate)


@on_both_loops
async def test_an_address_is_a_name_as_well(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Upstream(always(ok()), tls=presenting(authority, "127.0.0.1")) as upstream, Sending() as sending:
        upstream.url = upstream.url.replace("localhost", "127.0.0.1")
        assert await sending.ask(upstream.server(ca_file=str(authority.certificate))) == b"ok"


@on_both_loops
async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = presenting(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Upstream(always(ok()), tls=tls) as upstream, Sending() as sending:
        await refused(sending, upstream, authority.certificate)


@on_both_loops
async def test_a_server_in_clear_at_an_https_url_is_sent_nothing(tmp_path: Path) -> None:
    async def speaks_first(visit: Visit) -> None:
        await visit.say(ok())
        await visit.closed()

    async with Upstream(speaks_first) as upstream, Sending() as sending:
        upstream.url = upstream.url.replace("http://127.0.0.1", "https://localhost")
        await refused(sending, upstream, Authority(tmp_path).certificate)


@on_both_loops
async def test_a_handshake_that_never_ends_is_a_connection_that_never_was(tmp_path: Path) -> None:
    async def silent(visit: Visit) -> None:
        await visit.closed()

    async with Upstream(silent) as upstream, Sending(Limits(upstream_connect_s=0.2)) as sending:
        upstream.url = upstream.url.replace("http://127.0.0.1", "https://localhost")
        error = await refused(sending, upstream, Authority(tmp_path).certificate)
        assert error.words == "no connection in time"


@on_both_loops
async def test_a_missing_ca_file_is_unreachable_and_its_return_is_noticed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ca_file = tmp_path / "later.pem"
    async with Upstream(always(ok()), tls=presenting(authority)) as upstream, Sending() as sending:
        await refused(sending, upstream, ca_file)
        ca_file.write_bytes(authority.certificate.read_bytes())
        assert await sending.ask(upstream.server(ca_file=str(ca_file))) == b"ok"


@on_both_loops
async def test_a_server_may_ask_who_we_are(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = presenting(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.certificate)
    certificate, key = authority.issue("gate")
    ca_file = str(authority.certificate)
    async with Upstream(always(ok()), tls=tls) as upstream, Sending() as sending:
        known = upstream.server(ca_file=ca_file, client_certificate=str(certificate), client_key=str(key))
        assert await sending.ask(known) == b"ok"
        # The same server under another identity shares no connection: this one has nothing to show.
        with pytest.raises(UpstreamError):
            await sending.ask(upstream.server(ca_file=ca_file))
        assert len(upstream.requests) == 1


@on_both_loops
async def test_a_new_client_certificate_is_shown_on_the_next_connection(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    tls = presenting(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.certificate)
    ca_file = str(authority.certificate)
    certificate, key = other.issue("gate")
    async with Upstream(always(ok(b"ok", b"Connection: close")), tls=tls) as upstream, Sending() as sending:
        server = upstream.server(ca_file=ca_file, client_certificate=str(certificate), client_key=str(key))
        with pytest.raises(UpstreamError):
            await sending.ask(server)
        authority.issue("gate")
        assert await sending.ask(server) == b"ok"


@on_both_loops
async def test_a_body_that_ends_with_the_connection_needs_the_servers_word_for_it(tmp_path: Path) -> None:
    """RFC 9112 §9.8: without close_notify such a body is incomplete; anybody on the way can send a FIN."""
    authority = Authority(tmp_path)

    async def cut(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await asyncio.sleep(0.05)
        visit.writer.transport.abort()  # no close_notify

    async with Upstream(cut, tls=presenting(authority)) as upstream, Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.ask(upstream.server(ca_file=str(authority.certificate)))
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_BROKEN, True)


@contextlib.contextmanager
def in_a_thread(tls: ssl.SSLContext, answers: dict[bytes, tuple[bytes, ...]]) -> Iterator[int]:
    """A server that is not of the loop's: what it says is there while the loop works. `answers`: what it says to a request with this text in it,
    each piece for itself. Its port."""

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), tls.wrap_socket(connection, server_side=True) as client:
            asked = b""
            while data := client.recv(1 << 16):
                asked += data
                for text, pieces in answers.items():
                    if text in asked:
                        asked = b""
                        for piece in pieces:
                            client.sendall(piece)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("size", [262_200, 330_000])
@on_both_loops
async def test_what_a_server_says_unasked_behind_a_large_answer_reaches_no_other_caller(
    tmp_path: Path, size: int
) -> None:
    """While reading pauses, the TLS layer takes bytes from the kernel and keeps them: the kernel knows of nothing when the connection is used again."""
    large, unasked = b"x" * size, b"of another call " * 900
    authority = Authority(tmp_path)
    with in_a_thread(presenting(authority), {b"large": (ok(large), ok(unasked)), b"own": (ok(b"own"),)}) as port:
        sending = await Sending().__aenter__()
        server = Server(
            name="played",
            url=f"https://localhost:{port}/mcp",
            resource="r",
            audiences={},
            ca_file=str(authority.certificate),
        )
        for _ in range(6):
            taken = asyncio.Event()

            async def first(sending: Sending = sending, taken: asyncio.Event = taken) -> bytes:
                response = await sending.send(server, headers=((b"x-size", b"large"),))
                await asyncio.sleep(0.15)  # a reader that stalls
                body = await response.whole(1 << 20)
                taken.set()
                return body

            async def second(sending: Sending = sending, taken: asyncio.Event = taken) -> bytes:
                while not taken.is_set():
                    await asyncio.sleep(0)  # ready in the very turn in which the connection comes free
                return await sending.ask(server, headers=((b"x-size", b"own"),))

            async def busy() -> None:
                for _ in range(6):
                    await asyncio.sleep(0.002)
                    time.sleep(0.02)  # a worker that has other work

            got, own, _ = await asyncio.gather(first(), second(), busy())
            assert got == large and own == b"own"
            # Each time a connection that nobody has used.
            await sending.upstreams.close()
            sending = await Sending().__aenter__()
        await sending.upstreams.close()
