"""Jobs at /oauth/token and /oauth/revoke: the token of a CI system or a cluster, a run's own token, or an assertion becomes an access token.

No code, no browser and no refresh token is in it, so Authlib's machine has no part either. What a job may do is decided by its roles at each
call, as a person's is; here is decided whether it may come at all, and at least one role must give it something on the server it asks for.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from gatebook.federation import ended_runs, refreshing, scopes
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.exchanging import (
    ACCESS_TOKEN_TYPE,
    CLIENT_CREDENTIALS,
    TOKEN_EXCHANGE,
    demand_assertion,
    read_assertion,
    read_exchange,
)
from gatebook.federation.minting import LIFETIME_S
from gatebook.federation.minting_jobs import RUN_S, client_of, job_claims_of
from gatebook.federation.ports import Replay
from gatebook.federation.records import Grant, Job, LoggedIn, Login, Person, Turn, hashed
from gatebook.federation.workloads import (
    REGISTERED,
    attempt_of,
    demand_admitted,
    job_issuers,
    job_of,
    once_key,
    token_refused,
    workload_issuer,
)
from gatebook.identity.claims import demand_access_token, demand_audience, demand_within_lifetime, subject_in
from gatebook.identity.errors import TokenRefused
from gatebook.identity.own_jobs import Vouching, own_job
from gatebook.identity.tokens import claimed_issuer, verified_claims
from gatebook.model.deployment import DESK_ISSUER, Deployment, Issuer, Server
from gatebook.model.errors import Reason
from gatebook.model.record import Origin
from gatebook.model.workload import Workload
from gatebook.policy import Policy
from gatebook.serve.desk_http import answers, book
from gatebook.serve.desk_http.ending import Where, end
from gatebook.serve.desk_http.world import DeskWorld, in_thread

Parameters = Mapping[str, str]
Handler = Callable[[Parameters, DeskWorld, Origin], Awaitable[Response]]

OWN_LEEWAY_S = 5
ATTEMPTS_REMEMBERED_S = 35 * 86_400.0
"""GitHub lets a run be repeated for 30 days."""
ATTEMPTS_MARKED = 50


class _Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has proven itself, and what it asks for. `once`: (kind, hash, until) that may come once; `over`: attempts of its run that are over."""

    seen: LoggedIn
    job: Job
    server: Server
    scope: str
    how: str
    expires_at: float
    once: tuple[str, str, float]
    over: tuple[str, ...] = ()


def handler_of(parameters: Parameters, what: str, deployment: Deployment) -> Handler | None:
    """Who answers this request at the token or the revocation endpoint, if it is a job's and there are any such jobs."""
    grant = parameters.get("grant_type")
    if what == "revoke" and "client_id" not in parameters and (deployment.workloads or deployment.jobs):
        return give_up
    if what == "token" and grant == TOKEN_EXCHANGE and deployment.workloads:
        return exchange
    if what == "token" and grant == CLIENT_CREDENTIALS and deployment.jobs:
        return client_credentials
    return None


async def exchange(parameters: Parameters, world: DeskWorld, origin: Origin) -> Response:
    """RFC 8693. The entry is durable before the token leaves."""
    try:
        asked = read_exchange(parameters)
        act = _renewed if asked.renewal else _exchanged
        body = await act(asked.subject_token, _server(asked.resource, world), asked.scope, world, origin)
    except LoginRefused as refused:
        return await _refused(refused, parameters, world, origin, "invalid_request", 400)  # RFC 8693 §2.2.2
    return answers.json({**body, "issued_token_type": ACCESS_TOKEN_TYPE}, public=True)


async def client_credentials(parameters: Parameters, world: DeskWorld, origin: Origin) -> Response:
    """RFC 6749 §4.4 of a registered job, by RFC 7523 §2.2. The entry is durable before the token leaves."""
    try:
        asked = read_assertion(parameters)
        server = _server(asked.resource, world)
        body = await _asserted(asked.token, asked.client_id, server, asked.scope, world, origin)
    except LoginRefused as refused:
        return await _refused(refused, parameters, world, origin, "invalid_client", 401)
    return answers.json(body, public=True)


async def give_up(parameters: Parameters, world: DeskWorld, origin: Origin) -> Response:
    """RFC 7009 by a job, which has no client: who holds its token may end it. When this is answered, every worker refuses the run's tokens."""
    try:
        claims = _own_claims(parameters.get("token", ""), world)
    except LoginRefused:
        refused = LoginRefused(Cause.CLIENT_UNKNOWN, "This client is not known here.")
        return await _refused(refused, parameters, world, origin, "invalid_client", 400)
    await end(world, Where(sid=str(claims["sid"])), "by_client", origin)
    return answers.json({}, public=True)


