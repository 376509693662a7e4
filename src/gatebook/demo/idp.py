"""DEMO ONLY: two identity providers that believe everything they are told.

    python -m gatebook.demo.idp --port 9002 --redirect-uri http://127.0.0.1:8081/login/oidc/people/callback

One process, two issuers: `http://127.0.0.1:PORT/people` (ES256, tokens for people) and `http://127.0.0.1:PORT/ci` (RS256, tokens with
the claims of GitHub Actions). Each has discovery, a JWK set and a token endpoint; at the first, people also log in with a browser
(`oidc`), for Gatebook as its client. **Nothing here needs a password**. Hence it listens on
127.0.0.1 alone and answers only to that name (a web page that got its own name to resolve here would otherwise fetch tokens).
Keys are made at start and never stored: a restart makes every earlier token worthless.
"""

import argparse
import secrets
import time
from typing import Final

import uvicorn
from joserfc import jwk, jwt
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gatebook.demo.oidc import CodeFlow
from gatebook.demo.people import CLIENT_ID, JOB_TOKEN_S, JOBS, PEOPLE, PERSON_TOKEN_S, job_claims, person_claims

ID_TOKEN_S: Final = 300
WARNING: Final = "DEMO ONLY: this provider issues tokens to anybody who asks"


class DemoIssuer:
    """One issuer with one signing key. `url` is its exact `iss`; `path` where its documents lie below the root."""

    def __init__(self, base_url: str, path: str, key: jwk.ECKey | jwk.RSAKey, algorithm: str) -> None:
        self.path = path
        self.url = base_url + path
        self._key = key
        self._algorithm = algorithm

    def discovery(self) -> dict[str, object]:
        """OpenID Connect Discovery 1.0 §3, as far as a resource server looks."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint": f"{self.url}/token",
            "authorization_endpoint": f"{self.url}/authorize",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self._algorithm],
            "grant_types_supported": ["authorization_code", "urn:example:demo:just-ask"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "demo": WARNING,
        }

    def jwks(self) -> dict[str, object]:
        public = {**self._key.as_dict(private=False), "use": "sig", "alg": self._algorithm, "kid": self._key.kid}
        return {"keys": [public]}

    def token(self, claims: dict[str, object], *, audience: str, lifetime_s: int) -> str:
        """A signed JWT (typ JWT) with `claims`, for `audience`, valid from now for `lifetime_s` seconds."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + lifetime_s}
        whole = {"iss": self.url, "aud": audience, "jti": secrets.token_hex(16), **times, **claims}
        header = {"typ": "JWT", "alg": self._algorithm, "kid": self._key.kid}
        return jwt.encode(header, whole, self._key, algorithms=[self._algorithm])


def application(port: int, redirect_uri: str) -> Starlette:
    """Both issuers as one ASGI application, with fresh keys. `redirect_uri`: where logins for Gatebook return to."""
    base_url = f"http://127.0.0.1:{port}"
    people = DemoIssuer(base_url, "/people", jwk.ECKey.generate_key("P-256", auto_kid=True), "ES256")
    ci = DemoIssuer(base_url, "/ci", jwk.RSAKey.generate_key(2048, auto_kid=True), "RS256")

    flow = CodeFlow(people.url, redirect_uri)

    async def person_token(request: Request) -> Response:
        asked = await _parameters(request)
        if asked.get("grant_type") == "authorization_code":
            redeemed = flow.redeem(asked)
            if isinstance(redeemed, Response):
                return redeemed
            id_token = people.token(redeemed, audience=CLIENT_ID, lifetime_s=ID_TOKEN_S)
            body = {
                "id_token": id_token,
                "access_token": secrets.token_urlsafe(16),
                "token_type": "Bearer",
                "demo": WARNING,
            }
            return JSONResponse(body, headers={"Cache-Control": "no-store"})
        person = PEOPLE.get(asked.get("person", ""))
        if person is None or "audience" not in asked:
            return _explain(
                f"give person=({'|'.join(PEOPLE)}) and audience=URL of the MCP server as Gatebook serves it"
            )
        claims = person_claims(person, agent=asked.get("agent", "demo-client"), now=int(time.time()))
        claims["sid"] = asked.get("sid", secrets.token_hex(8))
        return _issued(
            people.token(claims, audience=asked["audience"], lifetime_s=PERSON_TOKEN_S), PERSON_TOKEN_S, asked
        )

    async def job_token(request: Request) -> Response:
        asked = await _parameters(request)
        job = JOBS.get(asked.get("job", ""))
        if job is None or "audience" not in asked:
            return _explain(f"give job=({'|'.join(JOBS)}) and audience=URL of the MCP server as Gatebook serves it")
        claims = job_claims(job, run_id=asked.get("run_id", str(9_000_000_000 + secrets.randbelow(10**9))))
        return _issued(ci.token(claims, audience=asked["audience"], lifetime_s=JOB_TOKEN_S), JOB_TOKEN_S, asked)

    return Starlette(
        routes=[
            *_documents(people),
            *_documents(ci),
            Route("/people/authorize", flow.authorize, methods=["GET", "POST"]),
            Route("/people/token", person_token, methods=["GET", "POST"]),
            Route("/ci/token", job_token, methods=["GET", "POST"]),
            Route("/healthz", _healthz),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"])],
    )


def _documents(issuer: DemoIssuer) -> list[Route]:
    async def discovery(_request: Request) -> JSONResponse:
        return JSONResponse(issuer.discovery())

    async def jwks(_request: Request) -> JSONResponse:
        return JSONResponse(issuer.jwks())

    return [
        Route(f"{issuer.path}/.well-known/openid-configuration", discovery),
        Route(f"{issuer.path}/jwks", jwks),
    ]


async def _parameters(request: Request) -> dict[str, str]:
    """Query parameters, and those of a form where one was posted."""
    given = dict(request.query_params)
    if request.method == "POST":
        given.update({name: value for name, value in (await request.form()).items() if isinstance(value, str)})
    return given


async def _healthz(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "demo": WARNING})


def _issued(token: str, lifetime_s: int, asked: dict[str, str]) -> Response:
    """A token response (RFC 6749 §5.1), or the bare token where `format=text` was asked for: handy in a shell."""
    if asked.get("format") == "text":
        return PlainTextResponse(token, headers={"Cache-Control": "no-store"})
    body = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime_s, "demo": WARNING}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


def _explain(words: str) -> JSONResponse:
    return JSONResponse({"error": "invalid_request", "error_description": words}, status_code=400)


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m gatebook.demo.idp", description=WARNING)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--redirect-uri", required=True, help="where people who log in for Gatebook return to")
    given = parser.parse_args()
    port: int = given.port
    uvicorn.run(
        application(port, given.redirect_uri),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
