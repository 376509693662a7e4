"""The demonstration driven by real MCP clients, by copying what it prints."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import nodejs
from tests.e2e.clients import visits
from tests.e2e.demo.running import RunningDemo, running_demo

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not nodejs.npm_packages_installed(), reason=nodejs.HOW_TO_INSTALL),
]

PAN = "4111111111111111"  # Visa's published test number


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    with running_demo(tmp_path_factory.mktemp("clients") / "demo") as demo:
        yield demo


def printed(demo: RunningDemo, client: str) -> str:
    """What the demonstration prints for `client`, to the letter."""
    (found,) = [each for each in demo.introduction["clients"] if each["client"] == client]
    return str(found["text"])


def pasted(demo: RunningDemo) -> tuple[str, str]:
    """URL and token out of the file that the demonstration prints for VS Code."""
    server: dict[str, Any] = json.loads(printed(demo, "VS Code"))["servers"]["payments"]
    scheme, _, token = server["headers"]["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return server["url"], token


def test_every_printed_configuration_names_the_same_server_and_the_same_header(demo: RunningDemo) -> None:
    url, token = pasted(demo)
    cursor = json.loads(printed(demo, "Cursor"))["mcpServers"]["payments"]
    assert (cursor["url"], cursor["headers"]) == (url, {"Authorization": f"Bearer {token}"})
    words = shlex.split(printed(demo, "Claude Code"))
    assert words[:5] == ["claude", "mcp", "add", "--transport", "http"]
    assert url in words and f"Authorization: Bearer {token}" in words


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("visit", [visits.python_sdk, visits.typescript_v2, visits.typescript_v1])
def test_an_sdk_client_calls_a_tool_and_gets_the_card_number_masked(demo: RunningDemo, visit: Any, era: str) -> None:
    url, token = pasted(demo)
    seen = visit(url, token, "get_customer", era=era, customer_id="cus_1001")
    assert seen.error is None
    assert "get_customer" in seen.tools and "delete_customer" not in seen.tools
    assert "******" in seen.text and PAN not in json.dumps(seen.result)


@pytest.mark.parametrize("visit", [visits.python_sdk, visits.typescript_v2, visits.typescript_v1])
def test_an_sdk_client_is_told_that_a_tool_is_not_permitted(demo: RunningDemo, visit: Any) -> None:
    url, token = pasted(demo)
    seen = visit(url, token, "delete_customer", customer_id="cus_1001")
    assert seen.error is not None and seen.error.at == "call"
    assert "ot permitted" in seen.error.message


def test_the_inspector_runs_by_the_printed_command(demo: RunningDemo, tmp_path: Path) -> None:
    words = shlex.split(printed(demo, "MCP Inspector"))
    assert words[:3] == ["npx", "@modelcontextprotocol/inspector", "--cli"]
    # npx would fetch what is installed already; everything behind it is the printed line.
    command = [str(nodejs.node()), str(visits.INSPECTOR), *words[2:]]
    environment = nodejs.node_environment() | {"HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    names = {tool["name"] for tool in json.loads(done.stdout)["tools"]}
    assert "get_customer" in names and "delete_customer" not in names