async def _exchanged(
    token: str, server: Server, scope: str | None, world: DeskWorld, origin: Origin
) -> dict[str, object]:
    """1. Whose token it says it is. 2. That it is. 3. For us, now, and of a job. 4. Of a job that may come. 5. For what it may ask."""
    now_s = world.now_s()
    try:
        issuer = claimed_issuer(token)
        workload = next((each for each in world.deployment.workloads if each.url == issuer), None)
        if workload is None:
            raise TokenRefused(Reason.TOKEN_ISSUER, "The token is of nobody whose jobs may come here.")
        claims = await _verified(token, workload_issuer(workload), world)
        demand_audience(claims, workload.audience)
        demand_within_lifetime(claims, workload.leeway_s, now_s)
        demand_access_token(claims, declared=False, kind="job")
        subject = subject_in(claims.get("sub"))
    except TokenRefused as refused:
        raise token_refused(refused) from refused
    try:
        job = job_of(claims, workload, _claims_of_roles(world, workload.name))
        key, until = once_key(token, claims, workload)
    except LoginRefused as refused:
        # Its issuer has signed this name, so the entry may say it: whose job that was is what the operator asks first.
        raise LoginRefused(refused.cause, refused.words, hint=f"{refused.hint}; token of {subject}") from refused
    opening = _Opening(
        seen=LoggedIn(person=Person(issuer=workload.url, subject=subject), idp=workload.name, job=job),
        job=job,
        server=server,
        scope=_scope(scope, scopes.scope_of(server)),
        how="exchange",
        expires_at=now_s + RUN_S,
        once=("job_token", key, until),
        over=await _demand_current(job, workload, world),
    )
    return await _opened(opening, now_s, world, origin)


async def _asserted(
    token: str, client_id: str | None, server: Server, scope: str | None, world: DeskWorld, origin: Origin
) -> dict[str, object]:
    now_s = world.now_s()
    try:
        name = claimed_issuer(token)
        registered = next((job for job in world.deployment.jobs if job.name == name), None)
        if registered is None or client_id not in (None, name):
            raise LoginRefused(Cause.CLIENT_UNKNOWN, "This job is not registered here.")
        [issuer] = [each for each in job_issuers(world.deployment) if each.name == REGISTERED + registered.name]
        claims = await _verified(token, issuer, world)
        audiences = frozenset({world.issuer, f"{world.issuer}/oauth/token"})
        jti, run, until = demand_assertion(claims, registered.name, audiences, now_s)
    except TokenRefused as refused:
        raise token_refused(refused) from refused
    job = Job(run=run, acting_for=registered.owner, owned=True, claims={"jti": jti})
    opening = _Opening(
        seen=LoggedIn(person=Person(issuer=world.issuer, subject=registered.name), idp=DESK_ISSUER, job=job),
        job=job,
        server=server,
        scope=_scope(scope, scopes.scope_of(server)),
        how="assertion",
        expires_at=now_s + LIFETIME_S,
        once=("assertion", hashed(f"{registered.name}\0{jti}"), until),
    )
    return await _opened(opening, now_s, world, origin)


async def _opened(opening: _Opening, now_s: float, world: DeskWorld, origin: Origin) -> dict[str, object]:
    """The run's first token. Nothing is used up before everything else has been found good."""
    server = opening.server
    await _demand_not_ended(opening.seen, server, now_s, world)
    login = Login(
        id=world.identifier(), seen=opening.seen, browser_hash="", created_at=now_s, expires_at=opening.expires_at
    )
    grant = Grant(
        sid=world.identifier(),
        login_id=login.id,
        client_id=client_of(opening.seen),
        client_name=client_of(opening.seen),
        server=server.name,
        resource=server.resource,
        scope=opening.scope,
        created_at=now_s,
        expires_at=opening.expires_at,
    )
    claims = _claims(grant, opening.seen, opening.job, 0, now_s, world)
    _demand_role(claims, server, world)
    if not await in_thread(world.store.once, *opening.once, now_s):
        raise LoginRefused(Cause.JOB_TOKEN_REPLAYED, "This token was exchanged before; ask for a new one.")
    for attempt in opening.over:
        await in_thread(world.store.once, "run_over", attempt, now_s + ATTEMPTS_REMEMBERED_S, now_s)
    # Asked once more where it counts: the run may have been ended since.
    if not await in_thread(world.store.open_grant, login, grant, _turn(grant.sid, 0, world)):
        raise _ended(opening.seen)
    return await _issued(claims, login, opening.job, grant, 0, opening.how, world, origin)


