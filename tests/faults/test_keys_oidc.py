"""[19] [22] [23] Issuers that fail and answers that lead astray: real servers on 127.0.0.1, and nothing leaves it."""

import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatebook.adapters.keys_oidc import fetch
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import acceptable_key_set
from gatebook.model.deployment import Profile
from tests.faults.key_server import DISCOVERY, Answer, KeyServer, drip, flood, hang, key_server, response
from tests.issuing import Issuer

SET = Issuer().jwks()


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with key_server() as played:
        played.publish(SET)
        yield played


async def refusal(server: KeyServer, profile: Profile = "dev", total_s: float = 5.0) -> str:
    with pytest.raises(KeySetRefused) as refused:
        await fetch(server.issuer(), profile, total_s=total_s)
    return str(refused.value)


async def test_keys_are_found_by_discovery(server: KeyServer) -> None:
    raw = await fetch(server.issuer(), "dev")
    assert '"kid":"corp-0"' in acceptable_key_set(raw)
    assert server.asked == [DISCOVERY, "/jwks"]


async def test_an_issuer_below_a_path_is_discovered_there_with_and_without_its_slash(server: KeyServer) -> None:
    for url in (server.url + "/realms/r", server.url + "/realms/r/"):
        server.publish(SET, issuer=url)
        server.answers["/realms/r" + DISCOVERY] = server.answers[DISCOVERY]
        assert await fetch(Issuer(url).model, "dev")


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
@pytest.mark.parametrize("answer", [hang, drip], ids=["hang", "drip"])
async def test_an_issuer_that_hangs_or_drips_is_given_up_at_the_deadline(
    server: KeyServer, path: str, answer: Answer
) -> None:
    server.answers[path] = answer
    started = time.monotonic()
    assert "within 0.3 s" in await refusal(server, total_s=0.3)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
async def test_ten_megabytes_are_not_read_to_their_end(server: KeyServer, path: str) -> None:
    server.answers[path] = flood
    assert "larger than" in await refusal(server)


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
@pytest.mark.parametrize(
    "status",
    ["301 Moved", "302 Found", "307 Again", "308 Again", "500 Oops", "404 Not Found", "204 Nothing", "206 Part"],
)
async def test_only_a_whole_answer_counts_and_no_redirect_is_followed(
    server: KeyServer, path: str, status: str
) -> None:
    async with key_server() as internal:
        internal.publish(SET)
        server.answers[path] = response(b"", status, f"Location: {internal.url}/jwks")
        assert f"answered {status[:3]}" in await refusal(server)
        assert internal.connections == 0


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
async def test_a_content_coding_nobody_asked_for_is_refused(server: KeyServer, coding: str) -> None:
    server.answers["/jwks"] = response(b"\x1f\x8b", "200 OK", f"Content-Encoding: {coding}")
    assert "content coding" in await refusal(server)
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 500_000,
    ],
)
async def test_a_broken_answer_is_refused(server: KeyServer, broken: bytes) -> None:
    async def break_off(writer: object) -> None:
        writer.write(broken)  # type: ignore[attr-defined]
        await writer.drain()  # type: ignore[attr-defined]
        raise ConnectionError

    server.answers["/jwks"] = break_off
    assert server.url in await refusal(server)


@pytest.mark.parametrize("issuer", ["https://evil.example", "http://127.0.0.1", None, 7])
async def test_a_discovery_document_of_another_issuer_is_refused(server: KeyServer, issuer: object) -> None:
    server.publish(SET, issuer=issuer)
    assert "another issuer" in await refusal(server)
    assert server.asked == [DISCOVERY]


async def test_a_discovery_document_that_differs_by_a_slash_is_of_another_issuer(server: KeyServer) -> None:
    server.publish(SET, issuer=server.url + "/")
    assert "another issuer" in await refusal(server)


@pytest.mark.parametrize("document", [b"", b"[]", b"<html>", b'{"issuer":"a","issuer":"b"}'])
async def test_a_discovery_document_that_is_none_is_refused(server: KeyServer, document: bytes) -> None:
    server.answers[DISCOVERY] = response(document)
    assert "cannot be read" in await refusal(server)


