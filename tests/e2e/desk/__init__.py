"""A gate with its authorization server, a certified provider on another site, real MCP servers, and people with browsers.

    with place(tmp_path) as here:
        alice = here.browser(Person(sub="alice", groups=("support",)))
        client = here.client(alice)
        asyncio.run(client.call("payments", "get_order", order_id="ord_5001"))

The gate and the desk are on 127.0.0.1, the provider on localhost: two sites, as in real life. The MCP client is the Python SDK's; the
browser is scripted: it follows redirects, keeps cookies, and fills in the forms it is shown.
"""

import base64
import contextlib
import hashlib
import html
import json
import os
import re
import secrets
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
import msgspec
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.e2e.gate import Gate, free_port, running
from tests.e2e.oidc_provider import GATEBOOK_SECRET, OidcProvider, Person, oidc_provider
from tests.faults.certificates import Authority

CLIENT_ID = "test-program"
CALLBACK = "http://127.0.0.1:7777/callback"
SERVERS = ("payments", "orders")


def _http(trusts: Path | None) -> httpx2.Client:
    verify = ssl.create_default_context(cafile=trusts) if trusts else True
    return httpx2.Client(trust_env=False, timeout=15, follow_redirects=False, verify=verify)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Where a browser has come to. `location`: the address it would go to next and does not, because that is the client's."""

    status: int
    url: str
    text: str
    headers: dict[str, str]
    location: str | None = None

    @property
    def answer(self) -> dict[str, str]:
        """The parameters that the client gets."""
        assert self.location is not None, (self.status, self.url, self.text[:600])
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}


class Browser:
    """One person's browser. `clicks`: forms it was shown by the desk and answered. `trusts`: an authority's certificate; `idp`: the provider that is
    chosen where the desk offers several; None: the page with the choice is where a visit ends."""

    def __init__(
        self, person: Person, *, allow: bool = True, trusts: Path | None = None, idp: str | None = None
    ) -> None:
        self.idp = idp
        self.person = person
        self.allow = allow
        self.clicks = 0
        self.logins = 0
        self.http = _http(trusts)

    def visit(self, url: str, *, stop_at: str = CALLBACK, pause_at: str | None = None) -> Page:
        """Go to `url` and on, until a page asks for nothing more, or the next address begins with `stop_at` (or holds `pause_at`)."""
        response = self.http.get(url)
        for _ in range(20):
            if response.is_redirect:
                url = urljoin(str(response.url), response.headers["location"])
                if url.startswith(stop_at) or (pause_at is not None and pause_at in url):
                    return self._page(response, url)
                response = self.http.get(url)
            elif 'name="person"' in response.text:
                self.logins += 1
                form = {"person": json.dumps(msgspec.to_builtins(self.person))}
                response = self.http.post(str(response.url), data=form)
            elif self.idp is not None and 'class="choices"' in response.text:
                response = self.choose(response)
            elif 'name="answer"' in response.text and pause_at != "consent":
                self.clicks += 1
                response = self.submit(self._page(response))
            else:
                return self._page(response)
        raise AssertionError("the browser went in circles")

    def choose(self, response: httpx2.Response) -> httpx2.Response:
        """Follow the link of the provider `idp` on the page that offers several."""
        [chosen] = [link for link in re.findall(r'href="([^"]+)"', response.text) if link.endswith(f"idp={self.idp}")]
        return self.http.get(urljoin(str(response.url), html.unescape(chosen)))

    def submit(self, page: Page, **changed: str) -> httpx2.Response:
        """Answer the consent page's form."""
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        fields = {name: html.unescape(value) for name, value in fields.items()}
        form = {**fields, "answer": "allow" if self.allow else "deny", **changed}
        return self.http.post(urljoin(page.url, "/consent"), data=form)

    def _page(self, response: httpx2.Response, location: str | None = None) -> Page:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Page(
            status=response.status_code, url=str(response.url), text=response.text, headers=headers, location=location
        )


