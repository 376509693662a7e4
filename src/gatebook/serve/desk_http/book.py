"""What of a login is written down: one draft for each event. Names that strangers choose are masked; nothing secret comes near."""

from starlette.requests import Request

from gatebook.federation.errors import LoginRefused
from gatebook.federation.records import Grant, Job, LoggedIn, Login
from gatebook.federation.standing import Standing
from gatebook.masking import mask_text, recordable
from gatebook.model.errors import Reason
from gatebook.model.record import Draft, Event, Origin, Resource, Who
from gatebook.serve.desk_http.world import DeskWorld

NOBODY = Who(kind="unknown", iss="none", sub="unknown")
CLIENT_CHARACTERS = 120
GROUPS_CHARACTERS = 500


def origin_of(request: Request) -> Origin:
    """Where the request came from."""
    agent = shown(request.headers.get("user-agent", ""))
    return Origin(ip=request.client.host if request.client else "unknown", client=agent[:CLIENT_CHARACTERS] or None)


def shown(text: str) -> str:
    """A stranger's text as an entry may hold it."""
    return mask_text("".join(character for character in text if character.isprintable()))[0]


def person(world: DeskWorld, seen: LoggedIn, *, login: str, agent: str | None = None) -> Who:
    """The person, or the job: then `login` is its run."""
    key = world.keys.fingerprint.key  # the gate's own, so that the two agree on a name that may not be written
    if seen.job is not None:
        return Who(
            kind="job",
            iss=seen.person.issuer,
            sub=recordable(seen.person.subject, key),
            agent=None if agent is None else shown(agent),
            login=recordable(seen.job.run, key),
            acting_for=recordable(seen.job.acting_for, key),
        )
    return Who(
        kind="person",
        iss=seen.person.issuer,
        sub=recordable(seen.person.subject, key),
        agent=None if agent is None else shown(agent),
        login=login,
        amr=tuple(recordable(method, key) for method in seen.evidence.amr),
        acr=None if seen.evidence.acr is None else recordable(seen.evidence.acr, key),
        auth_time=seen.evidence.auth_time,
    )


def login_completed(
    world: DeskWorld,
    login: Login,
    origin: Origin,
    *,
    rereadable: bool = False,
    certificate: str | None = None,
    beside: int = 0,
) -> Draft:
    """`rereadable`: the provider can be asked again at a refresh. `certificate`: of whoever signed the assertion, where there was one. `beside`: how
    many other logins of this person are in use."""
    seen = login.seen
    detail: dict[str, str | int | bool] = {"login": login.id, "mfa": seen.mfa, "groups": len(seen.groups)}
    detail["rereadable"] = rereadable
    if seen.groups_left_out:
        detail["groups_left_out"] = True
    if seen.shared:
        detail["shared"] = shown(seen.shared)
    if beside:
        detail["beside"] = beside
    if certificate is not None:
        detail["certificate"] = certificate
    return Draft(
        event="login.completed",
        ok=True,
        reason="authenticated",
        who=person(world, seen, login=f"login:{login.id}"),
        origin=origin,
        resource=Resource(kind="login", name=seen.idp),
        detail=detail,
    )


def login_changed(
    world: DeskWorld, login: Login, seen: LoggedIn, lost: set[str], gained: set[str], origin: Origin
) -> Draft:
    """The provider says other groups than before, of those that some role matches on."""
    detail: dict[str, str | int | bool] = {"login": login.id}
    for name, groups in (("lost", lost), ("gained", gained)):
        if groups:
            detail[name] = shown(", ".join(sorted(groups)))[:GROUPS_CHARACTERS]
    if seen.groups_left_out:
        detail["groups_left_out"] = True
    return Draft(
        event="login.changed",
        ok=True,
        reason="read_again",
        who=person(world, seen, login=f"login:{login.id}"),
        origin=origin,
        resource=Resource(kind="login", name=seen.idp),
        detail=detail,
    )


def trusted(idp: str, certificates: tuple[str, ...], sso_url: str) -> Draft:
    """`certificates`: SHA-256 of each, hex."""
    return Draft(
        event="idp.trusted",
        ok=True,
        reason="believed",
        who=Who(kind="service", iss="gatebook", sub="desk"),
        origin=Origin(ip="local"),
        resource=Resource(kind="login", name=idp),
        detail={"certificates": " ".join(certificates), "sso_url": shown(sso_url)},
    )


