"""What the handlers share: the deployment in force, the ports, and a few small decisions that need them."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from gatebook.federation.minting import Minter
from gatebook.federation.own_client import api_of
from gatebook.federation.ports import Documents, LastCalls, Providers, Store
from gatebook.federation.records import Grant, Login
from gatebook.federation.saml.ports import Assertions
from gatebook.federation.standing import Standing, last_act_s
from gatebook.gate.attempts import Attempts
from gatebook.gate.world import FingerprintKey
from gatebook.identity.sessions import session_key
from gatebook.identity.tokens import verified_claims
from gatebook.ledger.files import Files
from gatebook.model.deployment import DESK_ISSUER, Deployment, Desk, IdentityProvider, Issuer, KeySet, Server
from gatebook.model.record import Draft, Origin
from gatebook.model.secret import Secret
from gatebook.model.source import source_of
from gatebook.ports import Clock, Credentials, Ledger
from gatebook.serve.desk_http.pace import Pace

P = ParamSpec("P")
T = TypeVar("T")


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The desk's own keys. `refresh`: what refresh tokens are derived with; `upstream`: what seals those of providers; `fingerprint`: what stands for a name that may not be written."""

    minter: Minter
    verifying: str
    """The JWK Set that verifies what the desk has signed: `minter`'s key and those before it whose tokens are not over."""
    refresh: bytes
    upstream: bytes
    fingerprint: FingerprintKey


class AsksAgain(Protocol):
    """The providers, asked again; see `rereading.Rereading`."""

    async def before_refresh(
        self, world: "DeskWorld", refresh_token: str, client_id: str, origin: Origin
    ) -> Standing: ...

    async def of_login(self, world: "DeskWorld", login_id: str, origin: Origin) -> Standing: ...

    def sealed(self, world: "DeskWorld", login_id: str, token: Secret[str]) -> bytes: ...


class KeySets(Protocol):
    """Public keys of others, by the names under which they are kept."""

    def of(self, name: str) -> KeySet | None: ...

    async def key_unknown(self, name: str) -> None:
        """Ask again for the keys of `name`, and return when that is done or has taken long enough."""


class DeskWorld(msgspec.Struct, kw_only=True):
    """One deployment's authorization server. `revoked`: returns when every worker refuses what the store says is revoked."""

    deployment: Deployment
    desk: Desk
    keys: Keys
    store: Store
    providers: Providers
    documents: Documents
    assertions: Assertions
    ledger: Ledger
    credentials: Credentials
    key_sets: KeySets
    clock: Clock
    random: Callable[[int], bytes]
    revoked: Callable[[], Awaitable[None]]
    pace: Pace
    """How often one source may begin a login or register a client."""
    refusals: Pace
    """How many refusals of one source are entries of their own; the rest are counted, so that a flood cannot fill the book."""
    all_refusals: Pace
    """The same of all sources together: whoever has many addresses is no flood either."""
    attempts: Attempts
    rereading: "AsksAgain"
    calls: LastCalls
    """When the gate's callers last called: idle time is counted in calls."""
    files: Callable[[Path], Files]
    """The folder's files, for whoever reads the log."""
    readings: asyncio.Semaphore
    """How many readings of the log go on at once."""

    async def keep_refusal(self, draft: Draft) -> bool:
        """True: the refusal is an entry of its own; False: it is counted with others. Raises LedgerUnavailable."""
        now = self.clock.now()
        known = draft.who.kind != "unknown"
        few = known or self.refusals.allows(source_of(draft.origin.ip), now.unix_s)
        if known or (few and self.all_refusals.allows("", now.unix_s)):
            await self.ledger.record(draft)
            return True
        for due in self.attempts.count(draft, now.unix_us, many=few):
            await self.ledger.record(due)
        return False

    def now_s(self) -> float:
        return self.clock.now().unix_s

    def secret(self) -> str:
        """256 bits of chance as 43 characters of base64url."""
        return base64.urlsafe_b64encode(self.random(32)).rstrip(b"=").decode("ascii")

    def identifier(self) -> str:
        """128 bits of chance in hex: a name, not a secret."""
        return self.random(16).hex()

    def idp(self, name: str) -> IdentityProvider | None:
        return next((idp for idp in self.deployment.idps if idp.name == name), None)

    def idp_of(self, login: Login) -> IdentityProvider | None:
        """The provider that vouched for this login; None where it is configured no more, or its name has become another's."""
        idp = self.idp(login.seen.idp)
        return idp if idp is not None and idp.url == login.seen.person.issuer else None

    def server_of(self, resource: str) -> Server | None:
        """The server whose resource identifier is this very string (RFC 8707 §2); the desk's own API is one."""
        servers = (*self.deployment.servers, api_of(self.issuer))
        return next((server for server in servers if server.resource == resource), None)

    def groups_of_roles(self, idp: str, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Those of a person's groups on which some role matches now: no others travel in a token."""
        matches = [match for role in self.deployment.roles for match in role.match]
        matches += [match for role in self.deployment.desk_roles for match in role.match]
        wanted = {match.group for match in matches if match.issuer == idp}
        return tuple(group for group in groups if group in wanted)

    def last_act_s(self, login: Login, grant: Grant) -> float:
        """When the person last did something with this grant."""
        seen_us = self.calls.last_seen_us(_session_of(login, grant))
        return last_act_s(grant.created_at, None if seen_us is None else seen_us / 1_000_000)

    def called(self, login: Login, grant: Grant) -> None:
        """A call came with this grant at the desk, where no worker sees it: it is not idle."""
        self.calls.touch(_session_of(login, grant), self.clock.now().unix_us)

    def own_claims(self, token: str) -> dict[str, Any]:
        """The claims of an access token that this desk signed, expired or not. Raises TokenRefused."""
        now_s = self.now_s()
        issuer = Issuer(name=DESK_ISSUER, url=self.issuer, kind="desk", algorithms=("ES256",))
        return verified_claims(token, issuer, KeySet(jwks=self.keys.verifying, fetched_at=now_s), now_s)

    @property
    def secure(self) -> bool:
        """Whether browsers come by https, so that cookies can be bound to it."""
        return self.desk.public_url.startswith("https://")

    @property
    def issuer(self) -> str:
        return self.desk.public_url


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work` done beside the event loop: the store and the key wait for disk and arithmetic."""
    return await asyncio.to_thread(work, *args, **kwargs)


def _session_of(login: Login, grant: Grant) -> bytes:
    person = login.seen.person
    job = login.seen.job is not None
    return session_key(person.issuer, person.subject, grant.client_id, f"sid:{grant.sid}", grant.server, job=job)
