"""A token for a resource that is still good: the kept one, a renewed one, or one of a new login. One process at a time renews."""

from collections.abc import Callable

from gatebook.cli.person import by_browser
from gatebook.cli.person.by_browser import Way
from gatebook.cli.person.discovery import Desk, desk_at, desk_of
from gatebook.cli.person.errors import NotLoggedIn, Refused, Unreachable
from gatebook.cli.person.logins import Given, LoginFile

MARGIN_S = 45.0
"""A token is renewed so long before it ends: it must outlive the way to the gate and a wait in its queue."""


def kept_token(file: LoginFile, resource: str, now: Callable[[], float], *, instead_of: str | None = None) -> str:
    """The access token for `resource`, renewed where it ends soon. `instead_of`: a token that was refused; it is not given again.

    Raises NotLoggedIn where nothing is kept or the desk has ended it, Unreachable."""
    given = file.read().given.get(resource)
    if given is not None and _good(given, now(), instead_of):
        return given.access_token
    with file.changing() as logins:
        given = logins.given.get(resource)
        if given is None:
            raise NotLoggedIn(f"nobody is logged in for {resource}")
        if _good(given, now(), instead_of):  # another process has renewed it meanwhile
            return given.access_token
        try:
            renewed = _renewed(given, now())
        except Unreachable:
            if given.access_token == instead_of or now() >= given.expires_at:
                raise
            return given.access_token  # a desk that is away for a moment ends nothing that is still good
        if renewed is not None:
            logins.given[resource] = renewed
            return renewed.access_token
        del logins.given[resource]
    raise NotLoggedIn(f"the login for {resource} has ended: log in again")


def token_by_login(file: LoginFile, desk: Desk, resource: str, way: Way) -> str:
    """The access token of a new login, which is kept."""
    given = by_browser.log_in(desk, resource, way)
    with file.changing() as logins:
        logins.given[resource] = given
        logins.desk = logins.desk or desk.url
    return given.access_token


def token_for(file: LoginFile, resource: str, way: Way, *, instead_of: str | None = None) -> str:
    """The kept token, or the person is asked to log in at the desk of this server: at once where the login is to be fresh. Raises PersonError."""
    try:
        if way.fresh:
            raise NotLoggedIn("a fresh login is wanted")
        return kept_token(file, resource, way.now, instead_of=instead_of)
    except NotLoggedIn:
        return token_by_login(file, desk_at(desk_of(resource)), resource, way)


def _good(given: Given, now_s: float, instead_of: str | None) -> bool:
    return given.access_token != instead_of and now_s < given.expires_at - MARGIN_S


def _renewed(given: Given, now_s: float) -> Given | None:
    """None where the desk says that the login is over. Raises Unreachable: then what is kept may still be good."""
    if given.refresh_token is None:
        return None
    form = {"grant_type": "refresh_token", "refresh_token": given.refresh_token, "client_id": given.client_id}
    try:
        renewed = by_browser.redeem(desk_at(given.desk), form, now_s)
    except Refused as refused:
        if refused.error in ("invalid_grant", "invalid_client"):
            return None
        raise
    if renewed.refresh_token is None:
        return Given(
            desk=renewed.desk, client_id=renewed.client_id, access_token=renewed.access_token,
            expires_at=renewed.expires_at, refresh_token=given.refresh_token,
        )  # fmt: skip
    return renewed