def refused(
    event: Event,
    why: LoginRefused,
    origin: Origin,
    *,
    who: Who = NOBODY,
    resource: Resource | None = None,
    client: str = "",
    call: str | None = None,
) -> Draft:
    """A login, a consent, a registration or a token that was refused. `cause` says which case; `hint` is for the operator; `call` is the id
    that a page showed."""
    detail: dict[str, str | int | bool] = {"cause": str(why.cause)}
    if why.hint:
        detail["hint"] = shown(why.hint)
    if client:
        detail["client"] = shown(client)
    return Draft(
        event=event,
        ok=False,
        reason=str(Reason.LOGIN_REFUSED),
        who=who,
        origin=origin,
        resource=resource or Resource(kind="login"),
        call=call,
        detail=detail,
    )


def consented(
    world: DeskWorld, login: Login, client: str, name: str, redirect_host: str, server: str, origin: Origin
) -> Draft:
    return Draft(
        event="consent.given",
        ok=True,
        reason="agreed",
        who=person(world, login.seen, login=f"login:{login.id}", agent=client),
        origin=origin,
        resource=Resource(kind="server", server=server),
        detail={"client_name": shown(name), "redirect_host": shown(redirect_host)},
    )


def issued(
    world: DeskWorld,
    login: Login,
    grant: Grant,
    origin: Origin,
    *,
    how: str,
    jti: str,
    turn: int,
    standing: str = Standing.READ,
) -> Draft:
    """`how`: code, refresh, or refresh_repeated where the same successor was given once more. `standing`: how the groups are known."""
    seen = login.seen
    detail: dict[str, str | int | bool] = {"how": how, "jti": jti, "login": login.id, "mfa": seen.mfa}
    return Draft(
        event="token.issued",
        ok=True,
        reason="issued",
        who=person(world, login.seen, login=f"sid:{grant.sid}", agent=grant.client_id),
        origin=origin,
        resource=Resource(kind="server", server=grant.server),
        detail=detail | {"scope": grant.scope, "standing": standing, "turn": turn},
    )


def issued_to_job(
    world: DeskWorld, login: Login, job: Job, grant: Grant, origin: Origin, *, how: str, jti: str, turn: int
) -> Draft:
    """`how`: exchange, renewal, renewal_repeated, or assertion."""
    detail: dict[str, str | int | bool] = {"how": how, "jti": jti, "login": login.id, "owned": job.owned}
    return Draft(
        event="token.issued",
        ok=True,
        reason="issued",
        who=person(world, login.seen, login=f"sid:{grant.sid}", agent=grant.client_id),
        origin=origin,
        resource=Resource(kind="server", server=grant.server),
        detail={**detail, "scope": grant.scope, "sid": grant.sid, "turn": turn},
    )


def revoked(
    world: DeskWorld, login: Login | None, grant: Grant, origin: Origin, why: str, *, who: Who | None = None
) -> Draft:
    """`who`: whose act it was; the person of the grant where nobody else is given."""
    if who is None:
        who = NOBODY if login is None else person(world, login.seen, login=f"sid:{grant.sid}", agent=grant.client_id)
    return Draft(
        event="grant.revoked",
        ok=True,
        reason="revoked",
        who=who,
        origin=origin,
        resource=Resource(kind="grant", server=grant.server, name=grant.sid),
        detail={"why": why, "client": shown(grant.client_id)},
    )


def login_ended(
    world: DeskWorld, login: Login, origin: Origin, *, everywhere: bool, grants: int, why: str = "logged_out"
) -> Draft:
    """A person logged out, of one browser or of everything; or the provider ended the login. `grants`: how many ended with it."""
    return Draft(
        event="login.ended",
        ok=True,
        reason="ended",
        who=person(world, login.seen, login=f"login:{login.id}"),
        origin=origin,
        resource=Resource(kind="login", name=login.seen.idp),
        detail={"login": login.id, "everywhere": everywhere, "grants": grants, "why": why},
    )


def registered(client_id: str, name: str, origin: Origin) -> Draft:
    return Draft(
        event="client.registered",
        ok=True,
        reason="registered",
        who=NOBODY,
        origin=origin,
        resource=Resource(kind="client", name=client_id),
        detail={"client_name": shown(name)},
    )
