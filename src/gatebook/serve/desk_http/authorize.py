"""/oauth/authorize: what is asked for, by whom, and where the answer goes. A browser that is logged in goes on; another goes to log in."""

from urllib.parse import urlencode

import msgspec
from authlib.oauth2.rfc6749 import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import binding, redirects, stepping_up, stepping_up_desk
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.known import ClientView
from gatebook.federation.own_client import API_SERVER
from gatebook.federation.records import Login, Transaction, hashed
from gatebook.federation.standing import is_idle
from gatebook.model.deployment import IdentityProvider
from gatebook.serve.desk_http import answers, asked, book, clients
from gatebook.serve.desk_http.for_authlib import DeskRequest
from gatebook.serve.desk_http.machine import Machine
from gatebook.serve.desk_http.refusing import refusal
from gatebook.serve.desk_http.world import DeskWorld, in_thread

TRANSACTION_S = 600.0
OWN = ClientView(client_id="gatebook:own-page", name="Gatebook", redirect_uris=(), vouched="operator")
"""Who asks when a person logs in for `/me` alone. No client can be it: `clients.find` does not know it, and it has nowhere to return to."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An authorization request whose client, redirect URI and server have been found. It is stored sealed (`binding`)."""

    client_id: str
    redirect_uri: str
    state: str | None
    scope: str
    server: str
    resource: str
    code_challenge: str
    not_by: str | None = None
    """The client asks for a login that is yet to be made (OIDC Core §3.1.2.1, `prompt=login`): the one that this browser had then, by its id, will not
    do; "" where it had none."""


async def authorize(request: Request, world: DeskWorld) -> Response:
    """Begin. What cannot be sent back to the client safely is told to the person, on a page."""
    origin = book.origin_of(request)
    parameters: dict[str, str] = {}
    try:
        asked.demand_pace(request, world, "authorize", "Too many logins began from here; try again in a minute.")
        parameters = asked.query(request)
        client = await clients.find(parameters.get("client_id", ""), world)
        redirect_uri = parameters.get("redirect_uri", "")
        if redirects.matches(client.redirect_uris, redirect_uri) is None:
            words = "The address to return to is not one that this client has registered."
            hint = f"registered: {', '.join(client.redirect_uris)[:300]}"
            raise LoginRefused(Cause.REDIRECT_MISMATCH, words, hint=hint)
    except LoginRefused as refused:
        return await refusal(request, world, refused, client=parameters.get("client_id", ""))
    machine = Machine(world, client, origin)
    consented = DeskRequest("GET", parameters)
    try:
        machine.get_consent_grant(consented)
    except OAuth2Error as error:
        why = machine.cause or LoginRefused(Cause.REQUEST_INVALID, str(error.description or error.error))
        if client.vouched == "document" and not redirects.is_loopback(redirect_uri):
            # RFC 9700 §4.11.2: anybody on the internet can be such a client. Nobody is sent to his site by our link before they were asked.
            return await refusal(request, world, why, client=client.client_id)
        await world.keep_refusal(book.refused("login.refused", why, origin, client=client.client_id))
        return back_with_error(world, redirect_uri, parameters.get("state"), error.error, why.words)
    assert machine.server is not None
    wanted = Asked(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        state=parameters.get("state"),
        scope=consented.payload.data["scope"],
        server=machine.server.name,
        resource=machine.server.resource,
        code_challenge=parameters["code_challenge"],
        not_by=await _login_now(request, world) if "login" in parameters.get("prompt", "").split(" ") else None,
    )
    return await go_on(request, world, wanted)


async def _login_now(request: Request, world: DeskWorld) -> str:
    session = answers.cookie(world, request, answers.SESSION_COOKIE)
    if session is None:
        return ""
    login = await in_thread(world.store.login_of_browser, hashed(session), world.now_s())
    return "" if login is None else login.id


async def go_on(request: Request, world: DeskWorld, wanted: Asked) -> Response:
    """The request is kept, for this browser alone; the next page is consent, a choice of providers, or the one provider."""
    browser = answers.cookie(world, request, answers.LOGIN_COOKIE)
    made = browser is None
    browser = browser or world.secret()
    handle = world.secret()
    transaction = Transaction(
        handle_hash=hashed(handle),
        sealed=binding.seal(browser, handle, msgspec.json.encode(wanted)),
        idp=None,
        expires_at=world.now_s() + TRANSACTION_S,
    )
    await in_thread(world.store.begin, transaction)
    login = await session_of(request, world, wanted)
    where = "/consent" if login is not None else "/login"
    response = answers.redirect(f"{where}?{urlencode({'request': handle})}")
    if made:
        answers.set_cookie(world, response, answers.LOGIN_COOKIE, browser, answers.LOGIN_COOKIE_S)
    return response


