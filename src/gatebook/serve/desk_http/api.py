"""The desk's API: the log, recordings and grants, for people by name. Bearer tokens of the desk for its own resource, and a role for each route.

No cookie opens anything here, so no page of another origin can act in a person's name; there are no CORS headers. The order is one for all routes:
who is it → may he → do it → the entry is durable → answer. A refusal is an entry, too.
"""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import desk_api
from gatebook.federation.own_client import API_SERVER, api_of, may_ask
from gatebook.federation.records import Grant, Login
from gatebook.federation.stepping_up import mfa_scope_of
from gatebook.identity.bearer import read_bearer
from gatebook.identity.errors import TokenRefused
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import DESK_ISSUER, DeskRoleName, KeySet, Snapshot
from gatebook.model.errors import Reason
from gatebook.model.principal import Principal
from gatebook.model.record import Draft, Event, Resource, Who
from gatebook.serve.desk_http import answers, book
from gatebook.serve.desk_http.world import DeskWorld, in_thread


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is asking now: the token was good, and neither grant nor login has ended."""

    principal: Principal
    login: Login
    grant: Grant
    roles: tuple[DeskRoleName, ...]
    who: Who
    unproven: tuple[DeskRoleName, ...] = ()
    """Roles that a login by several factors would give beside those."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a route did: the answer, and the drafts that must be durable before it leaves. `status`: 404 where nothing was found."""

    answer: msgspec.Struct | None
    drafts: tuple[Draft, ...]
    status: int = 200


class NotUnderstood(Exception):
    """The request is not one of this route; the text may be shown."""


Act = Callable[[Request, DeskWorld, Caller], Awaitable[Done]]
Handler = Callable[[Request, DeskWorld], Awaitable[Response]]


def guarded(role: DeskRoleName | None, act: Act) -> Handler:
    """`act` for people who hold `role`; for every person who is logged in where it is None."""

    async def handler(request: Request, world: DeskWorld) -> Response:
        origin = book.origin_of(request)
        resource = Resource(kind="api", method=request.method, name=route_of(request))
        # 1. Who is it?
        try:
            caller = await _caller(request, world)
        except TokenRefused as refused:
            draft = Draft(
                event="api.refused",
                ok=False,
                reason=str(refused.reason),
                who=book.NOBODY,
                origin=origin,
                resource=resource,
            )
            await world.keep_refusal(draft)
            return _unauthorized(refused)
        # 2. May he?
        if role is not None and role not in caller.roles:
            unproven = role in caller.unproven
            detail: dict[str, str | int | bool] = {"role": role}
            if unproven:
                detail["why"] = f"mfa is {caller.login.seen.mfa}"
            reason = Reason.INSUFFICIENT_SCOPE if unproven else Reason.DENIED
            draft = Draft(
                event="api.refused", ok=False, reason=str(reason), who=caller.who, origin=origin, resource=resource,
                detail=detail,
            )  # fmt: skip
            await world.keep_refusal(draft)
            return _unproven(world, role) if unproven else _forbidden(role)
        # 3. It is done, 4. it is in the book, 5. it is told.
        try:
            done = await act(request, world, caller)
        except NotUnderstood as wrong:
            return answers.json({"error": "invalid_request", "error_description": str(wrong)}, 400)
        for draft in done.drafts:
            await world.ledger.record(draft)
        if done.answer is None:
            return answers.json({"error": "not_found", "error_description": "There is no such thing, or several."}, 404)
        return answers.json(done.answer, done.status)

    return handler


def route_of(request: Request) -> str:
    """The route's first words: what was asked for stands in the entry of the reading itself."""
    return "/".join(request.url.path.split("/")[:3])


def draft_of(
    request: Request, caller: Caller, event: Event, reason: str, resource: Resource, detail: dict[str, str | int | bool]
) -> Draft:
    """An entry of something that this person did."""
    return Draft(
        event=event, ok=True, reason=reason, who=caller.who, origin=book.origin_of(request), resource=resource,
        detail={name: book.shown(value) if isinstance(value, str) else value for name, value in detail.items()},
    )  # fmt: skip


def parameters_of(request: Request, *known: str) -> dict[str, str]:
    """The query's parameters, each of which is known and stands there once. Raises NotUnderstood."""
    pairs = request.query_params.multi_items()
    found = dict(pairs)
    unknown = sorted(set(found) - set(known))
    if unknown or len(found) != len(pairs):
        raise NotUnderstood(
            f"There is no parameter {unknown[0][:40]!r} here." if unknown else "A parameter stands twice."
        )
    return {name: value for name, value in found.items() if value}


async def _caller(request: Request, world: DeskWorld) -> Caller:
    """Raises TokenRefused, StoreUnavailable."""
    headers = tuple((name.lower(), value) for name, value in request.scope["headers"])
    token = read_bearer(headers, target=request.url.path.encode() + b"?" + request.scope["query_string"])
    principal = await in_thread(_verified, token, world)
    if principal.kind != "person" or principal.sid is None:
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The desk's API is for people.")
    grant = await in_thread(world.store.grant, principal.sid)
    login = None if grant is None else await in_thread(world.store.login, grant.login_id)
    now_s = world.now_s()
    # The gate hears of revocations by the trust; the desk looks where they are written.
    if (
        grant is None
        or login is None
        or grant.resource != api_of(world.issuer).resource
        or not may_ask(grant.client_id, api_of(world.issuer))
        or any(each.revoked_at is not None or each.expires_at <= now_s for each in (grant, login))
    ):
        raise TokenRefused(Reason.LOGIN_REVOKED, "The login behind the token has ended.")
    world.called(login, grant)
    return Caller(
        principal=principal,
        login=login,
        grant=grant,
        roles=desk_api.roles_of(principal, world.deployment.desk_roles),
        unproven=desk_api.unproven_roles_of(principal, world.deployment.desk_roles),
        who=book.person(world, login.seen, login=f"sid:{grant.sid}", agent=grant.client_id),
    )


def _verified(token: str, world: DeskWorld) -> Principal:
    """By the very verifier that the gate uses, with the desk's own key and for its own resource."""
    keys = KeySet(jwks=world.keys.verifying, fetched_at=world.now_s())
    snapshot = Snapshot(number=0, config_sha256="", deployment=world.deployment, key_sets={DESK_ISSUER: keys})
    return Verifier(snapshot).verify(token, api_of(world.issuer), world.now_s())


def _forbidden(role: DeskRoleName) -> Response:
    words = f"This needs the desk role {role}, which you do not hold. Your operator gives it by [[desk_role]]."
    return answers.json({"error": "forbidden", "error_description": words}, 403)


def _unproven(world: DeskWorld, role: DeskRoleName) -> Response:
    """As the gate says it of tools: the scope that tells the desk that this login will not do (RFC 6750 §3.1)."""
    words = f"This needs the desk role {role}, which is yours after a fresh login by several factors. Type: gatebook login --fresh"
    scope = f"mcp:{API_SERVER} {mfa_scope_of(api_of(world.issuer))}"
    answer = answers.json({"error": "insufficient_scope", "error_description": words, "scope": scope}, 403)
    answer.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{scope}"'
    return answer


def _unauthorized(refused: TokenRefused) -> Response:
    """RFC 6750 §3."""
    missing = refused.reason is Reason.CREDENTIAL_MISSING
    answer = answers.json({"error": "invalid_token", "error_description": refused.words}, 401)
    answer.headers["WWW-Authenticate"] = "Bearer" if missing else 'Bearer error="invalid_token"'
    return answer
