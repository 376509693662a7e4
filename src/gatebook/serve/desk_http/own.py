"""/me: how the person in this browser is seen, what acts for them, and the end of it. A person logs in for this page alone, too."""

from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import binding
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.own_groups import groups_source
from gatebook.federation.own_roles import own_roles
from gatebook.federation.records import Grant, Login
from gatebook.model.record import Who
from gatebook.serve.desk_http import answers, asked, book, ending
from gatebook.serve.desk_http.authorize import OWN, Asked, go_on, session_of
from gatebook.serve.desk_http.ending import Where
from gatebook.serve.desk_http.refusing import refusal
from gatebook.serve.desk_http.world import DeskWorld, in_thread

_FORM = "own-page"
_DONE = {"ended": "Ended. That program must ask you again before it can act for you."}

_WANTED = Asked(
    client_id=OWN.client_id, redirect_uri="", state=None, scope="", server="", resource="", code_challenge=""
)
"""A login that no program asked for."""


async def show(request: Request, world: DeskWorld) -> Response:
    """GET: the page; who is not logged in logs in first."""
    try:
        done = asked.query(request).get("done", "")
        login = await session_of(request, world)
        if login is None:
            asked.demand_pace(request, world, "authorize", "Too many logins began from here; try again in a minute.")
            return await go_on(request, world, _WANTED)
        # `session_of` has asked the provider, where that was due: this only tells how it went.
        standing = await world.rereading.of_login(world, login.id, book.origin_of(request))
    except LoginRefused as refused:
        return await refusal(request, world, refused)
    seen = login.seen
    idp = world.idp(seen.idp)
    assert idp is not None  # session_of has looked
    source = groups_source(login, idp, standing)
    counting = world.groups_of_roles(idp.name, seen.groups)
    grants = await in_thread(world.store.live_grants_of, seen.person.issuer, seen.person.subject, world.now_s())
    return answers.page(
        "own.html",
        seen=seen,
        idp=idp,
        since=answers.moment(login.created_at),
        until=answers.moment(login.expires_at),
        auth_time=None if seen.evidence.auth_time is None else answers.moment(seen.evidence.auth_time),
        source=source,
        groups_read=None if source is None else answers.moment(source.read_at),
        counting=counting,
        idle=tuple(group for group in seen.groups if group not in counting),
        roles=own_roles(login, world.deployment),
        grants=[_shown(grant, login) for grant in grants],
        done=_DONE.get(done, ""),
        token=binding.form_token(answers.cookie(world, request, answers.SESSION_COOKIE) or "", _FORM),
    )


async def end(request: Request, world: DeskWorld) -> Response:
    """POST: one program acts for the person no more. When it is answered, every worker refuses its tokens."""
    try:
        form, login = await _genuine(request, world)
    except LoginRefused as refused:
        return await refusal(request, world, refused)
    person = (login.seen.person.issuer, login.seen.person.subject)
    # With the person as a condition: nobody ends what is another's, however they came to know its name.
    where = Where(sid=form.get("sid", ""), person=person, agreed_too=True)
    await ending.end(world, where, "ended_by_person", book.origin_of(request), who=_who(world, login))
    return answers.redirect("/me?" + urlencode({"done": "ended"}))


async def log_out(request: Request, world: DeskWorld) -> Response:
    """POST: this browser is logged out; with `what=everywhere`, every login of the person ends, and all that was granted under them."""
    try:
        form, login = await _genuine(request, world)
    except LoginRefused as refused:
        return await refusal(request, world, refused)
    everywhere = form.get("what") == "everywhere"
    ended: tuple[Grant, ...] = ()
    if everywhere:
        person = (login.seen.person.issuer, login.seen.person.subject)
        origin = book.origin_of(request)
        ended = await ending.end(world, Where(person=person), "logged_out", origin, who=_who(world, login))
    else:
        await in_thread(world.store.forget_browser, login.id)
    await world.ledger.record(
        book.login_ended(world, login, book.origin_of(request), everywhere=everywhere, grants=len(ended))
    )
    response = answers.page("logged_out.html", everywhere=everywhere)
    for name in (answers.SESSION_COOKIE, answers.LOGIN_COOKIE):
        answers.drop_cookie(world, response, name)
    return response


async def _genuine(request: Request, world: DeskWorld) -> tuple[dict[str, str], Login]:
    """The form, and whose it is. Raises LoginRefused where our page did not send it, from this very session."""
    form = await asked.form(request)
    login = await session_of(request, world)
    if login is None or not answers.sent_from_page(world, request, form, _FORM):
        raise LoginRefused(Cause.FORM_FORGED, "This did not come from the page of the person who is logged in here.")
    return form, login


def _who(world: DeskWorld, login: Login) -> Who:
    return book.person(world, login.seen, login=f"login:{login.id}")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as the page tells it. `here`: it was given under the login of this browser."""

    sid: str
    client_name: str
    client_id: str
    server: str
    since: str
    until: str
    here: bool


def _shown(grant: Grant, login: Login) -> Shown:
    return Shown(
        sid=grant.sid,
        client_name=grant.client_name,
        client_id=grant.client_id,
        server=grant.server,
        since=answers.moment(grant.created_at),
        until=answers.moment(grant.expires_at),
        here=grant.login_id == login.id,
    )
