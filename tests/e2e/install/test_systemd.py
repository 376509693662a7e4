"""The unit under a real systemd, installed by the lines of docs/howto/install.md: it starts, is called, killed, reloaded and stopped."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.e2e.gate import ISSUER_URL, token
from tests.e2e.install.machine import Machine, can_be_made, machine
from tests.e2e.life.deployed import call, until
from tests.issuing import Issuer

WHY_NOT = can_be_made()
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(900),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]
URL = "http://127.0.0.1:8080"
CONFIG = "/etc/gatebook/gatebook.toml"
ALLOWED = 'allow = [{ server = "payments", tools = ["**"] }]'
GRANTS = f"""
[[issuer]]
name = "corp"
url = "{ISSUER_URL}"
kind = "person"
jwks_file = "jwks.json"

[[server]]
name = "payments"
url = "http://127.0.0.1:9000/mcp"
credential = {{ header = "X-Key", value = "{{secret}}", secret = "credential:payments" }}

[[role]]
name = "support"
match = [{{ issuer = "corp", group = "everybody" }}]
{ALLOWED}
"""
UPSTREAM = """
import http.server, json
class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = f"called with {self.headers['x-key']}"
        answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {"content": [{"type": "text", "text": said}]}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Server).serve_forever()
"""
CLIENT = """
import sys, urllib.error, urllib.request
url, token, body = sys.argv[1:]
headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", "authorization": f"Bearer {token}",
           "mcp-protocol-version": "2025-11-25"}
try:
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=20) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as refused:
    print(refused.status, refused.read().decode())
except OSError as failure:
    print(0, failure)
"""


@pytest.fixture(scope="module")
def here(open_folder: Path, wheels: Path) -> Iterator[Machine]:
    """Gatebook installed and configured there, and not started."""
    place = open_folder / "machine"
    place.mkdir()
    with machine(place) as made:
        program = "from pathlib import Path; from tests.e2e.install.installing import install; "
        program += f"install(Path('/opt/gatebook/0.1.0'), Path({str(wheels)!r}), ['gatebook'])"
        made.run(sys.executable, "-c", program, PYTHONPATH=str(ROOT))
        made.run("ln", "-sfn", "0.1.0", "/opt/gatebook/current")
        made.run("ln", "-sf", "/opt/gatebook/current/bin/gatebook", "/usr/local/bin/gatebook")
        made.run("gatebook", "units", "--directory", "/etc")
        made.run("systemd-sysusers", "/etc/sysusers.d/gatebook.conf")
        made.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/gatebook.conf")
        made.run(
            *("gatebook", "init", "/etc/gatebook", "--data-dir", "/var/lib/gatebook", "--users", "--profile", "dev"),
            *("--origin", "machine.example/test", "--public-url", URL),
        )
        yield made


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer(ISSUER_URL, name="corp")


def asked(here: Machine, issuer: Issuer, tool: str = "refund") -> tuple[int, str]:
    """A call from inside: status, and what came."""
    access = token(issuer, f"{URL}/payments/mcp")
    said = here.run("/usr/bin/python3", "-c", CLIENT, f"{URL}/payments/mcp", access, call(tool, "k").decode()).stdout
    status, _, body = said.partition(" ")
    return int(status), body


def shown(here: Machine, name: str) -> str:
    return here.run("systemctl", "show", "--value", "--property", name, "gatebook").stdout.strip()


def journal(here: Machine) -> str:
    return here.run("journalctl", "--unit", "gatebook", "--no-pager", "--output", "cat").stdout[-4000:]


def test_the_unit_lives_under_systemd(here: Machine, issuer: Issuer) -> None:
    written = here.read(CONFIG)
    here.write(CONFIG, written + GRANTS)
    here.write("/etc/gatebook/jwks.json", json.dumps(issuer.jwks()))
    here.run("mkdir", "-p", "/etc/gatebook/secrets", "/etc/systemd/system/gatebook.service.d")
    here.write("/etc/gatebook/secrets/payments", "k-of-the-server\n")
    here.run("chmod", "0400", "/etc/gatebook/secrets/payments")
    here.write(
        "/etc/systemd/system/gatebook.service.d/override.conf",
        "[Service]\nLoadCredential=payments:/etc/gatebook/secrets/payments\n",
    )
    here.write("/srv/upstream.py", UPSTREAM)
    here.run("systemd-run", "--quiet", "--unit=upstream", "/usr/bin/python3", "/srv/upstream.py")

    here.run("gatebook", "layout", "--config", CONFIG)
    here.run("systemctl", "daemon-reload")
    here.run("systemctl", "enable", "--now", "gatebook")
    assert shown(here, "ActiveState") == "active", journal(here)
    status, body = asked(here, issuer)
    assert (status, "called with [secret redacted]" in body) == (200, True), body + journal(here)

    # Each room is who it shall be, and the sandbox is there.
    supervisor = shown(here, "MainPID")
    of_supervisor = here.read(f"/proc/{supervisor}/status")
    assert "NoNewPrivs:\t1" in of_supervisor
    for user in ("gatebook-gate", "gatebook-sealer", "gatebook-desk"):
        assert here.run("pgrep", "-u", user).stdout.split()
    key = "/var/lib/gatebook/keys/log.skey"
    assert here.run("runuser", "-u", "gatebook-sealer", "--", "cat", key, check=False).returncode == 0
    for user in ("gatebook", "gatebook-gate", "gatebook-desk", "gatebook-runner"):
        assert here.run("runuser", "-u", user, "--", "cat", key, check=False).returncode != 0
    mounts = here.read(f"/proc/{supervisor}/mounts").splitlines()
    [options] = [line.split()[3] for line in mounts if line.split()[1] == "/"][-1:]
    assert options.split(",")[0] == "ro"

    # Killed, it comes back by itself, and the record has no gap.
    killed_s = time.monotonic()
    here.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "gatebook")
    until(lambda: shown(here, "NRestarts") == "1", "started again", 60)
    until(lambda: asked(here, issuer)[0] == 200, "a call is answered again", 60)
    print(f"back {time.monotonic() - killed_s:.1f} s after SIGKILL of the supervisor")
    assert shown(here, "MainPID") != supervisor

    # A reload takes a right away, and fails no more than that.
    here.write(CONFIG, (written + GRANTS).replace('tools = ["**"]', 'tools = ["get_*"]'))
    here.run("systemctl", "reload", "gatebook")
    until(lambda: "denied" in asked(here, issuer)[1], "the reload is in force")
    assert asked(here, issuer, "get_order")[0] == 200

    here.run("systemctl", "stop", "gatebook")
    assert (shown(here, "Result"), shown(here, "ActiveState")) == ("success", "inactive")
    verdict = here.run("gatebook", "verify", "/var/lib/gatebook", "--key", "/var/lib/gatebook/log.vkey")
    assert "INTACT" in verdict.stdout