class Kept:
    """mcp's TokenStorage, in memory."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self.client = client
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class SdkClient:
    """The Python SDK's client with its own OAuth, in the hands of one person. `client_id` None: it registers itself."""

    def __init__(self, here: "Place", browser: Browser, client_id: str | None = CLIENT_ID) -> None:
        self.here = here
        self.browser = browser
        self.kept: dict[str, Kept] = {}
        self._client_id = client_id
        self._came: Page | None = None

    def _storage(self, server: str) -> Kept:
        known = None
        if self._client_id is not None:
            known = OAuthClientInformationFull(
                client_id=self._client_id,
                redirect_uris=[CALLBACK],
                token_endpoint_auth_method="none",
                issuer=self.here.issuer,
            )
        return self.kept.setdefault(server, Kept(known))

    async def call(self, server: str, tool: str, **arguments: Any) -> dict[str, Any]:
        """One tool call, logging in where the gate asks for it."""
        metadata = OAuthClientMetadata(
            redirect_uris=[CALLBACK], client_name="Test program", token_endpoint_auth_method="none"
        )
        auth = OAuthClientProvider(self.here.gate.url(server), metadata, self._storage(server), self._go, self._come)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(self.here.gate.url(server), http_client=http)) as client,
        ):
            result = await client.call_tool(tool, arguments)
            return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def call_again_later(
        self, server: str, tool: str, **arguments: Any
    ) -> tuple[OAuthToken | None, OAuthToken | None]:
        """Two calls of one running client, the second when its access token has run out by its own clock; the tokens it had at each."""
        metadata = OAuthClientMetadata(redirect_uris=[CALLBACK], token_endpoint_auth_method="none")
        kept = self._storage(server)
        auth = OAuthClientProvider(self.here.gate.url(server), metadata, kept, self._go, self._come)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(self.here.gate.url(server), http_client=http)) as client,
        ):
            await client.call_tool(tool, arguments)
            before = kept.tokens
            auth.context.token_expiry_time = time.time() - 1
            await client.call_tool(tool, arguments)
            return before, kept.tokens

    async def _go(self, url: str) -> None:
        self._came = self.browser.visit(url)

    async def _come(self) -> AuthorizationCodeResult:
        assert self._came is not None
        answer = self._came.answer
        return AuthorizationCodeResult(code=answer.get("code", ""), state=answer.get("state"), iss=answer.get("iss"))


class Place:
    """Everything that runs. `issuer`: the desk's URL."""

    def __init__(self, gate: Gate, idp: OidcProvider, issuer: str, trusts: Path | None) -> None:
        self.gate = gate
        self.idp = idp
        self.issuer = issuer
        self.trusts = trusts
        self.http = _http(trusts)
        self._browsers: list[Browser] = []
        self._looked = 0

    def browser(self, person: Person, **options: Any) -> Browser:
        """Another browser, with no cookie in it; closed when everything ends."""
        self._browsers.append(Browser(person, trusts=self.trusts, **options))
        return self._browsers[-1]

    def close(self) -> None:
        for each in (self, *self._browsers):
            each.http.close()

    def client(self, browser: Browser, client_id: str | None = CLIENT_ID) -> SdkClient:
        return SdkClient(self, browser, client_id)

    def resource(self, server: str) -> str:
        return f"{self.gate.public_url}/{server}/mcp"

    def request(self, server: str = "payments", *, verifier: str | None = None, **changed: str | None) -> str:
        """An authorization URL as a good client makes it; None leaves a parameter out."""
        verifier = verifier or secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        base: dict[str, str | None] = {
            "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": CALLBACK, "state": "s-" + secrets.token_hex(8),
            "code_challenge": challenge, "code_challenge_method": "S256", "resource": self.resource(server),
        }  # fmt: skip
        asked = {name: value for name, value in {**base, **changed}.items() if value is not None}
        return f"{self.issuer}/oauth/authorize?{urlencode(asked)}"

    def token(self, **form: str) -> httpx2.Response:
        return self.http.post(f"{self.issuer}/oauth/token", data={"client_id": CLIENT_ID, **form})

    def log_in(self, browser: Browser, server: str = "payments") -> dict[str, Any]:
        """Tokens for `server`, by hand: the answer of the token endpoint."""
        verifier = secrets.token_urlsafe(48)
        page = browser.visit(self.request(server, verifier=verifier))
        response = self.token(
            grant_type="authorization_code", code=page.answer["code"], redirect_uri=CALLBACK, code_verifier=verifier
        )
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def refresh(self, refresh_token: str, **form: str) -> httpx2.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **form)

    def call(self, token: str, server: str = "payments") -> int:
        """The HTTP status of one tool call with `token`."""
        message = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {
                "name": "get_order", "arguments": {"order_id": "ord_5001"},
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                    "io.modelcontextprotocol/clientCapabilities": {},
                },
            },
        }  # fmt: skip
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "get_order"}
        status, _, body = self.gate.post(server, message, token=token, headers=headers)
        if status == 200:
            assert b"ord_5001" in body, body
        return status

    @contextlib.contextmanager
    def stream(self, token: str, server: str) -> Iterator[httpx2.Response]:
        """A GET stream of a session in the older protocol, open; reading waits 2 s at most."""
        headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        with httpx2.Client(trust_env=False, timeout=httpx2.Timeout(10, read=2)) as http:
            begun = http.post(self.gate.url(server), json=message, headers=headers)
            assert begun.status_code == 200, begun.text
            headers |= {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
            initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert http.post(self.gate.url(server), json=initialized, headers=headers).status_code == 202
            with http.stream("GET", self.gate.url(server), headers=headers) as response:
                assert response.status_code == 200
                yield response

    def age_turns(self, sid: str, seconds: float) -> None:
        """As if this grant's refresh tokens had been used `seconds` earlier than they were: nobody waits in a test."""
        self.sql("UPDATE turns SET used_at = used_at - ? WHERE sid = ?", seconds, sid)

    def age_reading(self, subject: str, seconds: float) -> None:
        """As if the provider had been asked about this person `seconds` earlier than it was."""
        self.sql(
            "UPDATE logins SET created_at = created_at - ?, seen = json_remove(seen, '$.read_at') WHERE subject = ?",
            seconds,
            subject,
        )

    def sql(self, statement: str, *values: object) -> None:
        with contextlib.closing(sqlite3.connect(self.gate.data_dir / "desk" / "desk.db", timeout=10)) as database:
            database.execute(statement, values)
            database.commit()

    def kill_desk(self) -> None:
        """The desk's process is gone, as if by a crash."""
        listing = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.gate.process.pid)], capture_output=True, text=True, check=True
        )
        [line] = [line for line in listing.stdout.splitlines() if " gatebook.wiring desk " in line]
        os.kill(int(line.split()[0]), signal.SIGKILL)

    def until_the_desk_answers(self) -> None:
        for _ in range(300):
            with contextlib.suppress(httpx2.HTTPError):
                if self.http.get(f"{self.issuer}/healthz").status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError("the desk did not come back")

    def entries(self) -> list[dict[str, Any]]:
        """The log, oldest first, with all that is in the book now.

        The sealer takes what all writers made durable before it signs: once the first look's own entry is there, so is what came before it."""
        looked = sum(entry["ev"] == "log.read" for entry in self._read())
        for _ in range(100):
            found = self._read()
            if sum(entry["ev"] == "log.read" for entry in found) > looked:
                return found
            time.sleep(0.1)
        raise AssertionError("nothing is sealed any more")

    def _read(self) -> list[dict[str, Any]]:
        lines = self.gate.command("log", "--json", "--limit", "100000").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def caused(self, *causes: str) -> None:
        """One entry for each of these refusals has come since the last look, whatever else has."""
        missing = set(causes)
        for _ in range(30):
            lines = self.gate.command("log", "--json", "--failed", "--limit", "200").stdout.splitlines()
            fresh = [entry for line in lines if (entry := json.loads(line))["index"] >= self._looked]
            missing -= {entry["x"]["cause"] for entry in fresh if "cause" in entry.get("x", {})}
            self._looked = max([self._looked, *(entry["index"] + 1 for entry in fresh)])
            if not missing:
                return
            time.sleep(0.1)
        raise AssertionError(f"no entry for {missing}")


