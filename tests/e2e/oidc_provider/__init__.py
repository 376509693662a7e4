"""A certified OpenID provider (npm oidc-provider) on 127.0.0.1, for tests that need tokens nobody of ours has made.

    with oidc_provider() as idp:
        token = idp.log_in(Person(sub="alice", groups=("admins",), amr=("pwd", "otp")), audience=server.resource).access_token

The way is the real one: authorization code with PKCE and a resource (RFC 8707), a login page that believes its `login_hint`, and JWT
access tokens (RFC 9068) signed with ES256. Keys are made at start.
"""

import base64
import hashlib
import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import msgspec

from tests.e2e.nodejs import node, node_environment

PROGRAM = Path(__file__).with_name("provider.mjs")
CLIENT_ID = "mcp-client"
REDIRECT_URI = "http://127.0.0.1/callback"
GATEBOOK_SECRET = "gatebook-secret-of-tests"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who logs in, and what their access token says beside that. `claims` replace the others."""

    sub: str
    groups: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    acr: str | None = None
    claims: dict[str, Any] = {}


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    id_token: str
    refresh_token: str | None


class OidcProvider:
    """A running provider. `url` is its exact issuer; http, so the gate must be in its dev profile."""

    def __init__(self, url: str) -> None:
        self.url = url

    def log_in(self, person: Person, *, audience: str, scope: str = "openid offline_access mcp") -> Tokens:
        """What a client gets when `person` logs in for `audience`."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": CLIENT_ID, "response_type": "code", "redirect_uri": REDIRECT_URI, "scope": scope, "prompt": "login consent",
            "resource": audience, "code_challenge": challenge, "code_challenge_method": "S256", "nonce": secrets.token_hex(8),
            "login_hint": json.dumps(msgspec.to_builtins(person)),
        }  # fmt: skip
        with httpx2.Client(trust_env=False, timeout=10) as browser:
            place = f"{self.url}/auth?{urlencode(asked)}"
            for _ in range(10):
                place = self._next(browser, place)
                if place.startswith(REDIRECT_URI):
                    break
            answer = parse_qs(urlsplit(place).query)
            assert "code" in answer, answer
            form = {
                "grant_type": "authorization_code", "client_id": CLIENT_ID, "code": answer["code"][0],
                "redirect_uri": REDIRECT_URI, "code_verifier": verifier, "resource": audience,
            }  # fmt: skip
            return self._tokens(browser.post(f"{self.url}/token", data=form))

    def administer(self, **change: Any) -> None:
        """What an administrator does there: `sub` and `groups`, `disabled` or `claims`, from now on; or `out`: it answers nobody."""
        with httpx2.Client(trust_env=False, timeout=10) as client:
            assert client.post(f"{self.url}/administrator", json=change).status_code == 200

    def given(self) -> list[dict[str, Any]]:
        """Every answer of its token endpoint that held tokens."""
        with httpx2.Client(trust_env=False, timeout=10) as client:
            found: list[dict[str, Any]] = client.post(f"{self.url}/administrator", json={}).json()
            return found

    def token_of_application(self, *, audience: str) -> str:
        """An access token for `audience` that no person stands behind (client credentials)."""
        form = {"grant_type": "client_credentials", "resource": audience, "scope": "mcp"}
        with httpx2.Client(trust_env=False, timeout=10) as client:
            return self._tokens(client.post(f"{self.url}/token", data=form, auth=("bot", "bot-secret"))).access_token

    def _next(self, browser: httpx2.Client, place: str) -> str:
        response = browser.get(place)
        assert response.is_redirect, (response.status_code, response.text[:500])
        return str(response.next_request.url) if response.next_request else ""

    def _tokens(self, response: httpx2.Response) -> Tokens:
        assert response.status_code == 200, response.text
        answer: Mapping[str, str] = response.json()
        return Tokens(
            access_token=answer["access_token"],
            id_token=answer.get("id_token", ""),
            refresh_token=answer.get("refresh_token"),
        )


@contextmanager
def oidc_provider(host: str = "127.0.0.1", callbacks: tuple[str, ...] = ()) -> Iterator[OidcProvider]:
    """A provider with keys of its own, on a free port of `host`, until the block ends. `callbacks`: where its client `gatebook` (secret
    GATEBOOK_SECRET) may return to; a browser that comes without a login_hint finds a login page, see `tests.e2e.desk`."""
    command = [str(node()), str(PROGRAM), host, *callbacks]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=node_environment())
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"http://{host}:"), f"oidc-provider did not start: {line!r}"
        yield OidcProvider(line.strip())
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
