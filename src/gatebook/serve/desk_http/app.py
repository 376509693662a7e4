"""The routes. A route that is not here does not exist; a method that is not named is refused; a body is small; the Host is ours."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatebook.federation.errors import StoreUnavailable
from gatebook.model.errors import LedgerUnavailable
from gatebook.serve.desk_http import answers, authorize, clients, consenting, login, metadata, own, saml, tokens
from gatebook.serve.desk_http.api_routes import API_ROUTES
from gatebook.serve.desk_http.world import DeskWorld
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.forwarded import Network, address, client_address, networks, trusts

MAX_BODY_BYTES = 64 << 10
MAX_ASSERTION_BYTES = 256_000
"""Of a post to an assertion consumer service: a signed list of groups is large."""
Handler = Callable[[Request, DeskWorld], Awaitable[Response]]

ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/.well-known/oauth-authorization-server", metadata.metadata),
    ("GET", "/oauth/jwks", metadata.jwks),
    ("GET", "/oauth/authorize", authorize.authorize),
    ("POST", "/oauth/token", tokens.token),
    ("POST", "/oauth/revoke", tokens.revoke),
    ("POST", "/oauth/register", clients.register),
    ("GET", "/login", login.choose),
    ("GET", "/login/oidc/{name:str}/callback", login.callback),
    ("POST", "/login/saml/{name:str}/acs", saml.acs),
    ("GET", "/login/saml/finish", saml.finish),
    ("GET", "/login/saml/{name:str}/metadata", saml.metadata),
    ("GET", "/consent", consenting.show),
    ("POST", "/consent", consenting.decide),
    ("GET", "/me", own.show),
    ("POST", "/me/end", own.end),
    ("POST", "/me/logout", own.log_out),
    *API_ROUTES,
)
"""Method, path, handler. Everything is deny by default: there is no other way in."""

BROWSER_CLIENTS = frozenset(
    {"/.well-known/oauth-authorization-server", "/oauth/token", "/oauth/register", "/oauth/revoke"}
)
"""What pages of other origins may ask (the MCP Inspector is one): nothing there rests on a cookie."""


def application(world: Callable[[], DeskWorld]) -> ASGIApp:
    """The whole. `world()`: the one in force when a request begins; it stays that request's to the end."""
    routes = [Route("/healthz", _healthz), Route("/desk.css", _style)]
    routes += [_route(method, path, _answering(handler, world)) for method, path, handler in ROUTES]
    routes += [Route(path, _preflight, methods=["OPTIONS"]) for path in sorted(BROWSER_CLIENTS)]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False  # two spellings never reach one handler
    return _Guard(app, world)


def _route(method: str, path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
    """For this one method: Starlette would let HEAD do what GET does, and a login is nothing to look at the head of."""
    route = Route(path, answer, methods=[method])
    route.methods = {method}
    return route


def _answering(handler: Handler, world: Callable[[], DeskWorld]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request, world())
        except (LedgerUnavailable, StoreUnavailable) as failure:
            say("desk.unavailable", why=str(failure))
            if _is_read_by_people(request):
                return answers.trouble_page(503)
            return answers.oauth_error(
                "temporarily_unavailable", "Nothing can be recorded at the moment; try again.", 503
            )
        except ClientDisconnect:
            return answers.oauth_error("invalid_request", "The body is too large, or did not come.", 413)
        except Exception as bug:  # the one place where anything at all becomes a refusal
            say_bug(f"the desk at {request.url.path.split('/')[1]}", bug)
            if _is_read_by_people(request):
                return answers.trouble_page(500)
            return answers.oauth_error("server_error", "The desk failed on this request; nothing was issued.", 500)

    return answer


def _is_read_by_people(request: Request) -> bool:
    """Whether a browser shows the answer to somebody, rather than a program reading it."""
    return request.url.path == "/oauth/authorize" or request.url.path.startswith(("/login", "/consent", "/me"))


async def _healthz(_request: Request) -> Response:
    return Response("ok\n", 200, dict(answers.SAFE), media_type="text/plain")


async def _style(_request: Request) -> Response:
    return Response(answers.STYLE, 200, {**answers.SAFE, "Cache-Control": "max-age=3600"}, media_type="text/css")


async def _preflight(_request: Request) -> Response:
    headers = {
        **answers.SAFE,
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "content-type, mcp-protocol-version",
        "Access-Control-Max-Age": "600",
    }
    return Response(b"", 204, headers)


def _from_client(scope: Scope, trusted: tuple[Network, ...]) -> Scope:
    """`scope` with the client's address, where a proxy that we trust tells it."""
    peer = address(scope["client"][0]) if scope.get("client") else None
    if peer is None or not trusts(trusted, peer):
        return scope
    return {**scope, "client": (client_address(str(peer), tuple(scope["headers"]), trusted), 0)}


class _Guard:
    """Before any route: it is known who asks, the Host is the public one (DNS rebinding), and a body is at most MAX_BODY_BYTES."""

    def __init__(self, app: ASGIApp, world: Callable[[], DeskWorld]) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        world = self._world()
        scope = _from_client(scope, networks(world.deployment.trusted_proxies))
        public = world.desk.public_url.partition("://")[2].lower()
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() != public:
            await answers.oauth_error("invalid_request", "This host name is not served here.", 403)(
                scope, receive, send
            )
            return
        length = Headers(scope=scope).get("content-length", "0")
        most = MAX_ASSERTION_BYTES if scope["path"].startswith("/login/saml/") else MAX_BODY_BYTES
        if not length.isdigit() or int(length) > most:
            await answers.oauth_error("invalid_request", "The body is too large.", 413)(scope, receive, send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                return {"type": "http.disconnect"}
            return message

        await self._app(scope, bounded, send)
