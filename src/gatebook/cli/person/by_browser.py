"""A login in the person's browser: authorization code, PKCE with S256, and a redirect to a port of this machine (RFC 8252 §7.3).

Over SSH the port can be forwarded (`--port`). There is no way to paste a code: whoever can talk a person into pasting one has logged in as that person.
"""

import base64
import hashlib
import os
import secrets
import sys
import time
import webbrowser
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from gatebook.cli.person.asking import ask
from gatebook.cli.person.discovery import Desk
from gatebook.cli.person.errors import PersonError, Refused, Unreachable
from gatebook.cli.person.listening import listening
from gatebook.cli.person.logins import Given
from gatebook.federation.own_client import API_SERVER, COMMAND_LINE


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How the browser is brought to the desk. `port`: to listen on, 0 for any; `opens`: open a browser, or only say where to go;
    `fresh`: no login that is there already will do, and the new one must be by several factors."""

    opens: bool = True
    fresh: bool = False
    port: int = 0
    say: Callable[[str], None]
    now: Callable[[], float] = time.time


def log_in(desk: Desk, resource: str, way: Way) -> Given:
    """What the desk gives for `resource` to the person who logs in. Raises PersonError, Refused, Unreachable."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with listening("127.0.0.1", way.port, "/callback") as listener:
        redirect = f"http://127.0.0.1:{listener.server_port}/callback"
        asked = {
            "response_type": "code", "client_id": COMMAND_LINE.client_id, "redirect_uri": redirect, "resource": resource,
            "state": state, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        if way.fresh:
            name = API_SERVER if resource == desk.api else resource.split("/")[-2]  # …/NAME/mcp
            asked |= {"prompt": "login", "scope": f"mcp:{name} mcp:{name}:mfa"}
        url = f"{desk.authorize}?{urlencode(asked)}"
        way.say(f"Log in with your browser: {url}")
        if way.opens and can_open():
            webbrowser.open(url)
        answer = listener.await_answer(state)
    if answer.get("iss") != desk.url:
        raise Refused("the answer came from another desk than was asked; nothing was sent to it")
    if "code" not in answer:
        words = "".join(each for each in answer.get("error_description", "") if each.isprintable())[:200]
        raise Refused(f"the desk did not log you in: {words or answer.get('error', 'no code')[:60]}")
    return redeem(
        desk,
        {
            "grant_type": "authorization_code", "code": answer["code"], "redirect_uri": redirect, "code_verifier": verifier,
            "client_id": COMMAND_LINE.client_id,
        },
        way.now(),
    )  # fmt: skip


def redeem(desk: Desk, form: dict[str, str], now_s: float) -> Given:
    """What the token endpoint gives for `form`. Raises Refused, Unreachable."""
    answer = ask("POST", desk.token, form=form)
    if answer.status != 200:
        raise token_refused(desk.url, answer.status, answer.document)
    access, lifetime = answer.document.get("access_token"), answer.document.get("expires_in")
    if not isinstance(access, str) or not isinstance(lifetime, int | float):
        raise Unreachable(f"{desk.url} gave no token that can be read")
    refresh = answer.document.get("refresh_token")
    return Given(
        desk=desk.url,
        client_id=form.get("client_id", ""),
        access_token=access,
        expires_at=now_s + float(lifetime),
        refresh_token=refresh if isinstance(refresh, str) else None,
    )


def token_refused(desk: str, status: int, document: dict[str, Any]) -> PersonError:
    """What a refusal of the token endpoint means."""
    error, words = str(document.get("error", ""))[:60], str(document.get("error_description", ""))[:200]
    if status >= 500 or not error:
        return Unreachable(f"{desk} cannot give tokens at the moment ({status}); try again")
    said = "".join(each for each in f"{error}: {words}" if each.isprintable())
    return Refused(f"{desk} gave no token: {said}", error)


def can_open() -> bool:
    """Whether a browser would open where the person is: not on a machine that is reached by SSH, and not without a screen."""
    if any(name in os.environ for name in ("SSH_CONNECTION", "SSH_TTY")):
        return False
    return sys.platform == "darwin" or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