async def _renewed(
    token: str, server: Server, scope: str | None, world: DeskWorld, origin: Origin
) -> dict[str, object]:
    """The run's next token for its last one, while that is still good, by the rule of `refreshing`; what was configured since then bites."""
    now_s = world.now_s()
    claims = _own_claims(token, world)
    if claims.get("aud") != server.resource:
        raise LoginRefused(Cause.RESOURCE_INVALID, "The resource is not the one that this run's token is for.")
    try:
        demand_within_lifetime(claims, OWN_LEEWAY_S, now_s)
    except TokenRefused as refused:
        raise token_refused(refused) from refused
    login, job, grant = await _run_of(str(claims["sid"]), now_s, world)
    _scope(scope, grant.scope)
    workload = next((each for each in world.deployment.workloads if each.name == login.seen.idp), None)
    if workload is None or workload.url != login.seen.person.issuer:
        raise LoginRefused(Cause.JOB_UNMATCHED, "This job may not come here any more.")
    demand_admitted(job.claims, workload)
    await _demand_not_ended(login.seen, server, now_s, world)
    await _demand_current(job, workload, world)
    number = claims.get("turn")
    if not isinstance(number, int):
        raise LoginRefused(Cause.JOB_CLAIMS, "The token does not say which of its run it is.")
    _demand_role(_claims(grant, login.seen, job, number + 1, now_s, world), server, world)
    last = _turn(grant.sid, number, world)
    found = await in_thread(
        world.store.refresh, grant.sid, number, last.token_hash, _turn(grant.sid, number + 1, world), now_s
    )
    if found is None:
        raise LoginRefused(Cause.GRANT_REVOKED, "The run's tokens were ended.")
    if isinstance(found, Replay):
        if found.grant is not None:  # the store has ended it; in this order, as in `ending`
            await world.revoked()
            await world.ledger.record(book.revoked(world, login, found.grant, origin, "refresh_reused"))
        raise LoginRefused(Cause.REFRESH_REUSED, "This token was renewed before; the run's tokens were ended.")
    how = "renewal_repeated" if found.repeated else "renewal"
    made = _claims(grant, login.seen, job, found.number, now_s, world)
    return await _issued(made, login, job, grant, found.number, how, world, origin)


async def _run_of(sid: str, now_s: float, world: DeskWorld) -> tuple[Login, Job, Grant]:
    """The live run behind a token of ours. Raises LoginRefused: GRANT_REVOKED, GRANT_EXPIRED."""
    grant = await in_thread(world.store.grant, sid)
    login = None if grant is None else await in_thread(world.store.login, grant.login_id)
    job = None if login is None else login.seen.job
    if grant is None or login is None or job is None or grant.revoked_at is not None or login.revoked_at is not None:
        raise LoginRefused(Cause.GRANT_REVOKED, "The run's tokens were ended.")
    if login.seen.idp == DESK_ISSUER:
        raise LoginRefused(Cause.GRANT_EXPIRED, "A job with a key of its own asks again with a new assertion.")
    if grant.expires_at < now_s + 1:
        raise LoginRefused(Cause.GRANT_EXPIRED, "The run has had its hour; ask with a new token of your CI system.")
    return login, job, grant


async def _issued(
    claims: dict[str, object],
    login: Login,
    job: Job,
    grant: Grant,
    turn: int,
    how: str,
    world: DeskWorld,
    origin: Origin,
) -> dict[str, object]:
    """The answer, whose entry is durable. There is no refresh token in it, ever."""
    token = world.keys.minter.sign(claims)
    jti = str(claims["jti"])
    draft = book.issued_to_job(world, login, job, grant, origin, how=how, jti=jti, turn=turn)
    await world.ledger.record(draft)
    lifetime_s = int(str(claims["exp"])) - int(str(claims["iat"]))
    return {"access_token": token, "token_type": "Bearer", "expires_in": lifetime_s, "scope": grant.scope}


async def _verified(token: str, issuer: Issuer, world: DeskWorld) -> dict[str, Any]:
    """The claims that `issuer` signed; its keys are asked for again where they may be old. Raises TokenRefused."""
    try:
        return verified_claims(token, issuer, world.key_sets.of(issuer.name), world.now_s())
    except TokenRefused as refused:
        if refused.reason not in (Reason.TOKEN_KEY_UNKNOWN, Reason.KEYS_UNAVAILABLE):
            raise
    await world.key_sets.key_unknown(issuer.name)
    return verified_claims(token, issuer, world.key_sets.of(issuer.name), world.now_s())


