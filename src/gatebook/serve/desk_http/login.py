"""To the identity provider and back. What comes back is believed only in the browser that was sent, from the provider it was sent to."""

from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import binding, stepping_up, stepping_up_desk
from gatebook.federation.errors import Cause, LoginRefused, ProviderFailed
from gatebook.federation.people import logged_in
from gatebook.federation.presets import OFFLINE, PRESETS
from gatebook.federation.records import LoggedIn, Login, hashed
from gatebook.federation.shared import demand_one_person
from gatebook.model.deployment import IdentityProvider
from gatebook.model.record import Resource
from gatebook.model.secret import Secret
from gatebook.serve.desk_http import answers, asked, book
from gatebook.serve.desk_http.authorize import OWN, Asked, demand_in, demand_on, wanted_of, wish_in
from gatebook.serve.desk_http.beside import in_use_beside
from gatebook.serve.desk_http.refusing import refusal
from gatebook.serve.desk_http.saml_asking import saml_url
from gatebook.serve.desk_http.secrets import client_secret
from gatebook.serve.desk_http.world import DeskWorld, in_thread


async def choose(request: Request, world: DeskWorld) -> Response:
    """/login: the one provider, or the person's choice of several."""
    name = None
    try:
        parameters = asked.query(request)
        handle, name = parameters.get("request", ""), parameters.get("idp")
        wanted, client, browser = await wanted_of(request, world, handle)
        idps = world.deployment.idps
        if name is None and len(idps) == 1:
            name = idps[0].name
        if name is None:
            shown = [{"name": idp.name, "host": urlsplit(idp.url).netloc} for idp in idps]
            return answers.page("choose.html", idps=shown, handle=handle, client=client.name, own=client is OWN)
        idp = world.idp(name)
        if idp is None:
            raise LoginRefused(Cause.REQUEST_INVALID, "There is no such identity provider here.")
        if not await in_thread(world.store.wait_for, hashed(handle), idp.name, world.now_s()):
            raise LoginRefused(Cause.STATE_UNKNOWN, "This login has expired. Begin again from your program.")
        demand = wish_in(world, wanted, idp)
        if idp.saml is not None:
            # A wish names no classes: SAML has no way to say "if you can", and a provider that cannot would let nobody in.
            classes = () if demand_in(world, wanted) is None else idp.mfa.acr
            fresh = demand is not None or wanted.not_by is not None
            return answers.redirect(
                await in_thread(saml_url, world, idp, browser, handle, fresh=fresh, classes=classes)
            )
        return answers.redirect(
            await world.providers.authorize_url(idp, _request_to(world, idp, browser, handle, wanted, demand))
        )
    except (LoginRefused, ProviderFailed) as failure:
        return await refuse(request, world, failure, name)


def _request_to(
    world: DeskWorld, idp: IdentityProvider, browser: str, handle: str, wanted: Asked, demand: stepping_up.Demand | None
) -> dict[str, str]:
    """OIDC Core §3.1.2.1."""
    way = PRESETS[idp.preset]
    again = dict(way.offline) if not way.offline_scope or OFFLINE in idp.scopes else {}
    fresh = stepping_up.parameters(idp, demand)
    if wanted.not_by is not None:
        fresh = {"prompt": "login", **fresh}
    prompts = [each["prompt"] for each in (fresh, again) if "prompt" in each]
    return (
        again
        | fresh
        | ({"prompt": " ".join(prompts)} if prompts else {})
        | {
            "response_type": "code",
            "client_id": idp.client_id,
            "redirect_uri": callback_url(world, idp),
            "scope": " ".join(idp.scopes),
            "state": binding.state_of(browser, handle, idp.name),
            "nonce": binding.nonce_of(browser, handle, idp.name),
            "code_challenge": binding.challenge_of(binding.verifier_of(browser, handle, idp.name)),
            "code_challenge_method": "S256",
        }
    )


def callback_url(world: DeskWorld, idp: IdentityProvider) -> str:
    """What must be registered at the provider."""
    return f"{world.desk.public_url}/login/oidc/{idp.name}/callback"


