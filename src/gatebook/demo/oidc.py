"""DEMO ONLY: logging in at the demonstration's provider for people: authorization code with PKCE, and a page of buttons instead of passwords.

It is an OpenID provider as far as Gatebook needs one, for one client that holds no secret. Codes live in memory, for a minute, once.
"""

import base64
import hashlib
import hmac
import html
import secrets
import time
from typing import Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from gatebook.demo.people import CLIENT_ID, PEOPLE, person_claims

CODE_S: Final = 60.0
_KEPT: Final = (
    "client_id",
    "redirect_uri",
    "response_type",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
)

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo provider: who are you?</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 28rem; margin: 3rem auto; padding: 0 1rem; }}
button {{ display: block; width: 100%; min-height: 44px; margin: .75rem 0; padding: .5rem 1rem; font: inherit; text-align: left; }}
.demo {{ padding: .5rem .75rem; border: 2px dashed #b45309; }}
</style></head><body>
<p class="demo"><strong>DEMONSTRATION ONLY.</strong> This provider asks for no password and believes whatever you press.</p>
<h1>Who are you?</h1>
<form method="post" action="authorize">
{fields}
{buttons}
</form></body></html>"""


class _Code(msgspec.Struct, frozen=True):
    person: str
    redirect_uri: str
    nonce: str
    challenge: str
    expires_at: float


class CodeFlow:
    """The two halves of a login: the page (`authorize`) and the exchange (`redeem`). `redirect_uri`: the only place to return to."""

    def __init__(self, issuer: str, redirect_uri: str) -> None:
        self._issuer = issuer
        self._redirect_uri = redirect_uri
        self._codes: dict[str, _Code] = {}

    async def authorize(self, request: Request) -> Response:
        """GET: the page. POST: whoever's button was pressed is sent back with a code."""
        form = await request.form() if request.method == "POST" else request.query_params
        asked = {name: str(form[name]) for name in _KEPT if name in form}
        wanted = {
            "client_id": CLIENT_ID,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "code_challenge_method": "S256",
        }
        if any(asked.get(name) != value for name, value in wanted.items()) or not asked.get("code_challenge"):
            return HTMLResponse("<p>DEMO ONLY: this request did not come from the demonstration's Gatebook.", 400)
        if request.method == "GET":
            return self._page(asked)
        person = str(form.get("person", ""))
        if person not in PEOPLE:
            return HTMLResponse("<p>DEMO ONLY: there is no such person here.", 400)
        code = secrets.token_urlsafe(32)
        expires_at = time.monotonic() + CODE_S
        self._codes[code] = _Code(
            person, self._redirect_uri, asked.get("nonce", ""), asked["code_challenge"], expires_at
        )
        answer = {"code": code, "state": asked.get("state", ""), "iss": self._issuer}
        return RedirectResponse(f"{self._redirect_uri}?{urlencode(answer)}", 303)

    def redeem(self, form: dict[str, str]) -> dict[str, object] | JSONResponse:
        """The claims of the ID token that `form` (RFC 6749 §4.1.3) is to be given, or the refusal."""
        code = self._codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if (
            code is None
            or time.monotonic() > code.expires_at
            or (form.get("client_id"), form.get("redirect_uri")) != (CLIENT_ID, code.redirect_uri)
            or not hmac.compare_digest(challenge, code.challenge)
        ):
            return JSONResponse({"error": "invalid_grant"}, 400, {"Cache-Control": "no-store"})
        claims = person_claims(PEOPLE[code.person], agent=CLIENT_ID, now=int(time.time()))
        return {**claims, "nonce": code.nonce}

    def _page(self, asked: dict[str, str]) -> Response:
        fields = "\n".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in asked.items()
        )
        buttons = "\n".join(
            f'<button name="person" value="{name}">{html.escape(person.name)}</button>'
            for name, person in PEOPLE.items()
        )
        # No form-action: browsers hold every redirect after a form to it, and where consent was given before they lead on to the client.
        policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(_PAGE.format(fields=fields, buttons=buttons), headers=headers)
