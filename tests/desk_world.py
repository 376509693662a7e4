"""The desk in memory: its real routes, machine and store (SQLite in a temporary folder), a clock that stands still until it is moved, a book
that is a list, and a provider that says what the test puts there.

    desk = DeskPlay(tmp_path)
    tokens = await desk.log_in("alice")
    desk.pass_time(301)
    tokens = await desk.refresh(tokens["refresh_token"])
"""

import asyncio
import base64
import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import msgspec

from gatebook.adapters.desk_store import SqlStore
from gatebook.adapters.log_files import LogFiles
from gatebook.federation import minting
from gatebook.federation.errors import PersonGone, ProviderFailed
from gatebook.federation.minting import Minter
from gatebook.federation.ports import Renewed, Tokens
from gatebook.gate.attempts import Attempts
from gatebook.gate.world import FingerprintKey
from gatebook.identity.sessions import session_key
from gatebook.ledger.entry import Clocked
from gatebook.model.deployment import (
    Allow,
    Client,
    Deployment,
    Desk,
    Evidences,
    IdentityProvider,
    Match,
    Role,
    SecretReference,
    Server,
    ToolRule,
)
from gatebook.model.record import Draft
from gatebook.model.secret import Secret
from gatebook.ports import Instant
from gatebook.serve.desk_http.app import application
from gatebook.serve.desk_http.pace import Pace
from gatebook.serve.desk_http.rereading import Rereading
from gatebook.serve.desk_http.world import DeskWorld, Keys
from tests.world import JournalLedger

NOW_S = 1_795_000_000.0
GATE = "https://mcp.example.com"
DESK = "https://login.example.com"
IDP = "https://idp.example"
CLIENT_ID = "test-program"
CALLBACK = "http://127.0.0.1:7777/callback"
VERIFIER = "v" * 64


def deployment(
    data_dir: str = "/nonexistent", *, desk: Mapping[str, Any] = {}, idp: Mapping[str, Any] = {}
) -> Deployment:
    """Servers `payments`, whose tool `refund` demands a fresh proof of two factors, and `orders`; people of `corp` in `support` may use both."""
    servers = tuple(
        Server(
            name=name,
            url=f"https://{name}.internal/mcp",
            resource=f"{GATE}/{name}/mcp",
            audiences={"desk": f"{GATE}/{name}/mcp"},
            tool_rules=(ToolRule(tools=("refund",), mfa="proven", mfa_max_age_s=300),) if name == "payments" else (),
        )
        for name in ("payments", "orders")
    )
    settings = {"listen": ("127.0.0.1:0",), "public_url": DESK, "signing_key": "", "public_keys": ""}
    provider = {
        "name": "corp", "url": IDP, "client_id": "gatebook", "mfa": Evidences(amr=("otp",), acr=("loa3",)),
        "scopes": ("openid", "profile", "email", "offline_access"),
    }  # fmt: skip
    return Deployment(
        profile="pci", public_url=GATE, listen=("127.0.0.1:0",), workers=1, data_dir=data_dir, origin="test/desk", log_key="",
        payload_public_key="", servers=servers, desk=Desk(**{**settings, **desk}), idps=(IdentityProvider(**{**provider, **idp}),),
        clients=(Client(client_id=CLIENT_ID, name="Test program", redirect_uris=("http://127.0.0.1/callback",)),),
        roles=(
            Role(
                name="support",
                match=(Match(issuer="corp", group="support"),),
                allow=tuple(Allow(server=server.name, tools=("**",)) for server in servers),
            ),
        ),
    )  # fmt: skip


class StillClock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def now(self) -> Instant:
        return Instant(unix_us=int(self.now_s * 1_000_000), clocked=Clocked(src="test", off=0, ok=True))


