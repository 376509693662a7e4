"""The login by SAML in real Chromium: two sites, its own rules for cookies, the shipped policy, no script of ours."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.nodejs import node, node_environment
from tests.e2e.saml.conftest import SamlPlace
from tests.e2e.saml.simplesaml import missing

INSTALL = "apt-get install chromium"
SCRIPT = Path(__file__).with_name("chromium.mjs")
WHY = missing() or (None if shutil.which("chromium") else f"chromium is not installed: {INSTALL}")
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.skipif(WHY is not None, reason=WHY or "")]


@pytest.fixture
def came() -> Iterator[tuple[str, list[str]]]:
    """Where the client waits for its code, and the requests that came there."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/callback", paths
    server.shutdown()
    server.server_close()


def test_a_person_logs_in_with_chromium(ground: SamlPlace, came: tuple[str, list[str]], tmp_path: Path) -> None:
    ground.introduce()
    redirect, paths = came
    url = ground.here.request(redirect_uri=redirect, verifier="v" * 64)
    command = [str(node()), str(SCRIPT), url, "alice", str(tmp_path), redirect]
    done = subprocess.run(command, env=node_environment(), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["page"].startswith(redirect), found
    acs, finish = (step(found, f"{ground.here.issuer}/login/saml/{name}") for name in ("sso/acs", "finish"))
    assert (acs["method"], finish["method"]) == ("POST", "GET")
    assert acs["cookies"] == [], "a post from another site brings no cookie"
    assert "gatebook-login" in finish["cookies"], "and the redirect after it does"
    assert not [text for text in found["complaints"] if "Content Security Policy" in text], found["complaints"]
    assert [(shot["width"], shot["scrolls"], shot["styled"]) for shot in found["shots"]] == [
        (390, False, True),
        (1440, False, True),
    ]
    [code] = [parse_qs(urlsplit(path).query)["code"][0] for path in paths if path.startswith("/callback")]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": "v" * 64}
    tokens = ground.here.token(**form).json()
    assert ground.here.call(tokens["access_token"]) == 200


def step(found: dict[str, Any], url: str) -> dict[str, Any]:
    [one] = [each for each in found["asked"] if each["url"] == url]
    return dict(one)
