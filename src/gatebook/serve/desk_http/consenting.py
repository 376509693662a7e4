"""/consent: may this client act for this person at this server? Asked once for each, and again when anything on the page changes."""

from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import binding, consent, desk_api, redirects
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.known import ClientView
from gatebook.federation.own_client import API_SERVER
from gatebook.federation.own_roles import allowed_at, own_roles, principal_of_login
from gatebook.federation.records import Consent, Login, hashed
from gatebook.model.record import Resource
from gatebook.serve.desk_http import answers, asked, book
from gatebook.serve.desk_http.authorize import OWN, Asked, back_with_error, session_of, wanted_of, with_parameters
from gatebook.serve.desk_http.for_authlib import DeskRequest
from gatebook.serve.desk_http.machine import Machine
from gatebook.serve.desk_http.refusing import refusal
from gatebook.serve.desk_http.world import DeskWorld, in_thread


async def show(request: Request, world: DeskWorld) -> Response:
    """GET: the page, or straight back to the client where this was agreed to before."""
    try:
        handle = asked.query(request).get("request", "")
        wanted, client, _ = await wanted_of(request, world, handle)
    except LoginRefused as refused:
        return await _refuse(request, world, refused)
    login = await session_of(request, world, wanted)
    if login is None:
        return answers.redirect(f"/login?request={handle}")
    if client is OWN:
        await in_thread(world.store.end, hashed(handle))
        return answers.redirect("/me")
    what = consent.fingerprint(client, wanted.redirect_uri, wanted.server, wanted.scope)
    person = login.seen.person
    given = await in_thread(world.store.consent, person.issuer, person.subject, client.client_id, wanted.server)
    # RFC 8252 §8.6: any program on the person's machine can use the command line's id, and what it got without a question could read the log.
    if wanted.server != API_SERVER and not consent.must_ask(given, what):
        return await _back_with_code(request, world, handle, wanted, client, login)
    session = answers.cookie(world, request, answers.SESSION_COOKIE) or ""
    return answers.page(
        "consent.html",
        ends_at=wanted.redirect_uri,
        client=client,
        redirect_host=redirects.host_of(wanted.redirect_uri),
        loopback=redirects.is_loopback(wanted.redirect_uri),
        server=wanted.server,
        may=_may(world, login, wanted.server),
        until=answers.moment(login.expires_at),
        person=person,
        idp=login.seen.idp,
        handle=handle,
        token=binding.form_token(session, handle),
    )


def _may(world: DeskWorld, login: Login, server: str) -> tuple[str, ...]:
    """What the person's roles give there today, in words."""
    if server != API_SERVER:
        return allowed_at(server, own_roles(login, world.deployment))
    principal = principal_of_login(login, login.seen.idp)
    return tuple(f"the desk role {role}" for role in desk_api.roles_of(principal, world.deployment.desk_roles))


async def decide(request: Request, world: DeskWorld) -> Response:
    """POST: the person's answer, from our page in this session and for this request."""
    try:
        form = await asked.form(request)
        handle = form.get("request", "")
        wanted, client, _ = await wanted_of(request, world, handle)
        login = await session_of(request, world, wanted)
        if client is OWN or login is None or not answers.sent_from_page(world, request, form, handle):
            raise LoginRefused(Cause.CONSENT_FORGED, "This answer did not come from the page that asked. Begin again.")
    except LoginRefused as refused:
        return await _refuse(request, world, refused)
    origin = book.origin_of(request)
    if form.get("answer") != "allow":
        denied = LoginRefused(Cause.CONSENT_DENIED, "The person said no.")
        who = book.person(world, login.seen, login=f"login:{login.id}", agent=client.client_id)
        resource = Resource(kind="server", server=wanted.server)
        await in_thread(world.store.end, hashed(handle))
        await world.keep_refusal(book.refused("consent.refused", denied, origin, who=who, resource=resource))
        return back_with_error(world, wanted.redirect_uri, wanted.state, "access_denied", denied.words)
    await in_thread(world.store.keep_consent, _consent(world, wanted, client, login))
    host = redirects.host_of(wanted.redirect_uri)
    await world.ledger.record(book.consented(world, login, client.client_id, client.name, host, wanted.server, origin))
    return await _back_with_code(request, world, handle, wanted, client, login)


def _consent(world: DeskWorld, wanted: Asked, client: ClientView, login: Login) -> Consent:
    return Consent(
        issuer=login.seen.person.issuer,
        subject=login.seen.person.subject,
        client_id=client.client_id,
        server=wanted.server,
        what=consent.fingerprint(client, wanted.redirect_uri, wanted.server, wanted.scope),
        given_at=world.now_s(),
    )


async def _back_with_code(
    request: Request, world: DeskWorld, handle: str, wanted: Asked, client: ClientView, login: Login
) -> Response:
    """To the client, with a code. One request gives one code, however many tabs ask."""
    if not await in_thread(world.store.end, hashed(handle)):
        return await _refuse(request, world, LoginRefused(Cause.STATE_UNKNOWN, "This login is done already."))
    machine = Machine(world, client, book.origin_of(request))
    parameters = {
        "response_type": "code",
        "client_id": wanted.client_id,
        "redirect_uri": wanted.redirect_uri,
        "scope": wanted.scope,
        "resource": wanted.resource,
        "code_challenge": wanted.code_challenge,
        "code_challenge_method": "S256",
    } | ({"state": wanted.state} if wanted.state is not None else {})
    asked_again = DeskRequest("POST", parameters)
    grant = machine.get_authorization_grant(asked_again)
    answered = await in_thread(machine.create_authorization_response, asked_again, grant_user=login, grant=grant)
    if answered.location is None:
        return await _refuse(
            request, world, machine.cause or LoginRefused(Cause.REQUEST_INVALID, "The request is not valid any more.")
        )
    return answers.redirect(with_parameters(answered.location, {"iss": world.issuer}), status=303)


async def _refuse(request: Request, world: DeskWorld, refused: LoginRefused) -> Response:
    return await refusal(request, world, refused)
