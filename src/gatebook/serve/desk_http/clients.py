"""Which client is this? Configured, known, fetched, or registered; and the registering itself (RFC 7591)."""

from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation.documents import MAX_DOCUMENT_BYTES, is_client_url, read_document, read_registration
from gatebook.federation.errors import Cause, LoginRefused, ProviderFailed
from gatebook.federation.known import KNOWN, ClientView, configured
from gatebook.federation.own_client import COMMAND_LINE
from gatebook.federation.records import Registered
from gatebook.identity.strict import parse_object
from gatebook.model.source import source_of
from gatebook.serve.desk_http import answers, book
from gatebook.serve.desk_http.world import DeskWorld, in_thread

UNUSED_AT_MOST = 50
UNUSED_S = 86_400.0
REGISTERED_PREFIX = "dyn-"


async def find(client_id: str, world: DeskWorld) -> ClientView:
    """The client of this id. Raises LoginRefused(CLIENT_UNKNOWN, CLIENT_DOCUMENT), StoreUnavailable."""
    if client_id == COMMAND_LINE.client_id:
        return COMMAND_LINE
    for client in world.deployment.clients:
        if client.client_id == client_id:
            return configured(client)
    if client_id in KNOWN:
        return KNOWN[client_id]
    if client_id.startswith(REGISTERED_PREFIX) and world.desk.registration:
        kept = await in_thread(world.store.registered, client_id)
        if kept is not None:
            return ClientView(client_id=client_id, name=kept.name, redirect_uris=kept.redirect_uris, vouched="nobody")
    elif _may_have_document(client_id, world):
        try:
            return read_document(await world.documents.fetch(client_id), client_id)
        except ProviderFailed as failed:
            words = "The client's metadata document could not be fetched."
            raise LoginRefused(Cause.CLIENT_DOCUMENT, words, hint=str(failed)) from failed
    raise LoginRefused(Cause.CLIENT_UNKNOWN, "This client is not known here.")


async def find_holder(client_id: str, world: DeskWorld) -> ClientView:
    """The client of this id that has a code or a token already: a metadata document is not read again. Nothing in it counts any more, since the code
    and the grant say whose they are and where they went; whoever posts here proves nothing, and must not have us fetch what they like; and a
    client goes on while the host of its document is down. Raises as `find` does."""
    if _may_have_document(client_id, world):
        return ClientView(client_id=client_id, name=client_id, redirect_uris=(), vouched="document")
    return await find(client_id, world)


def _may_have_document(client_id: str, world: DeskWorld) -> bool:
    return is_client_url(client_id) and world.desk.client_metadata == "fetched"


async def register(request: Request, world: DeskWorld) -> Response:
    """RFC 7591 §3, for any program on this machine, in dev only. A client that nobody logs in with is forgotten after a day."""
    origin = book.origin_of(request)
    client_id = REGISTERED_PREFIX + world.identifier()
    try:
        if not world.desk.registration:
            raise LoginRefused(Cause.REGISTRATION_CLOSED, "Clients do not register themselves here; ask the operator.")
        if not world.pace.allows(f"register {source_of(origin.ip)}", world.now_s()):
            raise LoginRefused(Cause.TOO_MANY, "Too many registrations; try again in a minute.")
        client = read_registration(await _document(request), client_id)
        now_s = world.now_s()
        kept = Registered(client_id=client_id, name=client.name, redirect_uris=client.redirect_uris, created_at=now_s)
        if not await in_thread(world.store.register, kept, at_most=UNUSED_AT_MOST, since_s=now_s - UNUSED_S):
            raise LoginRefused(Cause.TOO_MANY, "Too many clients registered and were never used; try again tomorrow.")
    except LoginRefused as refused:
        await world.keep_refusal(book.refused("client.refused", refused, origin))
        error = "invalid_redirect_uri" if "redirect" in refused.words else "invalid_client_metadata"
        status = {Cause.TOO_MANY: 429, Cause.REGISTRATION_CLOSED: 403}.get(refused.cause, 400)
        return answers.oauth_error(error, refused.words, status)
    await world.ledger.record(book.registered(client_id, client.name, origin))
    answer = {
        "client_id": client_id,
        "client_id_issued_at": int(now_s),
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    return answers.json(answer, 201, public=True)


async def _document(request: Request) -> dict[str, object]:
    body = await request.body()
    try:
        if len(body) > MAX_DOCUMENT_BYTES:
            raise ValueError("too large")
        return parse_object(body)
    except ValueError as error:
        raise LoginRefused(Cause.REGISTRATION_INVALID, "The registration cannot be read.") from error
