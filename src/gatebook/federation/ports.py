"""What the desk needs of the world as an authorization server. `tests/contracts` runs one suite per port on every adapter."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from gatebook.federation.records import Code, Consent, Grant, LoggedIn, Login, Registered, Transaction, Turn
from gatebook.model.deployment import IdentityProvider
from gatebook.model.secret import Secret


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """A grant whose refresh token was accepted. `number`: the turn whose token to hand out; `repeated`: it had been handed out before."""

    grant: Grant
    number: int
    repeated: bool


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that was revoked by this very call, because its token or code came a second time; None where there was none."""

    grant: Grant | None


class Store(Protocol):
    """The desk's memory: durable when a call returns, and each call is one transaction, so that two desks may share it. Not async: it is
    called in threads. Times are seconds since the epoch. Raises StoreUnavailable where it cannot be read or written."""

    # A request under way

    def begin(self, transaction: Transaction) -> None:
        """Keep it until it is taken or expires."""

    def transaction(self, handle_hash: str, now_s: float) -> Transaction | None:
        """The transaction, if it has not expired."""

    def wait_for(self, handle_hash: str, idp: str, now_s: float) -> bool:
        """It waits for the answer of `idp` from now on, and of no other. False where it is gone or expired."""

    def answered(self, handle_hash: str, idp: str, now_s: float) -> bool:
        """It waits no longer. False where it did not wait for `idp`, is gone or expired: of two answers to one request one goes on."""

    def end(self, handle_hash: str) -> bool:
        """It is gone; False where it was gone before."""

    # People

    def keep_login(self, login: Login, upstream: bytes | None = None) -> None:
        """`upstream`: an envelope with what asks the provider again."""

    def upstream(self, login_id: str) -> bytes | None:
        """The envelope; None where there is none, or the login is over."""

    def reread(self, login_id: str, was: bytes, seen: LoggedIn, upstream: bytes) -> bool:
        """The login is as it was seen now, and the envelope another. False, and nothing changed, where the envelope was not `was`: somebody
        else came first, or the login is over."""

    def grants_of(self, login_id: str, now_s: float) -> tuple[Grant, ...]:
        """Its grants that are neither revoked nor expired."""

    def login_of_browser(self, browser_hash: str, now_s: float) -> Login | None:
        """The login of this browser, if it is neither revoked nor expired."""

    def login(self, login_id: str) -> Login | None: ...

    def forget_browser(self, login_id: str) -> None:
        """No browser is this login any more; what was granted under it goes on."""

    def live_grants_of(self, issuer: str, subject: str, now_s: float) -> tuple[Grant, ...]:
        """The person's grants that are neither revoked nor expired, of all their logins, newest first."""

    def keep_consent(self, consent: Consent) -> None:
        """In place of an earlier one of this person, client and server."""

    def consent(self, issuer: str, subject: str, client_id: str, server: str) -> Consent | None: ...

    # Clients that registered themselves

    def register(self, client: Registered, *, at_most: int, since_s: float) -> bool:
        """False, and nothing kept, where `at_most` unused clients younger than `since_s` are there."""

    def registered(self, client_id: str) -> Registered | None: ...

    def client_used(self, client_id: str, now_s: float) -> None: ...

    # Codes and grants

    def keep_code(self, code: Code) -> None: ...

    def code(self, code_hash: str) -> Code | None:
        """The code, used or not, expired or not."""

    def redeem(self, code_hash: str, grant: Grant, first: Turn, now_s: float) -> Grant | Replay | None:
        """The code is used, the grant is open, and its first turn is kept; or, where the code was used before, its grant is revoked. None where
        the login behind it has ended, or ends in this very moment: nothing is opened then."""

    def open_grant(self, login: Login, grant: Grant, first: Turn) -> bool:
        """The login, its one grant and that one's first turn are kept: for a job, which has no code to redeem. False, and nothing kept, where
        its run was ended (`ended_runs`): no grant is opened after a `revoke` that ended the run was answered."""

    def refresh(
        self, sid: str, number: int, token_hash: str, successor: Turn, now_s: float
    ) -> Refreshed | Replay | None:
        """What `refreshing.judge` says of turn `number`, whose token has this hash, is done. `successor`: turn `number + 1`, kept where the grant moves on to it.
        None where there is no such grant, or it is revoked or expired."""

    def grant(self, sid: str) -> Grant | None: ...

    def revoke(
        self,
        why: str,
        now_s: float,
        *,
        sid: str | None = None,
        login_id: str | None = None,
        person: tuple[str, str] | None = None,
        client_id: str | None = None,
        server: str | None = None,
        agreed_too: bool = False,
    ) -> tuple[Grant, ...]:
        """Every grant to which all given conditions apply, and that was not revoked or expired, is revoked; these are returned. With a
        `login_id` or a `person` and no narrower condition, the logins are revoked too. At least one condition is given. The runs of jobs that
        end with their grants (`ended_runs.ended_by`) are kept as ended in the same transaction.

        `agreed_too`: what was agreed to is forgotten, and codes on their way are worthless, so that the client must ask the person again: all to
        which the conditions apply, whether or not there was a grant; with a `sid`, those of that grant's person, client and server, also where it
        is over already."""

    def end_run(self, value_hash: str, for_s: float, now_s: float) -> None:
        """A run, or a job's name, by its key in `ended_runs`, is ended for `for_s` from now, or longer where it was before."""

    def live_grants(self, now_s: float) -> tuple[tuple[Grant, Login], ...]:
        """Every grant that is neither revoked nor expired, with its login; the newest first."""

    def revoked_since(self, since_s: float) -> frozenset[str]:
        """The sids of all grants revoked at or after `since_s`."""

    # Housekeeping

    def once(self, kind: str, value_hash: str, expires_at: float, now_s: float) -> bool:
        """True for the first who says so of this (kind, value); False for all others until `expires_at`. For `jti` and assertion ids."""

    def came(self, kind: str, value_hash: str, now_s: float) -> bool:
        """Whether somebody has said so by `once`, and it has not expired. Says nothing by itself."""

    def present(self, desk_hash: str, until_s: float, now_s: float) -> bool:
        """True: a desk of these keys and this issuer works here until then. False where one of others does now; then nothing is written."""

    def leave(self, desk_hash: str) -> None:
        """What `present` said of this one is over."""

    def sweep(self, now_s: float) -> None:
        """What expired long enough ago that nothing asks for it is gone: transactions, codes, unused clients, turns, grants, logins."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider gave for a code. `userinfo`: None where it was not asked. `refresh_token`: with which it can be asked again; None
    where it gave none."""

    claims: Mapping[str, Any]
    userinfo: Mapping[str, Any] | None
    refresh_token: Secret[str] | None = None


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider gave for its own refresh token. `answer` is not believed yet. `refresh_token`: the next one, or the same."""

    refresh_token: Secret[str]
    answer: Mapping[str, Any]


class Providers(Protocol):
    """The identity providers, over the network."""

    async def authorize_url(self, idp: IdentityProvider, parameters: Mapping[str, str]) -> str:
        """Where the browser goes to log in. Raises ProviderFailed."""

    async def redeem(
        self,
        idp: IdentityProvider,
        *,
        code: str,
        redirect_uri: str,
        verifier: str,
        nonce: str,
        secret: Secret[bytes] | None,
        now_s: float,
    ) -> Tokens:
        """The verified claims of the ID token that the provider gives for `code`. Raises ProviderFailed; LoginRefused where what it gave must
        not be believed."""

    async def renew(
        self, idp: IdentityProvider, *, refresh_token: Secret[str], secret: Secret[bytes] | None
    ) -> Renewed:
        """The provider is asked again. Raises PersonGone where it says that the login counts no more; ProviderFailed for everything else."""

    async def who(self, idp: IdentityProvider, renewed: Renewed, *, now_s: float) -> Tokens:
        """The verified claims of what `renew` gave (OIDC Core §12.2), or the UserInfo response where it holds no ID token. Raises
        ProviderFailed."""


class LastCalls(Protocol):
    """What the gate's workers know of calls, on this host."""

    def last_seen_us(self, key: bytes) -> int | None:
        """When a call of this session key (`identity.sessions`) last came, microseconds since the epoch; None: not known. Never blocks."""

    def touch(self, key: bytes, now_us: int) -> str:
        """Such a call came now, at the desk itself; see ports.SessionBook.touch."""


class Documents(Protocol):
    """Clients' metadata documents, over the network."""

    async def fetch(self, url: str) -> bytes:
        """At most MAX_DOCUMENT_BYTES, unjudged, from a public address and by no redirect. Raises ProviderFailed."""
