"""A refusal that a person sees: the entry first, then the page, and one id by which the two are found together (`gatebook why ID`)."""

from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.mending import mend_of
from gatebook.model.record import Resource, Who
from gatebook.serve.desk_http import answers, book
from gatebook.serve.desk_http.world import DeskWorld

_STATUS = {Cause.TOO_MANY: 429, Cause.PROVIDER_UNREACHABLE: 502}


async def refusal(
    request: Request,
    world: DeskWorld,
    refused: LoginRefused,
    *,
    who: Who = book.NOBODY,
    resource: Resource | None = None,
    client: str = "",
) -> Response:
    """The page for `refused`, whose entry is durable. `who`: the person, where a provider has proven one already. Without an id where a flood made it one of many that are counted only.

    Raises LedgerUnavailable: then nothing is shown but that."""
    call = world.identifier()
    draft = book.refused(
        "login.refused", refused, book.origin_of(request), who=who, resource=resource, client=client, call=call
    )
    kept = await world.keep_refusal(draft)
    return answers.page(
        "refused.html",
        status=_STATUS.get(refused.cause, 400),
        words=refused.words,
        mend=mend_of(refused.cause),
        cause=str(refused.cause),
        call=call if kept else "",
    )