async def test_keys_at_another_port_of_this_host_are_not_asked_for(server: KeyServer) -> None:
    async with key_server() as internal:
        internal.publish(SET)
        server.publish(SET, jwks_uri=internal.url + "/jwks")
        assert "another host" in await refusal(server)
        assert internal.connections == 0


@pytest.mark.parametrize(
    "jwks_uri",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/jwks",
        "https://[::1]/jwks",
        "https://[::ffff:127.0.0.1]/jwks",
        "https://localhost/jwks",
        "https://evil.example/jwks",
        "https://www.googleapis.com/oauth2/v3/certs",
    ],
)
async def test_keys_at_another_host_are_not_asked_for(server: KeyServer, jwks_uri: str) -> None:
    server.publish(SET, jwks_uri=jwks_uri)
    assert "another host" in await refusal(server)


@pytest.mark.parametrize(
    "jwks_uri",
    [
        "http://idp.example/jwks",
        "http://10.0.0.1/jwks",
        "http://127.0.0.1.evil.example/jwks",
        "http://2130706433/jwks",
        "http://0.0.0.0/jwks",
        "file:///etc/passwd",
        "ftp://127.0.0.1/jwks",
        "//127.0.0.1/jwks",
        "/jwks",
        "",
        "https://",
        "https://user@127.0.0.1/jwks",
        "https://127.0.0.1:99999/jwks",
        "https://127.0.0.1\\@evil.example/jwks",
        "https://127.0.0.1/jwks#a",
        "https://127.0.0.1/jw ks",
        "https://127.0.0.1/jwks\r\nHost: x",
        "https://127.0.0.１/jwks",
        "https://[::1/jwks",
    ],
)
async def test_a_jwks_uri_that_is_no_safe_url_is_not_asked(server: KeyServer, jwks_uri: str) -> None:
    server.publish(SET, jwks_uri=jwks_uri)
    assert await refusal(server)
    assert server.asked == [DISCOVERY]


@pytest.mark.parametrize("jwks_uri", [None, 7, ["a"]])
async def test_a_discovery_document_without_jwks_uri_is_refused(server: KeyServer, jwks_uri: object) -> None:
    server.publish(SET, jwks_uri=jwks_uri)
    assert "no jwks_uri" in await refusal(server)


async def test_plain_http_is_not_asked_in_the_pci_profile(server: KeyServer) -> None:
    assert "only https" in await refusal(server, "pci")
    assert server.connections == 0


@pytest.mark.parametrize(
    "url", ["http://idp.example", "http://10.0.0.1", "https://idp.example?a=b", "https://idp.example#a", "idp.example"]
)
async def test_an_issuer_url_that_is_no_safe_url_is_not_asked(url: str) -> None:
    with pytest.raises(KeySetRefused):
        await fetch(Issuer(url).model, "dev")


async def test_a_proxy_in_the_environment_sees_nothing(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await fetch(server.issuer(), "dev")
        assert (proxy.connections, server.asked) == (0, [DISCOVERY, "/jwks"])


async def test_an_issuer_that_is_not_there_is_refused() -> None:
    async with key_server() as gone:
        pass
    assert gone.url in await refusal(gone)


async def test_tls_is_verified_by_the_configured_authority_and_by_no_other(tmp_path: Path) -> None:
    context, ca_file = _tls_for_loopback(tmp_path)
    async with key_server(context) as server:
        server.publish(SET)
        assert await fetch(server.issuer(ca_file=ca_file), "pci")
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal(server, "pci")


async def test_an_authority_that_cannot_be_read_is_refused(server: KeyServer, tmp_path: Path) -> None:
    with pytest.raises(KeySetRefused):
        await fetch(server.issuer(ca_file=str(tmp_path / "none.pem")), "dev")


def _tls_for_loopback(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server context for 127.0.0.1, and the path of the certificate that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    return context, str(ca_file)