def demand_in(world: DeskWorld, wanted: Asked) -> stepping_up.Demand | None:
    """What the login behind this request must prove, whoever it is."""
    server = world.server_of(wanted.resource)
    return None if server is None else stepping_up.demanded(wanted.scope, server)


def wish_in(world: DeskWorld, wanted: Asked, idp: IdentityProvider) -> stepping_up.Demand | None:
    """What `idp` is asked for because of this request, before it is known who comes."""
    wish = stepping_up_desk.wished(idp, world.deployment.desk_roles) if wanted.server == API_SERVER else None
    return demand_in(world, wanted) or wish


def demand_on(world: DeskWorld, wanted: Asked, login: Login) -> stepping_up.Demand | None:
    """What the login of this very person must prove beside `demand_in`: at the desk's API, what their roles there demand."""
    idp = world.idp(login.seen.idp)
    if idp is None or wanted.server != API_SERVER:
        return None
    return stepping_up_desk.demanded_of(login, idp, world.deployment.desk_roles)


def _proves(world: DeskWorld, wanted: Asked, login: Login) -> bool:
    demands = (demand_in(world, wanted), demand_on(world, wanted, login))
    return all(demand is None or stepping_up.is_met(login.seen, demand, world.now_s()) for demand in demands)


async def session_of(request: Request, world: DeskWorld, wanted: Asked | None = None) -> Login | None:
    """The login of this browser, if it is good, in use, proves what `wanted` demands, and its provider still says so: else somebody who was disabled
    there would get one grant after another from it, and never refresh."""
    session = answers.cookie(world, request, answers.SESSION_COOKIE)
    if session is None:
        return None
    login = await in_thread(world.store.login_of_browser, hashed(session), world.now_s())
    if login is None or world.idp_of(login) is None:
        return None
    if wanted is not None and login.id == wanted.not_by:
        return None
    if wanted is not None and not _proves(world, wanted, login):
        return None
    grants = await in_thread(world.store.grants_of, login.id, world.now_s())
    last = max([login.created_at, *(world.last_act_s(login, grant) for grant in grants)])
    if is_idle(last, world.desk.idle_s, world.now_s()):
        return None
    try:
        await world.rereading.of_login(world, login.id, book.origin_of(request))
    except LoginRefused:
        return None  # it was ended, with its entries; or the provider is silent, and will say that itself
    login = await in_thread(world.store.login_of_browser, hashed(session), world.now_s())
    # Again: the provider may just have put the person into a group whose role demands more.
    return None if login is None or (wanted is not None and not _proves(world, wanted, login)) else login


async def wanted_of(request: Request, world: DeskWorld, handle: str) -> tuple[Asked, ClientView, str]:
    """The request kept under `handle`, its client as it is now, and this browser's secret. Raises LoginRefused: STATE_UNKNOWN where nothing is
    kept, BROWSER_OTHER where another browser began it, CLIENT_UNKNOWN or REDIRECT_MISMATCH where the client changed meanwhile."""
    browser = answers.cookie(world, request, answers.LOGIN_COOKIE)
    kept = await in_thread(world.store.transaction, hashed(handle), world.now_s())
    if kept is None:
        raise LoginRefused(Cause.STATE_UNKNOWN, "This login has expired or is done. Begin again from your program.")
    plain = None if browser is None else binding.unseal(browser, handle, kept.sealed)
    if plain is None or browser is None:
        raise LoginRefused(
            Cause.BROWSER_OTHER, "This login was begun in another browser. Begin again from your program."
        )
    wanted = msgspec.json.decode(plain, type=Asked)
    if wanted.client_id == OWN.client_id:
        return wanted, OWN, browser
    client = await clients.find(wanted.client_id, world)
    if redirects.matches(client.redirect_uris, wanted.redirect_uri) is None:
        raise LoginRefused(Cause.REDIRECT_MISMATCH, "The client has changed meanwhile. Begin again from your program.")
    return wanted, client, browser


def back_with_error(world: DeskWorld, redirect_uri: str, state: str | None, error: str, words: str) -> Response:
    """An authorization error response (RFC 6749 §4.1.2.1) with `iss` (RFC 9207), to a redirect URI that was checked."""
    values = {"error": error, "error_description": words, "iss": world.issuer} | (
        {"state": state} if state is not None else {}
    )
    return answers.redirect(with_parameters(redirect_uri, values), status=302)


def with_parameters(uri: str, values: dict[str, str]) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(values)}"
