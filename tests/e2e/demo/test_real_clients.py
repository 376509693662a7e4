"""The demonstration driven by real MCP clients, by copying what it prints."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import nodejs
from tests.e2e.browser import CHROMIUM, arrive, ask, press, tab_to, walk
from tests.e2e.browser import HOW_TO_INSTALL as HOW_TO_INSTALL_CHROMIUM
from tests.e2e.clients import logins, visits
from tests.e2e.clients.pressing import PressingBrowser
from tests.e2e.demo.running import RunningDemo, running_demo

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not nodejs.npm_packages_installed(), reason=nodejs.HOW_TO_INSTALL),
]

CLAUDE_CODE = "https://claude.ai/oauth/claude-code-client-metadata"
PAN = "4111111111111111"  # Visa's published test number


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    with running_demo(tmp_path_factory.mktemp("clients") / "demo") as demo:
        yield demo


def printed(demo: RunningDemo, client: str) -> str:
    """What the demonstration prints for `client`, to the letter."""
    (found,) = [each for each in demo.introduction["clients"] if each["client"] == client]
    return str(found["text"])


def url_of(demo: RunningDemo) -> str:
    """What the demonstration prints for VS Code: a URL, and nothing else."""
    server: dict[str, Any] = json.loads(printed(demo, "VS Code"))["servers"]["payments"]
    assert set(server) == {"type", "url"}
    return str(server["url"])


def pasted(demo: RunningDemo) -> tuple[str, str]:
    """URL and token out of the block for clients without a browser."""
    server: dict[str, Any] = json.loads(demo.introduction["header"]["text"])["servers"]["payments"]
    scheme, _, token = server["headers"]["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return server["url"], token


def test_every_printed_configuration_names_the_same_server_and_no_secret(demo: RunningDemo) -> None:
    url = url_of(demo)
    for instruction in demo.introduction["clients"]:
        assert url in instruction["text"]
        assert "Authorization" not in instruction["text"]


@pytest.mark.parametrize("visit", [logins.typescript_v2, logins.typescript_v1])
def test_a_typescript_client_logs_in_with_nothing_pasted(demo: RunningDemo, visit: Any) -> None:
    with PressingBrowser(person="alice", answer="allow") as browser:
        seen = visit(url_of(demo), browser.visit, "get_customer", customer_id="cus_1001")
    assert seen.error is None
    assert "get_customer" in seen.tools and "delete_customer" not in seen.tools
    assert "******" in seen.text and PAN not in json.dumps(seen.result)
    assert browser.pressed == ["person", "answer"]


@pytest.mark.skipif(not CHROMIUM, reason=HOW_TO_INSTALL_CHROMIUM)
def test_a_person_presses_the_buttons_in_chromium_and_the_second_time_one_less(demo: RunningDemo) -> None:
    """The second time the provider's form leads to the client without a page of ours in between: no page's policy may stand in the way."""
    steps = {
        "first": (tab_to("Alice"), press("Enter"), arrive(f"{demo.introduction['desk']}/consent"), tab_to("Allow"), press("Enter")),
        "second": (tab_to("Alice"), press("Enter")),
    }  # fmt: skip
    for time in ("first", "second"):

        def browse(url: str, stop_at: str | None, time: str = time) -> str:
            assert stop_at is not None
            walked = walk(url, *steps[time], ask(stop_at))
            assert not [line for line in walked.violations if "Content Security Policy" in line]
            return next(request for request in walked.requests if request.startswith(stop_at))

        seen = logins.typescript_v2(url_of(demo), browse, "get_order", client_id=CLAUDE_CODE, order_id="ord_5001")
        assert seen.error is None and "ord_5001" in seen.text


def test_who_holds_no_role_logs_in_and_is_not_permitted(demo: RunningDemo) -> None:
    with PressingBrowser(person="mallory", answer="allow") as browser:
        seen = logins.typescript_v2(url_of(demo), browser.visit, "get_customer", customer_id="cus_1001")
    assert seen.error is not None and "ot permitted" in seen.error.message


def test_mcp_remote_logs_in_by_the_printed_configuration(demo: RunningDemo, tmp_path: Path) -> None:
    server = json.loads(printed(demo, "mcp-remote"))["mcpServers"]["payments"]
    assert (server["command"], server["args"][0]) == ("npx", "mcp-remote")
    with PressingBrowser(person="alice", answer="allow") as browser:
        text = logins.mcp_remote(
            server["args"][1:], browser.visit, "get_customer", {"customer_id": "cus_1001"}, home=tmp_path
        )
    assert "******" in text and PAN not in text
    assert browser.pressed == ["person", "answer"]


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


def test_the_inspector_logs_in_by_the_printed_command(demo: RunningDemo, tmp_path: Path) -> None:
    words = shlex.split(printed(demo, "MCP Inspector"))
    assert words[:3] == ["npx", "@modelcontextprotocol/inspector", "--cli"]
    # npx would fetch what is installed already; everything behind it is the printed line.
    with PressingBrowser(person="alice", answer="allow") as browser:
        done = logins.inspector(words[2:], browser.visit, home=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {tool["name"] for tool in json.loads(done.stdout)["tools"]}
    assert "get_customer" in names and "delete_customer" not in names
    assert browser.pressed == ["person", "answer"]
