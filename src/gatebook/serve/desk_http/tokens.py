"""/oauth/token and /oauth/revoke: a code or a refresh token becomes an access token; a grant is given up."""

from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.standing import Standing
from gatebook.serve.desk_http import answers, asked, book, clients, jobs
from gatebook.serve.desk_http.for_authlib import Answered, DeskRequest
from gatebook.serve.desk_http.machine import Machine
from gatebook.serve.desk_http.world import DeskWorld, in_thread


async def token(request: Request, world: DeskWorld) -> Response:
    """RFC 6749 §3.2. The entry is durable before the token leaves."""
    return await _answer(request, world, "token")


async def revoke(request: Request, world: DeskWorld) -> Response:
    """RFC 7009. When it is answered, every worker refuses the tokens of the grant."""
    return await _answer(request, world, "revoke")


async def _answer(request: Request, world: DeskWorld, what: str) -> Response:
    origin = book.origin_of(request)
    parameters: dict[str, str] = {}
    try:
        parameters = await asked.form(request)
        if (for_jobs := jobs.handler_of(parameters, what, world.deployment)) is not None:
            return await for_jobs(parameters, world, origin)
        client = await clients.find_holder(parameters.get("client_id", ""), world)
    except LoginRefused as refused:
        named = parameters.get("client_id", "")
        await world.keep_refusal(book.refused("token.refused", refused, origin, client=named))
        gone = refused.cause is not Cause.REQUEST_INVALID
        return answers.oauth_error("invalid_client" if gone else "invalid_request", refused.words)
    standing = Standing.READ
    try:
        if what == "token" and parameters.get("grant_type") == "refresh_token":
            token = parameters.get("refresh_token", "")
            standing = await world.rereading.before_refresh(world, token, client.client_id, origin)
    except LoginRefused as refused:
        await world.keep_refusal(book.refused("token.refused", refused, origin, client=client.client_id))
        # A provider that is silent ends nothing: the client keeps its token, and tries again.
        silent = refused.cause is Cause.PROVIDER_UNREACHABLE
        error, status = ("temporarily_unavailable", 503) if silent else ("invalid_grant", 400)
        return answers.oauth_error(error, refused.words, status)
    machine = Machine(world, client, origin, standing)
    asked_for = DeskRequest("POST", parameters)
    answered = await in_thread(_run, machine, asked_for, what)
    # What was revoked is refused everywhere, and what happened is durable, before anybody is told. In this order: a book that cannot be
    # written must not keep a revocation from the workers.
    if machine.revoked:
        await world.revoked()
    for draft in machine.drafts:
        await world.ledger.record(draft)
    if machine.cause is not None:
        await world.keep_refusal(book.refused("token.refused", machine.cause, origin, client=client.client_id))
    body = dict(answered.body) if not isinstance(answered.body, dict) else answered.body
    return answers.json(body, answered.status, public=True)


def _run(machine: Machine, asked_for: DeskRequest, what: str) -> Answered:
    answered: Answered
    if what == "token":
        answered = machine.create_token_response(asked_for)
    else:
        answered = machine.create_endpoint_response("revocation", asked_for)
    return answered
