"""Authlib's OAuth state machine with our store and our rules; one machine for each request, because each knows its client beforehand.

Authlib decides what RFC 6749, 7636 and 7009 decide. Ours: PKCE with S256 or nothing (Authlib lets an authorization request without a challenge
through), resources (RFC 8707), codes and refresh tokens by their hashes, the rule of rotation, and what is written down.

Everything here runs in a thread and records nothing by itself: `drafts` and `revoked` are what the caller must make durable before it answers.
"""

import re
from collections.abc import Mapping
from typing import Any

from authlib.oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, InvalidScopeError, OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge

from gatebook.federation import own_client, refreshing, scopes
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.known import ClientView
from gatebook.federation.minting import claims_of
from gatebook.federation.ports import Replay
from gatebook.federation.records import Code, Grant, Login, hashed
from gatebook.federation.standing import Standing, is_idle, token_ends_at
from gatebook.identity.errors import TokenRefused
from gatebook.model.deployment import Server
from gatebook.model.record import Draft, Origin
from gatebook.serve.desk_http import book
from gatebook.serve.desk_http.for_authlib import (
    Answered,
    DeskRequest,
    Held,
    HeldCode,
    HeldRefresh,
    InvalidTargetError,
    OAuthClient,
)
from gatebook.serve.desk_http.world import DeskWorld

CODE_S = 60.0
_NO_CODE = "The code is not valid, or not any more."
"""Whatever is wrong with a code: who guesses learns nothing from the words. The entry says what it was."""
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url, RFC 7636 §4.2


