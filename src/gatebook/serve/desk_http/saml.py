"""Back from a SAML provider. Its answer is a post from another site, which carries no cookie of ours: it is verified at `acs`, kept for a moment
under a handle that is good once, and believed at `finish`, in the one browser that began."""

from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import binding
from gatebook.federation.errors import Cause, LoginRefused, ProviderFailed
from gatebook.federation.records import LoggedIn, Transaction, hashed
from gatebook.federation.saml import asking, checks, gate, people
from gatebook.model.deployment import IdentityProvider
from gatebook.serve.desk_http import answers, asked
from gatebook.serve.desk_http.authorize import wanted_of
from gatebook.serve.desk_http.login import complete, refuse
from gatebook.serve.desk_http.world import DeskWorld, in_thread

WAITING_S = 60.0
"""How long a verified answer waits for its browser: one redirect."""
_KIND = "saml"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A verified answer on its way to the browser that began. `handle`: the RelayState it came with; nothing is proven of that yet."""

    handle: str
    in_response_to: str
    seen: LoggedIn
    session_until: float | None
    certificate: str


async def acs(request: Request, world: DeskWorld) -> Response:
    """/login/saml/NAME/acs: the assertion consumer service. The order of the steps is the proof: each relies on those above it."""
    name: str = request.path_params["name"]
    try:
        # 1. Not too often: what follows is work that anybody could ask for.
        asked.demand_pace(request, world, "saml", "Too many answers came from here; try again in a minute.")
        idp = _provider(world, name)
        form = await asked.form(request)
        # 2. The answer has one reading.
        admitted = await in_thread(gate.admit, form.get("SAMLResponse", ""))
        # 3. It is the provider's.
        expected = checks.Expected(
            issuer=idp.url,
            audience=asking.entity_id(world.desk.public_url, name),
            acs_url=asking.acs_url(world.desk.public_url, name),
            now_s=world.now_s(),
        )
        verified = await in_thread(
            world.assertions.verify, idp, admitted, acs_url=expected.acs_url, audience=expected.audience
        )
        # 4. What was verified is about a login here and now, and about one person.
        asserted = checks.asserted(verified.response, verified.assertion, expected)
        seen = people.logged_in(asserted, idp)
        # 5. It answers something, which only a browser can show to be ours.
        handle = form.get("RelayState", "")
        if not handle:
            raise LoginRefused(
                Cause.SAML_UNASKED, "Logins begin at your program, not at the identity provider.", hint="no RelayState"
            )
        # 6. It comes once.
        assertion = hashed(f"{idp.url}\0{asserted.assertion_id}")
        if not await in_thread(world.store.once, _KIND, assertion, asserted.taken_until, world.now_s()):
            raise LoginRefused(
                Cause.SAML_REPLAYED, "This answer of the identity provider was used before. Begin again."
            )
        waiting = Waiting(
            handle=handle,
            in_response_to=asserted.in_response_to,
            seen=seen,
            session_until=asserted.session_until,
            certificate=verified.certificate,
        )
        ticket = await _keep(world, idp, waiting)
    except (LoginRefused, ProviderFailed) as failure:
        return await refuse(request, world, failure, name)
    return answers.redirect(f"{asking.PREFIX}/finish?{urlencode({'ticket': ticket})}")


async def finish(request: Request, world: DeskWorld) -> Response:
    """/login/saml/finish: the browser came back by itself, and with its cookie. Only now is it known whose login this is."""
    name = None
    try:
        # 1. There is an answer under this ticket, and it is taken once.
        ticket = asked.query(request).get("ticket", "")
        idp, waiting = await _take(world, ticket)
        name = idp.name
        # 2. The request it answers is ours, is under way, and was begun in this browser.
        wanted, _, browser = await wanted_of(request, world, waiting.handle)
        # 3. It is the answer to that very request (login CSRF: another person's answer was made for another browser's).
        if not binding.same(binding.request_id_of(browser, waiting.handle, name), waiting.in_response_to):
            raise LoginRefused(
                Cause.BROWSER_OTHER,
                "This login was begun in another browser. Begin again from your program.",
                hint="InResponseTo is not the request of this browser",
            )
        # 4. That request waits for this provider, and gets one answer.
        if not await in_thread(world.store.answered, hashed(waiting.handle), name, world.now_s()):
            raise LoginRefused(Cause.STATE_UNKNOWN, "This login has expired or is done. Begin again from your program.")
        if waiting.session_until is not None and waiting.session_until <= world.now_s():
            raise LoginRefused(Cause.SAML_TIME, "Your login at the identity provider has ended. Begin again.")
    except (LoginRefused, ProviderFailed) as failure:
        return await refuse(request, world, failure, name)
    # 5. A login, no longer than the provider's session.
    return await complete(
        request,
        world,
        wanted,
        waiting.seen,
        waiting.handle,
        until_s=waiting.session_until,
        certificate=waiting.certificate,
    )


async def metadata(request: Request, world: DeskWorld) -> Response:
    """/login/saml/NAME/metadata: what to enter at the provider, for whoever asks."""
    name: str = request.path_params["name"]
    try:
        idp = _provider(world, name)
        certificate = await in_thread(world.assertions.own_certificate, idp)
    except (LoginRefused, ProviderFailed) as failure:
        return await refuse(request, world, failure, name)
    document = asking.metadata(idp, desk_url=world.desk.public_url, certificate=certificate)
    return Response(document, 200, dict(answers.SAFE), media_type="application/samlmetadata+xml")


def _provider(world: DeskWorld, name: str) -> IdentityProvider:
    idp = world.idp(name)
    if idp is None or idp.saml is None:
        raise LoginRefused(Cause.REQUEST_INVALID, "There is no such identity provider here.")
    return idp


async def _keep(world: DeskWorld, idp: IdentityProvider, waiting: Waiting) -> str:
    """The ticket under which the answer waits, sealed: the store has neither the person nor what opens it."""
    ticket = world.secret()
    kept = Transaction(
        handle_hash=hashed(ticket),
        sealed=binding.seal(ticket, _KIND, msgspec.json.encode(waiting)),
        idp=idp.name,
        expires_at=world.now_s() + WAITING_S,
    )
    await in_thread(world.store.begin, kept)
    return ticket


async def _take(world: DeskWorld, ticket: str) -> tuple[IdentityProvider, Waiting]:
    gone = LoginRefused(Cause.STATE_UNKNOWN, "This login has expired or is done. Begin again from your program.")
    kept = await in_thread(world.store.transaction, hashed(ticket), world.now_s())
    plain = None if kept is None else binding.unseal(ticket, _KIND, kept.sealed)
    if kept is None or plain is None or kept.idp is None or not await in_thread(world.store.end, kept.handle_hash):
        raise gone
    return _provider(world, kept.idp), msgspec.json.decode(plain, type=Waiting)
