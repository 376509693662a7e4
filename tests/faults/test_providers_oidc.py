"""An identity provider that lies: ID tokens, discovery documents and token answers that must log nobody in."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from gatebook.adapters.providers_oidc import OidcProviders
from gatebook.federation.errors import Cause, LoginRefused, ProviderFailed
from gatebook.federation.ports import Tokens
from gatebook.model.deployment import IdentityProvider
from gatebook.model.secret import Secret
from tests.issuing import Issuer

NONCE = "n" * 43


class Provider:
    """A provider that answers what the test puts into it. `asked`: the forms that came to the token endpoint, with their headers."""

    def __init__(self) -> None:
        self.issuer = Issuer("", name="corp", algorithm="RS256")
        self.discovery: dict[str, Any] = {}
        self.id_token: Any = None
        self.userinfo: dict[str, Any] | None = None
        self.status = 200
        self.error = "invalid_grant"
        self.more: dict[str, Any] = {}
        self.asked: list[tuple[dict[str, list[str]], dict[str, str]]] = []
        self.userinfo_asked = 0
        self.keys_asked = 0

    @property
    def idp(self) -> IdentityProvider:
        return IdentityProvider(name="corp", url=self.issuer.url, client_id="gatebook")

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        now = int(time.time())
        base = {
            "aud": "gatebook",
            "azp": None,
            "nonce": NONCE,
            "iat": now,
            "nbf": None,
            "exp": now + 300,
            "groups": ["support"],
            "jti": None,
        }
        return self.issuer.token(header, **{**base, **claims})

    def adapter(self) -> OidcProviders:
        async def unknown(name: str) -> None:
            self.keys_asked += 1

        return OidcProviders("dev", lambda name: self.issuer.key_set(time.time()), unknown, total_s=2.0)

    def redeem(self, secret: Secret[bytes] | None = None) -> Tokens:
        return asyncio.run(
            self.adapter().redeem(
                self.idp,
                code="c",
                redirect_uri="https://desk/cb",
                verifier="v",
                nonce=NONCE,
                secret=secret,
                now_s=time.time(),
            )
        )

    def refusal(self, token: Any) -> Cause:
        self.id_token = token
        with pytest.raises(LoginRefused) as refused:
            self.redeem()
        return refused.value.cause


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/userinfo":
                provider.userinfo_asked += 1
                self._json(200, provider.userinfo)
            else:
                self._json(200, provider.discovery)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            provider.asked.append((form, {name.lower(): value for name, value in self.headers.items()}))
            body = {"id_token": provider.id_token, "access_token": "opaque", "token_type": "Bearer", **provider.more}
            self._json(provider.status, body if provider.status == 200 else {"error": provider.error})

        def _json(self, status: int, value: Any) -> None:
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    base = f"http://127.0.0.1:{server.server_port}"
    provider.issuer = Issuer(base, name="corp", algorithm="RS256")
    provider.discovery = {
        "issuer": base,
        "authorization_endpoint": f"{base}/auth",
        "token_endpoint": f"{base}/token",
        "userinfo_endpoint": f"{base}/userinfo",
    }
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_good_id_token_is_believed_and_the_secret_goes_by_basic(provider: Provider) -> None:
    provider.id_token = provider.token()
    found = provider.redeem(Secret(b"s:ecret/+"))
    assert found.claims["sub"] == "00u1alice" and found.userinfo is None
    form, headers = provider.asked[0]
    assert form["code_verifier"] == ["v"] and "client_secret" not in form
    assert headers["authorization"] == "Basic Z2F0ZWJvb2s6cyUzQWVjcmV0JTJGJTJC"  # gatebook:s%3Aecret%2F%2B


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"}, {"aud": ["gatebook", "another"]}, {"aud": ["gatebook", "another"], "azp": "another"}, {"azp": "another"}, {"aud": None},
        {"aud": "Gatebook"}, {"iss": "http://127.0.0.1:1"}, {"exp": 1}, {"exp": None}, {"exp": "4102444800"}, {"iat": 4_102_444_800},
    ],
    ids=str,
)  # fmt: skip
def test_an_id_token_for_somebody_else_or_another_time_logs_nobody_in(
    provider: Provider, claims: dict[str, Any]
) -> None:
    assert provider.refusal(provider.token(**claims)) is Cause.ID_TOKEN_INVALID


@pytest.mark.parametrize("nonce", [None, "", "m" * 43, NONCE.upper(), 7, [NONCE]])
def test_an_id_token_of_another_login_logs_nobody_in(provider: Provider, nonce: Any) -> None:
    assert provider.refusal(provider.token(nonce=nonce)) is Cause.NONCE_WRONG


def test_an_id_token_by_none_or_by_another_key_logs_nobody_in(provider: Provider) -> None:
    forger = Issuer(provider.issuer.url, name="corp", algorithm="ES256")
    now = int(time.time())
    forged = forger.token(
        {"kid": provider.issuer.kids[0]}, aud="gatebook", nonce=NONCE, iat=now, exp=now + 300, nbf=None
    )
    unsigned = provider.token({"alg": "none"})
    head, payload, signature = provider.token().split(".")
    cut = f"{head}.{payload}.{signature[:-4]}AAAA"
    for token in (forged, unsigned, cut, f"{head}.{payload}.", "x", "", None, 7, {"a": 1}):
        assert provider.refusal(token) is Cause.ID_TOKEN_INVALID
    assert provider.refusal(provider.token({"kid": "unknown"})) is Cause.ID_TOKEN_INVALID
    assert provider.keys_asked == 1, "a key that is not known is worth asking once"


def test_groups_come_by_userinfo_only_where_the_id_token_has_none(provider: Provider) -> None:
    provider.id_token, provider.userinfo = provider.token(), {"sub": "00u1alice", "groups": ["admin"]}
    assert provider.redeem().userinfo is None and provider.userinfo_asked == 0
    provider.id_token = provider.token(groups=None)
    assert provider.redeem().userinfo == provider.userinfo


@pytest.mark.parametrize("name", ["token_endpoint", "userinfo_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "http://127.0.0.1:1/x",
        "http://10.0.0.1/x",
        "ftp://x/y",
        None,
        "//evil/x",
        "http://u@127.0.0.1/",
    ],
)
def test_a_discovery_document_sends_nothing_to_another_host(provider: Provider, name: str, url: str | None) -> None:
    provider.discovery[name] = url
    provider.id_token = provider.token(groups=None)
    with pytest.raises(ProviderFailed):
        provider.redeem(Secret(b"secret"))
    assert len(provider.asked) == (0 if name == "token_endpoint" else 1)


@pytest.mark.parametrize("issuer", ["https://evil.example", "{}/", None])
def test_a_discovery_document_of_another_issuer_is_refused(provider: Provider, issuer: str | None) -> None:
    provider.discovery["issuer"] = issuer and issuer.format(provider.issuer.url)
    with pytest.raises(ProviderFailed, match="another issuer"):
        provider.redeem()
    assert provider.asked == []


def test_the_providers_no_is_a_refusal_and_its_breakdown_is_not(provider: Provider) -> None:
    provider.status = 400
    assert provider.refusal(None) is Cause.PROVIDER_REFUSED
    provider.status = 503
    with pytest.raises(ProviderFailed):
        provider.redeem()


def test_the_authorization_url_keeps_the_providers_own_query(provider: Provider) -> None:
    provider.discovery["authorization_endpoint"] += "?tenant=a"
    url = asyncio.run(provider.adapter().authorize_url(provider.idp, {"state": "a b&c"}))
    assert url == f"{provider.issuer.url}/auth?tenant=a&state=a+b%26c"


def test_a_scope_that_the_provider_does_not_list_is_asked_for_only_where_the_operator_wrote_it(
    provider: Provider,
) -> None:
    """OpenID Connect Discovery 1.0 §3: a provider need not list all that it has."""
    provider.discovery["scopes_supported"] = ["openid", "email"]
    asked = {"scope": "openid email offline_access"}
    preset = asyncio.run(provider.adapter().authorize_url(provider.idp, asked))
    assert preset.endswith("?scope=openid+email")
    written = msgspec.structs.replace(provider.idp, scopes_written=True)
    assert asyncio.run(provider.adapter().authorize_url(written, asked)).endswith("openid+email+offline_access")


def test_a_provider_that_is_not_there_is_said_to_be_so(provider: Provider) -> None:
    gone = IdentityProvider(name="corp", url="http://127.0.0.1:1", client_id="gatebook")
    with pytest.raises(ProviderFailed, match="ConnectError"):
        asyncio.run(provider.adapter().authorize_url(gone, {}))
    insecure = IdentityProvider(name="corp", url="http://idp.example", client_id="gatebook")
    with pytest.raises(ProviderFailed, match="only https"):
        asyncio.run(provider.adapter().authorize_url(insecure, {}))