class Machine(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server for one request of one client."""

    def __init__(
        self, world: DeskWorld, client: ClientView, origin: Origin, standing: Standing = Standing.READ
    ) -> None:
        super().__init__()
        self.standing = standing
        self.world = world
        self.client = OAuthClient(client)
        self.origin = origin
        self.now_s = world.now_s()
        self.drafts: list[Draft] = []
        self.revoked: list[Grant] = []
        self.cause: LoginRefused | None = None
        self.server: Server | None = None
        self.register_grant(CodeGrant, [S256()])
        self.register_grant(RefreshGrant)
        self.register_token_generator("default", self._generate)
        self.register_endpoint(Revocation)

    # What Authlib asks of a framework

    def query_client(self, client_id: str) -> OAuthClient | None:
        return self.client if client_id == self.client.view.client_id else None

    def save_token(self, token: object, request: object) -> None:
        """Kept already, by its hash, in the transaction that decided on it."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: DeskRequest) -> DeskRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answered:
        return Answered(status, body, list(headers))

    def handle_error_response(self, request: object, error: OAuth2Error) -> Answered:
        if self.cause is None:
            self.cause = LoginRefused(
                _CAUSES.get(error.error, Cause.REQUEST_INVALID), str(error.description or error.error)
            )
        answered: Answered = super().handle_error_response(request, error)
        return answered

    # Ours

    def refuse(self, error: type[OAuth2Error], cause: Cause, words: str) -> OAuth2Error:
        """The error to raise; the entry will say why."""
        self.cause = LoginRefused(cause, words)
        return error(description=words)

    def replayed(self, grant: Grant | None, why: str) -> None:
        """A grant that the store has just revoked because something of it came twice."""
        if grant is not None:
            self.revoked.append(grant)
            login = self.world.store.login(grant.login_id)
            self.drafts.append(book.revoked(self.world, login, grant, self.origin, why))

    def live_login(self, login_id: str) -> Login | None:
        """The login, if it is good and its provider is still configured."""
        login = self.world.store.login(login_id)
        if login is None or login.revoked_at is not None or login.expires_at <= self.now_s:
            return None
        return None if self.world.idp_of(login) is None else login

    def demand_in_use(self, login: Login, grant: Grant) -> None:
        """A grant without a call for `idle_s` is over, and revoked: refreshes are no sign of a person (PCI DSS 8.2.8)."""
        # A token of less than a second is none.
        if is_idle(self.world.last_act_s(login, grant), self.world.desk.idle_s - 1.0, self.now_s):
            for ended in self.world.store.revoke("idle", self.now_s, sid=grant.sid):
                self.replayed(ended, "idle")
            raise self.refuse(InvalidGrantError, Cause.GRANT_IDLE, "Nothing was called for too long; log in again.")

    def demand_target(self, resource: str | None, own: str) -> None:
        """RFC 8707 §2.2: a token request may repeat the resource, and ask for no other."""
        if resource is not None and resource != own:
            raise self.refuse(
                InvalidTargetError, Cause.RESOURCE_INVALID, "The resource is not the one that was granted."
            )
        if self.world.server_of(own) is None:
            raise self.refuse(InvalidGrantError, Cause.GRANT_EXPIRED, "The server is not there any more.")

    def _generate(self, *, user: Held, scope: str, **_: object) -> dict[str, object]:
        world, grant, login = self.world, user.grant, user.login
        jti = world.identifier()
        groups = world.groups_of_roles(login.seen.idp, login.seen.groups)
        ends_at = token_ends_at(grant, world.last_act_s(login, grant), world.desk.idle_s, self.now_s)
        claims = claims_of(grant, login, issuer=world.issuer, groups=groups, now_s=self.now_s, jti=jti)
        claims["exp"] = int(ends_at)
        told = book.issued(
            world, login, grant, self.origin, how=user.how, jti=jti, turn=user.number, standing=self.standing
        )
        self.drafts.append(told)
        return {
            "access_token": world.keys.minter.sign(claims),
            "token_type": "Bearer",
            "expires_in": int(ends_at) - int(self.now_s),
            "refresh_token": refreshing.token_of(world.keys.refresh, grant.sid, user.number),
            "scope": grant.scope,
        }


class S256(CodeChallenge):  # type: ignore[misc]
    """PKCE with S256, at the authorization endpoint already."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012  (Authlib's own attribute)

    def validate_code_challenge(self, grant: "CodeGrant", redirect_uri: str) -> None:
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(data.get("code_challenge", "")):
            raise grant.server.refuse(InvalidRequestError, Cause.PKCE_REQUIRED, "PKCE with S256 is required.")
        super().validate_code_challenge(grant, redirect_uri)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """Authorization codes: 60 s, once, for one client, redirect URI, server and verifier."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012
    server: Machine

    def validate_requested_scope(self) -> None:
        """At /oauth/authorize: the one server, and what may be asked there."""
        machine, data = self.server, self.request.payload.data
        resource, servers = data.get("resource"), machine.world.deployment.servers
        if resource is None and len(servers) == 1:
            resource = servers[0].resource  # older clients name none; where there is one server, it is that one
        found = None if resource is None else machine.world.server_of(resource)
        if found is None:
            raise machine.refuse(InvalidTargetError, Cause.RESOURCE_INVALID, "The resource is no server of this gate.")
        if not own_client.may_ask(machine.client.view.client_id, found):
            raise machine.refuse(InvalidTargetError, Cause.RESOURCE_INVALID, "This resource is not for this client.")
        granted = scopes.granted(data.get("scope"), found)
        if granted is None:
            raise machine.refuse(InvalidScopeError, Cause.SCOPE_INVALID, "None of the scopes is one of this server.")
        machine.server = found
        self.request.payload.data["scope"] = granted

    def generate_authorization_code(self) -> str:
        return self.server.world.secret()

    def save_authorization_code(self, code: str, request: DeskRequest) -> None:
        machine, data = self.server, request.payload.data
        assert machine.server is not None
        login: Login = request.user
        machine.world.store.keep_code(
            Code(
                code_hash=hashed(code),
                login_id=login.id,
                client_id=machine.client.view.client_id,
                client_name=machine.client.view.name,
                redirect_uri=data["redirect_uri"],
                server=machine.server.name,
                resource=machine.server.resource,
                scope=data["scope"],
                code_challenge=data["code_challenge"],
                expires_at=machine.now_s + CODE_S,
            )
        )

    def query_authorization_code(self, code: str, client: OAuthClient) -> HeldCode:
        machine = self.server
        found = machine.world.store.code(hashed(code))
        if found is None:
            raise machine.refuse(InvalidGrantError, Cause.CODE_UNKNOWN, _NO_CODE)
        if found.client_id != client.view.client_id:
            raise machine.refuse(InvalidGrantError, Cause.CODE_MISMATCH, _NO_CODE)
        if found.grant_sid is not None:
            machine.replayed(_revoked_by_reuse(machine, found.grant_sid), "code_reused")
            raise machine.refuse(InvalidGrantError, Cause.CODE_REUSED, _NO_CODE)
        if found.expires_at <= machine.now_s:
            raise machine.refuse(InvalidGrantError, Cause.CODE_EXPIRED, _NO_CODE)
        machine.demand_target(self.request.payload.data.get("resource"), found.resource)
        return HeldCode(code=found)

    def delete_authorization_code(self, authorization_code: HeldCode) -> None:
        """It is kept, marked as used, so that a second use is known as one."""

    def authenticate_user(self, authorization_code: HeldCode) -> Held:
        """The grant is open: everything was checked, PKCE included. Of two that redeem one code, one gets here first."""
        machine, code = self.server, authorization_code.code
        login = machine.live_login(code.login_id)
        if login is None:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_REVOKED, "The login behind the code has ended.")
        grant = Grant(
            sid=machine.world.identifier(),
            login_id=login.id,
            client_id=code.client_id,
            client_name=code.client_name,
            server=code.server,
            resource=code.resource,
            scope=code.scope,
            created_at=machine.now_s,
            expires_at=login.expires_at,
        )
        made = machine.world.store.redeem(
            code.code_hash, grant, refreshing.turn_of(machine.world.keys.refresh, grant.sid, 0), machine.now_s
        )
        if made is None:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_REVOKED, "The login behind the code has ended.")
        if isinstance(made, Replay):
            machine.replayed(made.grant, "code_reused")
            raise machine.refuse(InvalidGrantError, Cause.CODE_REUSED, _NO_CODE)
        if code.client_id.startswith("dyn-"):
            machine.world.store.client_used(code.client_id, machine.now_s)
        return Held(grant=made, login=login, number=0, how="code")


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    """Refresh tokens: rotated at each use, with the grace of `federation.refreshing`."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012
    INCLUDE_NEW_REFRESH_TOKEN = True
    server: Machine

    def authenticate_refresh_token(self, refresh_token: str) -> HeldRefresh:
        machine = self.server
        found = refreshing.read(machine.world.keys.refresh, refresh_token)
        grant = None if found is None else machine.world.store.grant(found[0])
        if found is None or grant is None:
            raise machine.refuse(InvalidGrantError, Cause.REFRESH_UNKNOWN, "The refresh token is not valid.")
        if grant.client_id != machine.client.view.client_id:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_MISMATCH, "The refresh token is not valid.")
        if grant.revoked_at is not None:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_REVOKED, "The login was ended; log in again.")
        if grant.expires_at <= machine.now_s:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_EXPIRED, "The login has expired; log in again.")
        machine.demand_target(self.request.payload.data.get("resource"), grant.resource)
        if not scopes.within(self.request.payload.data.get("scope"), grant.scope):
            raise machine.refuse(InvalidScopeError, Cause.SCOPE_INVALID, "A scope was not granted.")
        self.request.payload.data.pop("scope", None)
        return HeldRefresh(grant=grant, number=found[1], token=refresh_token)

    def authenticate_user(self, refresh_token: HeldRefresh) -> Held:
        """The next turn, decided and kept in one transaction."""
        machine, grant = self.server, refresh_token.grant
        login = machine.live_login(grant.login_id)
        if login is None:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_REVOKED, "The login was ended; log in again.")
        machine.demand_in_use(login, grant)
        successor = refreshing.turn_of(machine.world.keys.refresh, grant.sid, refresh_token.number + 1)
        found = machine.world.store.refresh(
            grant.sid, refresh_token.number, hashed(refresh_token.token), successor, machine.now_s
        )
        if found is None:
            raise machine.refuse(InvalidGrantError, Cause.GRANT_REVOKED, "The login was ended; log in again.")
        if isinstance(found, Replay):
            machine.replayed(found.grant, "refresh_reused")
            raise machine.refuse(
                InvalidGrantError, Cause.REFRESH_REUSED, "The refresh token was used before; log in again."
            )
        how = "refresh_repeated" if found.repeated else "refresh"
        return Held(grant=found.grant, login=login, number=found.number, how=how)

    def revoke_old_credential(self, refresh_token: HeldRefresh) -> None:
        """Done, by the rule of rotation."""


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009: a client gives up what it was granted, by its refresh token or an access token. Either ends the grant."""

    CLIENT_AUTH_METHODS = ["none"]  # noqa: RUF012
    server: Machine

    def query_token(self, token_string: str, token_type_hint: str | None) -> HeldRefresh | None:
        machine = self.server
        found = refreshing.read(machine.world.keys.refresh, token_string)
        sid = found[0] if found is not None else _sid_of_access_token(token_string, machine)
        grant = None if sid is None else machine.world.store.grant(sid)
        return None if grant is None else HeldRefresh(grant=grant, number=0, token=token_string)

    def revoke_token(self, token: HeldRefresh, request: object) -> None:
        machine = self.server
        for grant in machine.world.store.revoke("by_client", machine.now_s, sid=token.grant.sid):
            machine.replayed(grant, "by_client")


def _sid_of_access_token(token: str, machine: Machine) -> str | None:
    try:
        sid = machine.world.own_claims(token).get("sid")
    except TokenRefused:
        return None
    return sid if isinstance(sid, str) else None


def _revoked_by_reuse(machine: Machine, sid: str) -> Grant | None:
    return next(iter(machine.world.store.revoke("code_reused", machine.now_s, sid=sid)), None)


_CAUSES: Mapping[str, Cause] = {
    "invalid_client": Cause.CLIENT_UNKNOWN,
    "invalid_grant": Cause.GRANT_MISMATCH,
    "invalid_scope": Cause.SCOPE_INVALID,
    "invalid_target": Cause.RESOURCE_INVALID,
}
