"""A request's parameters, read strictly: each name once, so that no two readers see two requests."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.model.source import source_of
from gatebook.serve.desk_http.world import DeskWorld

MAX_FIELDS = 40
_FORM = "application/x-www-form-urlencoded"


def query(request: Request) -> dict[str, str]:
    """The query's parameters. Raises LoginRefused(REQUEST_INVALID): RFC 6749 §3.1, parameters must not repeat."""
    return _once(request.scope["query_string"])


async def form(request: Request) -> dict[str, str]:
    """The parameters of a form body, of which `app` has bounded the size. Raises LoginRefused(REQUEST_INVALID)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise LoginRefused(Cause.REQUEST_INVALID, f"The body must be {_FORM}.")
    return _once(await request.body())


def demand_pace(request: Request, world: DeskWorld, what: str, words: str) -> None:
    """A browser's window, or a program, begins `what`; one source not too often. Raises LoginRefused, with `words` where it is too often.

    What somebody else's page loads by the way, as an image or in a frame, begins nothing and is not counted: it could shut out everybody who comes
    from the same address."""
    if request.headers.get("sec-fetch-dest", "document") != "document":
        raise LoginRefused(Cause.REQUEST_INVALID, "A login is begun in a window of its own.")
    if not world.pace.allows(f"{what} {source_of(request.client.host if request.client else '')}", world.now_s()):
        raise LoginRefused(Cause.TOO_MANY, words)


def _once(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:  # UnicodeError is one
        raise LoginRefused(Cause.REQUEST_INVALID, "The request's parameters cannot be read.") from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise LoginRefused(Cause.REQUEST_INVALID, "A parameter stands in the request more than once.")
    return found