class Provider:
    """`people`: subject → what it says of them; whoever is `gone` is known no more. `down`: it does not answer; `no_keys`: it answers, and nothing
    can be verified. `asked`: what it was asked, in order. Its refresh tokens count once."""

    def __init__(self, clock: StillClock) -> None:
        self._clock = clock
        self.people: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.down = False
        self.no_keys = False
        self.gives_refresh_tokens = True
        self.asked: list[str] = []
        self._good: dict[str, str] = {}

    async def authorize_url(self, idp: IdentityProvider, parameters: Mapping[str, str]) -> str:
        return f"{IDP}/auth?{urlencode(parameters)}"

    async def redeem(self, idp: IdentityProvider, *, code: str, **_: Any) -> Tokens:
        self.asked.append("redeem")
        claims = self._claims(code)
        return Tokens(
            claims=claims, userinfo=None, refresh_token=self._token(code) if self.gives_refresh_tokens else None
        )

    async def renew(
        self, idp: IdentityProvider, *, refresh_token: Secret[str], secret: Secret[bytes] | None
    ) -> Renewed:
        self.asked.append("renew")
        if self.down:
            raise ProviderFailed("no answer")
        subject = self._good.pop(refresh_token.reveal(), None)
        if subject is None or subject in self.gone:
            raise PersonGone("invalid_grant")
        return Renewed(refresh_token=self._token(subject), answer={"of": subject})

    async def who(self, idp: IdentityProvider, renewed: Renewed, *, now_s: float) -> Tokens:
        if self.no_keys:
            raise ProviderFailed("keys_unavailable")
        claims = self._claims(renewed.answer["of"])
        return Tokens(claims={name: value for name, value in claims.items() if name != "amr"}, userinfo=None)

    def _claims(self, subject: str) -> dict[str, Any]:
        said = {"sub": subject, "auth_time": int(self._clock.now_s), **self.people.get(subject, {})}
        return {name: value for name, value in said.items() if value is not None}

    def _token(self, subject: str) -> Secret[str]:
        token = f"upstream-{secrets.token_hex(16)}"
        self._good[token] = subject
        return Secret(token)


class Nothing:
    """Documents and Credentials of a desk that needs none."""

    async def fetch(self, url: str) -> bytes:
        raise ProviderFailed("no internet here")

    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        raise AssertionError("no secret is configured")