def _own_claims(token: str, world: DeskWorld) -> dict[str, Any]:
    """The claims of a job's access token of ours, expired or not. Raises LoginRefused: JOB_TOKEN_INVALID, SUBJECT_TOKEN_TYPE (a person's)."""
    try:
        claims = world.own_claims(token)
    except TokenRefused as refused:
        raise token_refused(refused) from refused
    if claims.get("principal_type") != "job" or not isinstance(claims.get("sid"), str):
        raise LoginRefused(Cause.SUBJECT_TOKEN_TYPE, "Only a job's token is renewed so; a person has a refresh token.")
    return claims


async def _demand_current(job: Job, workload: Workload, world: DeskWorld) -> tuple[str, ...]:
    """The earlier attempts of this run, hashed: they are over. Raises LoginRefused(RUN_OVER) where a later one was here."""
    numbered = attempt_of(job, workload)
    if numbered is None:
        return ()
    run, attempt = numbered

    def key(number: int) -> str:
        return hashed(f"{workload.url}\0{run}\0{number}")

    if await in_thread(world.store.came, "run_over", key(attempt), world.now_s()):
        raise LoginRefused(Cause.RUN_OVER, "A later attempt of this run has begun, so this one is over.")
    return tuple(key(number) for number in range(max(1, attempt - ATTEMPTS_MARKED), attempt))


async def _demand_not_ended(seen: LoggedIn, server: Server, now_s: float, world: DeskWorld) -> None:
    """Raise LoginRefused(RUN_ENDED) where this run, or a job that is known by its name alone, was ended."""
    for key in ended_runs.keys_of(seen, server.name):
        if await in_thread(world.store.came, ended_runs.RUN_ENDED, key, now_s):
            raise _ended(seen)


def _ended(seen: LoggedIn) -> LoginRefused:
    run = "" if seen.job is None else seen.job.run
    hint = f"{run} of {seen.person.subject} at {seen.idp}; who ended it: gatebook log --event grant.revoked"
    return LoginRefused(Cause.RUN_ENDED, "This run was ended here, and may not begin again.", hint=hint)


def _demand_role(claims: dict[str, object], server: Server, world: DeskWorld) -> None:
    """What the gate will see in these claims holds a role that gives something on `server`: else the token would be good for nothing."""
    try:
        principal = own_job(claims, Vouching.of(world.deployment), float(str(claims["exp"])))
    except TokenRefused as refused:
        raise token_refused(refused) from refused
    if not Policy(world.deployment).view(principal, server.name).grants:
        hint = f"no role that this job holds grants anything on {server.name}"
        raise LoginRefused(Cause.JOB_NO_ROLE, "This job may do nothing at this resource.", hint=hint)


def _claims(grant: Grant, seen: LoggedIn, job: Job, turn: int, now_s: float, world: DeskWorld) -> dict[str, object]:
    return job_claims_of(grant, seen, job, issuer=world.issuer, turn=turn, now_s=now_s, jti=world.identifier())


def _claims_of_roles(world: DeskWorld, workload: str) -> set[str]:
    matches = [match for role in world.deployment.roles for match in role.match if match.issuer == workload]
    return {name for match in matches for name in match.claims}


def _server(resource: str, world: DeskWorld) -> Server:
    found = world.server_of(resource)
    if found is None:
        raise LoginRefused(Cause.RESOURCE_INVALID, "The resource is no server of this gate.")
    return found


def _scope(asked: str | None, held: str) -> str:
    """What is granted: all that is held; asking for more is refused, not cut."""
    if not scopes.within(asked, held):
        raise LoginRefused(Cause.SCOPE_INVALID, "A scope was asked for that is not this server's.")
    return held


def _turn(sid: str, number: int, world: DeskWorld) -> Turn:
    """A run's token by its place: what the store compares is derived, as for refresh tokens, of which a job has none."""
    return refreshing.turn_of(world.keys.refresh, sid, number)


_ERRORS: Mapping[Cause, tuple[str, int]] = {
    Cause.REQUEST_INVALID: ("invalid_request", 400),
    Cause.RESOURCE_INVALID: ("invalid_target", 400),
    Cause.JOB_NO_ROLE: ("invalid_target", 400),
    Cause.SCOPE_INVALID: ("invalid_scope", 400),
    Cause.JOB_KEYS_UNAVAILABLE: ("temporarily_unavailable", 503),
}


async def _refused(
    refused: LoginRefused, parameters: Parameters, world: DeskWorld, origin: Origin, error: str, status: int
) -> Response:
    """`error`, `status`: where the cause has none of its own."""
    named = parameters.get("client_id", "")
    await world.keep_refusal(book.refused("token.refused", refused, origin, client=named))
    error, status = _ERRORS.get(refused.cause, (error, status))
    return answers.oauth_error(error, refused.words, status)