def configuration(
    gate_port: int, issuer: str, upstream: str, idp: str, more: str = "", tls: str = "", rules: str = ""
) -> str:
    text = f'''profile = "dev"
public_url = "http://127.0.0.1:{gate_port}"
listen = ["127.0.0.1:{gate_port}"]
workers = 2
data_dir = "data"
[log]
origin = "localhost/test"
segment_bytes = 8388608
[desk]
listen = ["{issuer.partition("://")[2]}"]
public_url = "{issuer}"
{tls}
[[idp]]
name = "corp"
url = "{idp}"
client_id = "gatebook"
client_secret = "literal:{GATEBOOK_SECRET}"
mfa = {{ amr = ["otp"] }}
[[client]]
client_id = "{CLIENT_ID}"
name = "Test program"
redirect_uris = ["http://127.0.0.1/callback"]
'''
    for name in SERVERS:
        secret = 'credential = { secret = "file:api-key" }'
        text += f'[[server]]\nname = "{name}"\nurl = "{upstream}"\n{secret}\n{rules}\n'
    allows = ", ".join(f'{{ server = "{name}", tools = ["get_*", "list_*"] }}' for name in SERVERS)
    return (
        text
        + f'[[role]]\nname = "support"\nmatch = [ {{ issuer = "corp", group = "support" }} ]\nallow = [ {allows} ]\n'
        + more
    )


@contextlib.contextmanager
def place(
    directory: Path,
    more: str = "",
    *,
    secure: bool = False,
    rules: str = "",
    desk: str = "",
    desk_port: int | None = None,
    changed: Callable[[str], str] = str,
    env: dict[str, str] | None = None,
) -> Iterator[Place]:
    """Everything running, until the block ends. `secure`: the desk speaks https. `rules`: tables of each server's tools; `desk`: more lines of its table;
    `desk_port`: where it listens, for those who must know before it does; `changed`: the configuration as it is written; `env`: the gate's."""
    gate_port, desk_port, server_port = free_port(), desk_port or free_port(), free_port()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "api-key").write_text("key-of-the-payments-server")
    issuer, tls, trusts = f"http{'s' if secure else ''}://127.0.0.1:{desk_port}", "", None
    if secure:
        authority = Authority(directory)
        certificate, key = authority.issue("127.0.0.1")
        tls, trusts = f'tls = {{ certificate = "{certificate}", key = "{key}" }}', authority.certificate
    callback = f"{issuer}/login/oidc/corp/callback"
    with oidc_provider("localhost", (callback,)) as idp, _payments(directory, server_port) as upstream:
        text = configuration(gate_port, issuer, upstream, idp.url, more, f"{tls}\n{desk}", rules)
        with running(directory, changed(text), gate_port, env=env) as gate:
            here = Place(gate, idp, issuer, trusts)
            try:
                yield here
            finally:
                here.close()


@contextlib.contextmanager
def _payments(directory: Path, port: int) -> Iterator[str]:
    command = [sys.executable, "-m", "gatebook.demo.payments", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--data", str(directory / "db"), "--api-key-file", str(directory / "api-key")]
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)
