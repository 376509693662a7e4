"""What admins do through the desk: see the grants that are in force, and end them."""

import msgspec
from starlette.requests import Request

from gatebook.federation import desk_api, ended_runs
from gatebook.federation.records import Grant, Login
from gatebook.model.deployment import DESK_ISSUER
from gatebook.model.record import Draft, Resource
from gatebook.serve.desk_http import book
from gatebook.serve.desk_http.api import Caller, Done, NotUnderstood, draft_of, parameters_of
from gatebook.serve.desk_http.world import DeskWorld, in_thread


async def grants(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """Every grant in force, the newest first."""
    parameters_of(request)
    live = await in_thread(world.store.live_grants, world.now_s())
    shown = tuple(_shown(grant, login) for grant, login in live)
    draft = draft_of(request, caller, "grants.read", "completed", Resource(kind="grant"), {"found": len(shown)})
    return Done(answer=desk_api.Grants(grants=shown), drafts=(draft,))


async def revoke(request: Request, world: DeskWorld, caller: Caller) -> Done:
    """End grants. When it is answered, every worker refuses their tokens and ends their open streams."""
    parameters_of(request)
    wanted = await _wanted(request)
    person = _person(world, wanted)
    now_s = world.now_s()
    if person is not None and person[0] == world.issuer and wanted.sid is None and wanted.client in (None, person[1]):
        # Between two of its assertions a registered job may hold nothing that could be ended; it is kept out all the same.
        key = ended_runs.key_of_name(*person, wanted.server or "")
        await in_thread(world.store.end_run, key, ended_runs.NAME_S, now_s)
    ended = await in_thread(
        world.store.revoke,
        "by_admin",
        now_s,
        sid=wanted.sid,
        person=person,
        client_id=wanted.client,
        server=wanted.server,
        agreed_too=True,
    )
    # In this order: a book that cannot be written must not keep a revocation from the workers.
    await world.revoked()
    return Done(
        answer=desk_api.Revoked(sids=tuple(grant.sid for grant in ended)),
        drafts=(_ordered(request, caller, wanted, len(ended)), *await _each(request, world, caller, ended)),
    )


async def _wanted(request: Request) -> desk_api.Revocation:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotUnderstood("The body must be application/json.")
    try:
        wanted = msgspec.json.decode(await request.body(), type=desk_api.Revocation)
    except msgspec.MsgspecError as error:
        raise NotUnderstood("The body must say whose grants to end: sid, person (with idp), client, server.") from error
    given = (wanted.sid, wanted.person, wanted.client, wanted.server)
    if all(each is None for each in given) or any(each == "" for each in (*given, wanted.idp)):
        raise NotUnderstood("Say whose grants to end: sid, person (with idp), client or server.")
    return wanted


def _person(world: DeskWorld, wanted: desk_api.Revocation) -> tuple[str, str] | None:
    if wanted.person is None:
        if wanted.idp is not None:
            raise NotUnderstood("idp says which provider's person is meant: give person, too.")
        return None
    idps = world.deployment.idps
    name = wanted.idp if wanted.idp is not None else idps[0].name if len(idps) == 1 else None
    urls = {idp.name: idp.url for idp in idps} | {each.name: each.url for each in world.deployment.workloads}
    if world.deployment.jobs:
        urls[DESK_ISSUER] = world.issuer
    url = None if name is None else urls.get(name)
    if url is None:
        raise NotUnderstood(f"Say where this person or job is known, by idp: {', '.join(urls)}.")
    return url, wanted.person


def _ordered(request: Request, caller: Caller, wanted: desk_api.Revocation, ended: int) -> Draft:
    """The order itself: also one that found nothing to end is an act of an admin."""
    conditions: dict[str, str | int | bool] = {
        name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None
    }
    return draft_of(
        request, caller, "revocation.ordered", "completed", Resource(kind="grant"), {**conditions, "ended": ended}
    )


async def _each(request: Request, world: DeskWorld, caller: Caller, ended: tuple[Grant, ...]) -> tuple[Draft, ...]:
    origin, drafts = book.origin_of(request), []
    for grant in ended:
        login = await in_thread(world.store.login, grant.login_id)
        draft = book.revoked(world, login, grant, origin, "by_admin", who=caller.who)
        whose = "" if login is None else book.shown(login.seen.person.subject)
        drafts.append(msgspec.structs.replace(draft, detail={**draft.detail, "person": whose}))
    return tuple(drafts)


def _shown(grant: Grant, login: Login) -> desk_api.GrantShown:
    person = login.seen.person
    return desk_api.GrantShown(
        sid=grant.sid,
        issuer=person.issuer,
        idp=login.seen.idp,
        subject=person.subject,
        label=person.label,
        client_id=grant.client_id,
        client_name=grant.client_name,
        server=grant.server,
        created_at=grant.created_at,
        expires_at=grant.expires_at,
    )
