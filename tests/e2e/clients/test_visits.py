"""The clients work against a server without a gate, and send their token: what fails later is the gate's."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import nodejs
from tests.e2e.clients.visits import Era, Visit, inspector, python_sdk, typescript_v1, typescript_v2
from tests.e2e.conformance import everything_server as fixture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.skipif(not nodejs.npm_packages_installed(), reason=nodejs.HOW_TO_INSTALL),
    pytest.mark.skipif(not fixture.fixture_installed(), reason=fixture.HOW_TO_INSTALL),
]

CLIENTS = [python_sdk, typescript_v2, typescript_v1]
NEGOTIATIONS = [
    (python_sdk, "auto", "2026-07-28"),
    (python_sdk, "legacy", "2025-11-25"),
    (typescript_v2, "auto", "2026-07-28"),
    (typescript_v2, "legacy", "2025-11-25"),
    (typescript_v1, "auto", "2025-11-25"),
]


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fixture.everything_server(tmp_path_factory.mktemp("everything") / "server.log") as url:
        yield url


class Doorkeeper(http.server.BaseHTTPRequestHandler):
    """Refuses everybody with 401, and remembers the credentials shown."""

    shown: set[str | None] = set()  # noqa: RUF012 - one door in this module

    def do_POST(self) -> None:
        self.shown.add(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def closed_door() -> Iterator[str]:
    Doorkeeper.shown.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("client", "era", "protocol"), NEGOTIATIONS)
def test_a_client_lists_the_tools_and_calls_one(
    client: Callable[..., Visit], era: str, protocol: str, server_url: str
) -> None:
    visit = client(server_url, "any", "test_simple_text", era=era)
    assert visit.error is None
    assert visit.protocol == protocol
    assert "test_simple_text" in visit.tools
    assert visit.text == "This is a simple text response for testing."


@pytest.mark.parametrize("client", CLIENTS)
def test_arguments_reach_the_tool(client: Callable[..., Visit], server_url: str) -> None:
    visit = client(server_url, "any", "test_x_mcp_header", region="Zürich")
    assert visit.text == "region=Zürich"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_its_token_and_tells_that_it_was_refused(client: Callable[..., Visit], closed_door: str) -> None:
    visit = client(closed_door, "letmein")
    assert visit.error is not None
    assert visit.error.at == "connect"
    assert Doorkeeper.shown == {"Bearer letmein"}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_calls_a_tool(era: Era, server_url: str, tmp_path: Path) -> None:
    options = ["--tool-name", "test_simple_text", "--tool-args-json", "{}"]
    answer = inspector(server_url, "any", "tools/call", *options, home=tmp_path, era=era)
    assert answer.returncode == 0, answer.stderr
    [block] = json.loads(answer.stdout)["result"]["content"]
    assert block["text"] == "This is a simple text response for testing."


def test_the_inspector_shows_its_token_and_tells_that_it_was_refused(closed_door: str, tmp_path: Path) -> None:
    answer = inspector(closed_door, "letmein", "tools/list", home=tmp_path)
    assert json.loads(answer.stderr)["error"]["code"] == "auth_required"
    assert Doorkeeper.shown == {"Bearer letmein"}