async def callback(request: Request, world: DeskWorld) -> Response:
    """/login/oidc/NAME/callback. The order of the steps is the proof: each relies on those above it."""
    name: str = request.path_params["name"]
    try:
        parameters = asked.query(request)
        state = parameters.get("state", "")
        # 1. The request it answers is ours, is under way, and was begun in this browser.
        handle = binding.handle_of(state)
        wanted, _, browser = await wanted_of(request, world, handle)
        # 2. It was sent to this provider, in this browser (mix-up: the state was made for the provider's name, and `iss` must agree).
        idp = world.idp(name)
        if (
            idp is None
            or idp.saml is not None
            or not binding.is_of_browser(state, browser, name)
            or parameters.get("iss", idp.url) != idp.url
        ):
            raise LoginRefused(
                Cause.PROVIDER_MIXED_UP, "The answer came from another identity provider than was asked."
            )
        # 3. It comes once.
        if not await in_thread(world.store.answered, hashed(handle), name, world.now_s()):
            raise LoginRefused(Cause.STATE_UNKNOWN, "This login has expired or is done. Begin again from your program.")
        # 4. The provider says yes, and to whom.
        seen, again = await _seen(world, idp, parameters, browser, handle)
    except (LoginRefused, ProviderFailed) as failure:
        return await refuse(request, world, failure, name)
    # 5. A login, under a new name of the session.
    return await complete(request, world, wanted, seen, handle, again=again)


async def complete(
    request: Request,
    world: DeskWorld,
    wanted: Asked,
    seen: LoggedIn,
    handle: str,
    *,
    again: Secret[str] | None = None,
    until_s: float | None = None,
    certificate: str | None = None,
) -> Response:
    """The person is logged in at the desk, in this browser, `until_s` at the latest; the login is in the book, and on it goes to consent.

    Refused where the account is not one person's, or did not prove what the request demands. `again`: what the provider can be asked again with.
    `certificate`: SHA-256 of the one that signed the assertion, where there was one."""
    session = world.secret()
    now_s = world.now_s()
    ends_s = now_s + world.desk.login_s
    login = Login(
        id=world.identifier(),
        seen=seen,
        browser_hash=hashed(session),
        created_at=now_s,
        expires_at=ends_s if until_s is None else min(ends_s, until_s),
    )
    try:
        demand_one_person(seen, world.desk)
        stepping_up.demand_met(seen, demand_in(world, wanted), now_s)
        stepping_up_desk.demand_met(login, demand_on(world, wanted, login), now_s)
    except LoginRefused as refused:
        who = book.person(world, seen, login="login:refused")
        resource = Resource(kind="login", name=seen.idp)
        return await refusal(request, world, refused, who=who, resource=resource)
    earlier = await _forget_earlier(request, world, now_s)
    upstream = None if again is None else world.rereading.sealed(world, login.id, again)
    await in_thread(world.store.keep_login, login, upstream)
    origin = book.origin_of(request)
    beside = await in_use_beside(world, login, earlier)
    draft = book.login_completed(
        world, login, origin, rereadable=again is not None, certificate=certificate, beside=beside
    )
    await world.ledger.record(draft)
    response = answers.redirect(f"/consent?{urlencode({'request': handle})}")
    answers.set_cookie(world, response, answers.SESSION_COOKIE, session, int(login.expires_at - now_s))
    return response


async def _seen(
    world: DeskWorld, idp: IdentityProvider, parameters: dict[str, str], browser: str, handle: str
) -> tuple[LoggedIn, Secret[str] | None]:
    """Who logged in, and with what the provider can be asked again."""
    if "error" in parameters or "code" not in parameters:
        # The provider's description is a stranger's text: it is neither shown nor kept.
        hint = parameters.get("error", "no code")[:60]
        raise LoginRefused(Cause.PROVIDER_REFUSED, "The identity provider did not complete the login.", hint=hint)
    tokens = await world.providers.redeem(
        idp,
        code=parameters["code"],
        redirect_uri=callback_url(world, idp),
        verifier=binding.verifier_of(browser, handle, idp.name),
        nonce=binding.nonce_of(browser, handle, idp.name),
        secret=client_secret(world, idp),
        now_s=world.now_s(),
    )
    return logged_in(tokens.claims, tokens.userinfo, idp), tokens.refresh_token


async def _forget_earlier(request: Request, world: DeskWorld, now_s: float) -> str | None:
    """The cookie that this browser had opens nothing any more: another login takes its place, and a copy of it must not outlive that. The id of
    the login that had it; None where there was none."""
    session = answers.cookie(world, request, answers.SESSION_COOKIE)
    earlier = None if session is None else await in_thread(world.store.login_of_browser, hashed(session), now_s)
    if earlier is None:
        return None
    await in_thread(world.store.forget_browser, earlier.id)
    return earlier.id


async def refuse(
    request: Request, world: DeskWorld, failure: LoginRefused | ProviderFailed, idp: str | None
) -> Response:
    refused = failure if isinstance(failure, LoginRefused) else _unreachable(failure)
    resource = Resource(kind="login", name=idp if idp is not None and world.idp(idp) is not None else None)
    return await refusal(request, world, refused, resource=resource)


def _unreachable(failure: ProviderFailed) -> LoginRefused:
    words = "The identity provider cannot be reached or gave an answer that cannot be used. Try again later."
    return LoginRefused(Cause.PROVIDER_UNREACHABLE, words, hint=str(failure))