class Calls:
    """ports.LastCalls: what `DeskPlay.called` puts there."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}

    def last_seen_us(self, key: bytes) -> int | None:
        return self.seen.get(key)

    def touch(self, key: bytes, now_us: int) -> str:
        self.seen[key] = now_us
        return ""


@cache
def empty_database() -> bytes:
    """What a store that was opened for the first time leaves in desk.db: the steps of the schema take longer than most stories."""
    with tempfile.TemporaryDirectory() as folder:
        SqlStore.in_folder(Path(folder)).close()
        return (Path(folder) / "desk.db").read_bytes()


def new_store(folder: Path) -> SqlStore:
    folder.mkdir(mode=0o700)
    database = folder / "desk.db"
    database.touch(mode=0o600)
    database.write_bytes(empty_database())
    return SqlStore.in_folder(folder)


class DeskPlay:
    def __init__(self, folder: Path, made: Deployment | None = None) -> None:
        self.clock = StillClock()
        self.provider = Provider(self.clock)
        self.provider.people["alice"] = {"groups": ["support"], "amr": ["pwd", "otp"], "email": "alice@example.com"}
        self.calls = Calls()
        self.journal: list[tuple[str, object]] = []
        self.revocations = 0
        self.store = new_store(folder / "desk")
        self.folder = folder
        deployed = made or deployment()
        assert deployed.desk is not None
        minter = Minter.of(minting.new_key())
        self.world = DeskWorld(
            deployment=deployed,
            desk=deployed.desk,
            keys=Keys(
                minter=minter, verifying=minter.public_keys().decode(), refresh=b"r" * 32, upstream=b"u" * 32, fingerprint=FingerprintKey(b"f" * 32, "k")
            ),
            store=self.store,
            providers=self.provider,
            documents=Nothing(),
            assertions=Nothing(),
            key_sets=Nothing(),
            ledger=JournalLedger(self.journal),
            credentials=Nothing(),
            clock=self.clock,
            random=secrets.token_bytes,
            revoked=self._revoked,
            pace=Pace(10_000, 1.0),
            refusals=Pace(10_000, 1.0),
            all_refusals=Pace(10_000, 1.0),
            attempts=Attempts(),
            rereading=Rereading(),
            calls=self.calls,
            files=LogFiles,
            readings=asyncio.Semaphore(2),
        )  # fmt: skip
        transport = httpx2.ASGITransport(app=application(lambda: self.world), client=("192.0.2.7", 1))
        self.http = httpx2.AsyncClient(transport=transport, base_url=DESK, follow_redirects=False)

    async def _revoked(self) -> None:
        self.revocations += 1
        self.journal.append(("in force", None))

    async def close(self) -> None:
        await self.http.aclose()
        self.store.close()

    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @property
    def drafts(self) -> list[Draft]:
        return [draft for _, draft in self.journal if isinstance(draft, Draft)]

    def events(self, *names: str) -> list[Draft]:
        return [draft for draft in self.drafts if draft.event in names]

    def causes(self) -> list[object]:
        return [draft.detail["cause"] for draft in self.drafts if "cause" in draft.detail]

    # What people and clients do

    async def authorize(self, server: str = "payments", **changed: str) -> httpx2.Response:
        """A client sends this browser to the desk; the answer is where it goes first."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": CALLBACK, "state": "s", "code_challenge": challenge,
            "code_challenge_method": "S256", "resource": f"{GATE}/{server}/mcp",
        }  # fmt: skip
        return await self.http.get(f"/oauth/authorize?{urlencode({**asked, **changed})}")

    async def browse(
        self,
        response: httpx2.Response,
        subject: str,
        *,
        at_provider: Callable[[dict[str, str]], None] = lambda asked: None,
        to: str = CALLBACK,
    ) -> httpx2.Response:
        """On from there, as `subject`, who agrees to everything; until a page that asks nothing, or the client's address `to`."""
        for _ in range(12):
            location = response.headers.get("location", "")
            if location.startswith(to):
                return response
            if location.startswith(IDP):
                asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
                at_provider(asked)
                answer = urlencode({"code": subject, "state": asked["state"], "iss": IDP})
                response = await self.http.get(f"{urlsplit(asked['redirect_uri']).path}?{answer}")
            elif location:
                response = await self.http.get(location)
            elif 'name="answer"' in response.text:
                fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', response.text))
                response = await self.http.post("/consent", data={**fields, "answer": "allow"})
            else:
                return response
        raise AssertionError("the browser went in circles")

    async def log_in(self, subject: str = "alice", server: str = "payments", **changed: str) -> dict[str, Any]:
        """Tokens of a browser that has no cookie yet."""
        self.http.cookies.clear()
        return await self.again(subject, server, **changed)

    async def again(self, subject: str = "alice", server: str = "payments", **changed: str) -> dict[str, Any]:
        """Tokens, of the browser that logged in before."""
        came = await self.browse(await self.authorize(server, **changed), subject)
        assert "location" in came.headers, came.text
        answer = parse_qs(urlsplit(came.headers["location"]).query)
        assert "code" in answer, answer
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"][0],
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }
        response = await self.post("/oauth/token", **form)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def post(self, path: str, **form: str) -> httpx2.Response:
        return await self.http.post(path, data={"client_id": CLIENT_ID, **form})

    async def refreshed(self, refresh_token: str) -> httpx2.Response:
        return await self.post("/oauth/token", grant_type="refresh_token", refresh_token=refresh_token)

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        response = await self.refreshed(refresh_token)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def called(self, access_token: str) -> None:
        """A call with this token has come to the gate now."""
        claims = claims_of(access_token)
        server = claims["aud"].split("/")[-2]
        key = session_key(
            claims["idp"]["iss"], claims["idp"]["sub"], claims["client_id"], f"sid:{claims['sid']}", server, job=False
        )
        self.calls.seen[key] = int(self.clock.now_s * 1_000_000)

    def change(self, **changes: object) -> None:
        """Settings of the desk."""
        self.world.desk = msgspec.structs.replace(self.world.desk, **changes)


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found
