"""How the desk answers: pages under a strict policy, JSON, redirects, cookies. No inline script, no frame, no cache."""

import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from typing import Any

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation import binding
from gatebook.federation.redirects import form_target
from gatebook.serve.desk_http.world import DeskWorld

LOGIN_COOKIE = "gatebook-login"
"""The browser, before anybody has logged in: binds requests under way to it."""
SESSION_COOKIE = "gatebook-session"
"""The browser's login. New at each login (session fixation)."""
LOGIN_COOKIE_S = 3600
_UNAVAILABLE = 503

_pages = jinja2.Environment(
    loader=jinja2.PackageLoader("gatebook.serve.desk_http"), autoescape=True, undefined=jinja2.StrictUndefined
)
STYLE = (files("gatebook.serve.desk_http") / "static" / "desk.css").read_bytes()


def page(name: str, *, status: int = 200, ends_at: str | None = None, **values: object) -> Response:
    """The page, escaped. `ends_at`: the redirect URI at which its form may end; a browser follows it nowhere else."""
    form_action = "'self'" + (f" {form_target(ends_at)}" if ends_at else "")
    policy = f"default-src 'none'; style-src 'self'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    body = _pages.get_template(name).render(**values)
    headers = {**SAFE, "Content-Security-Policy": policy}
    return Response(body, status, headers, media_type="text/html")


SAFE: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def json(value: Any, status: int = 200, *, public: bool = False) -> Response:
    """`public`: may be read by pages of any origin, as browser clients must (RFC 8414, and the token endpoint of public clients)."""
    headers = {**SAFE, "Pragma": "no-cache"} | ({"Access-Control-Allow-Origin": "*"} if public else {})
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def oauth_error(error: str, words: str, status: int = 400) -> Response:
    """RFC 6749 §5.2."""
    return json({"error": error, "error_description": words}, status, public=True)


def redirect(location: str, *, status: int = 303) -> Response:
    return Response(b"", status, {**SAFE, "Location": location})


def trouble_page(status: int) -> Response:
    """For a person, where nothing can be recorded (503) or something broke (500): nothing was issued, and what to do."""
    return page("trouble.html", status=status, unrecorded=status == _UNAVAILABLE)


def moment(at_s: float) -> str:
    """An instant as people read it: to the minute, UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))


def cookie(world: DeskWorld, request: Request, name: str) -> str | None:
    """The value of our cookie; None where there is none, or where there are two."""
    wanted = _cookie_name(world, name)
    values = []
    for header in request.headers.getlist("cookie"):
        try:
            jar: SimpleCookie = SimpleCookie(header)
        except CookieError:
            return None
        if header.count(f"{wanted}=") > 1:
            return None
        if wanted in jar:
            values.append(jar[wanted].value)
    return values[0] if len(values) == 1 and len(values[0]) == 43 else None


def sent_from_page(world: DeskWorld, request: Request, form: Mapping[str, str], what: str) -> bool:
    """Whether our own page made this form, for `what`, in the session that this browser still has (CSRF)."""
    session = cookie(world, request, SESSION_COOKIE)
    if session is None or request.headers.get("origin", world.issuer) not in (world.issuer, "null"):
        return False
    return binding.same(binding.form_token(session, what), form.get("token", ""))


def set_cookie(world: DeskWorld, response: Response, name: str, value: str, max_age: int) -> None:
    """`__Host-`: no other host and no page by http can have set it. In dev by http the prefix cannot be had."""
    response.set_cookie(
        _cookie_name(world, name), value, max_age=max_age, path="/", secure=world.secure, httponly=True, samesite="lax"
    )


def drop_cookie(world: DeskWorld, response: Response, name: str) -> None:
    """The browser forgets it."""
    response.delete_cookie(_cookie_name(world, name), path="/", secure=world.secure, httponly=True, samesite="lax")


def _cookie_name(world: DeskWorld, name: str) -> str:
    return f"__Host-{name}" if world.secure else name
