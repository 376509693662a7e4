"""`gatebook connect` in the hands of the real Python SDK's stdio client: through the gate to a real MCP server, past the end of a token."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from tests.e2e.desk import Place, place
from tests.e2e.desk.command_line import Shell, follow
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

LATER = Path(__file__).with_name("connect_later.py")
ROOT = Path(__file__).parents[3]
REAL_S = 20 * 60


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("connect")) as here:
        yield here


@pytest.fixture
def shell(here: Place, tmp_path: Path) -> Shell:
    """Of a person who has a token for payments."""
    shell = Shell(here, tmp_path, here.browser(Person(sub=f"00u5{tmp_path.name[-12:]}", groups=("support",))))
    shell.log_in()
    shell.type_and_log_in("token", "payments")
    return shell


def by_command(shell: Shell, server: str = "payments", *options: str) -> StdioServerParameters:
    arguments = ["-m", "gatebook", "connect", shell.here.gate.url(server), "--no-browser", *options]
    return StdioServerParameters(command=sys.executable, args=arguments, env=shell.environment, cwd=shell.home)


def later(shell: Shell, *more: str) -> tuple[StdioServerParameters, Path]:
    """The same with a clock that a file moves."""
    offset = shell.home / "offset"
    offset.write_text("0")
    arguments = [str(LATER), str(offset), shell.here.gate.url("payments"), *more]
    environment = {**shell.environment, "PYTHONPATH": str(ROOT / "src")}
    return StdioServerParameters(command=sys.executable, args=arguments, env=environment, cwd=shell.home), offset


def issued_to(shell: Shell) -> list[dict[str, Any]]:
    return [
        entry["x"]
        for entry in shell.here.entries()
        if entry["ev"] == "token.issued"
        and entry["who"]["sub"] == shell.browser.person.sub
        and entry["res"]["server"] == "payments"
    ]


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_a_stdio_client_calls_a_tool_through_the_gate(shell: Shell, mode: str) -> None:
    async with Client(stdio_client(by_command(shell)), mode=mode) as client:
        tools = await client.list_tools()
        assert "get_order" in {tool.name for tool in tools.tools}
        results = await asyncio.gather(
            *(client.call_tool("get_order", {"order_id": f"ord_500{number}"}) for number in range(1, 6))
        )
    for number, result in enumerate(results, 1):
        assert f"ord_500{number}" in result.model_dump_json()
    calls = [
        entry
        for entry in shell.here.entries()
        if entry["ev"] == "call.intent" and entry["who"]["sub"] == shell.browser.person.sub
    ]
    named = [entry for entry in calls if entry["res"].get("name") == "get_order"]
    assert len(named) == 5
    assert {entry["who"]["agent"] for entry in named} == {"gatebook-cli"}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_it_outlives_its_first_token_and_asks_nobody(shell: Shell, mode: str) -> None:
    server, offset = later(shell)
    first = json.loads(shell.logins.read_text())["given"][shell.here.resource("payments")]
    async with Client(stdio_client(server), mode=mode) as client:
        await client.call_tool("get_order", {"order_id": "ord_5001"})
        assert [each["how"] for each in issued_to(shell)] == ["code"]
        offset.write_text("280")  # 20 s before the first token ends
        result = await client.call_tool("get_order", {"order_id": "ord_5002"})
        assert "ord_5002" in result.model_dump_json()
        offset.write_text("1200")  # 20 minutes later: several tokens have ended
        await client.call_tool("get_order", {"order_id": "ord_5003"})
    assert [each["how"] for each in issued_to(shell)] == ["code", "refresh", "refresh"]
    now = json.loads(shell.logins.read_text())["given"][shell.here.resource("payments")]
    assert now["access_token"] != first["access_token"] and now["refresh_token"] != first["refresh_token"]


async def test_a_token_that_the_gate_refuses_is_renewed_once_and_the_call_made_once(shell: Shell) -> None:
    """As after a change of the desk's key or of this machine's clock: what is kept looks good, and is not."""
    logins = json.loads(shell.logins.read_text())
    given = logins["given"][shell.here.resource("payments")]
    given["access_token"] = given["access_token"][:-8] + "AAAAAAAA"
    shell.logins.write_text(json.dumps(logins))
    async with Client(stdio_client(by_command(shell)), mode="2026-07-28") as client:
        await client.call_tool("get_order", {"order_id": "ord_5001"})
    assert [each["how"] for each in issued_to(shell)] == ["code", "refresh"]


async def test_a_denial_of_the_gate_comes_to_the_client_as_it_is(shell: Shell) -> None:
    async with Client(stdio_client(by_command(shell)), mode="legacy") as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("refund_order", {"order_id": "ord_5001"})
    assert refused.value.error.data["reason"] == "denied"


class Typed:
    """`gatebook connect` driven line by line."""

    def __init__(self, shell: Shell, *options: str, server: str = "payments") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gatebook", "connect", shell.here.gate.url(server), "--no-browser", *options],
            cwd=shell.home,
            env=shell.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def say(self, message: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self) -> tuple[str, str]:
        """Standard output and error after the client has closed its end."""
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return out, err


def modern(number: int, method: str, **params: object) -> dict[str, object]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": meta}}


def test_the_first_time_the_person_is_sent_to_the_browser(here: Place, tmp_path: Path) -> None:
    shell = Shell(here, tmp_path, here.browser(Person(sub="00u5first", groups=("support",))))
    typed = Typed(shell)
    typed.say(modern(1, "tools/call", name="get_order", arguments={"order_id": "ord_5001"}))
    follow(typed.process, shell.browser)
    assert "ord_5001" in json.dumps(typed.hear()["result"])
    typed.end()
    assert shell.browser.logins == 1
    assert json.loads(shell.logins.read_text())["given"].keys() == {here.resource("payments")}


def test_what_goes_wrong_is_an_error_of_json_rpc_that_says_what_to_do(shell: Shell) -> None:
    typed = Typed(shell)
    typed.say("not json")
    assert typed.hear()["error"]["code"] == -32700
    typed.say([modern(1, "ping")])
    assert "Batches" in typed.hear()["error"]["message"]
    typed.say(modern(2, "no/such"))
    assert typed.hear()["error"]["code"] == -32601
    typed.say({**modern(3, "tools/call", name="refund_order", arguments={})})
    refused = typed.hear()
    assert (refused["id"], refused["error"]["data"]["reason"]) == (3, "denied")
    out, _ = typed.end()
    assert out == ""


def test_a_gate_that_is_gone_and_a_token_that_is_none_are_told(here: Place, shell: Shell) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "gatebook", "connect", "http://127.0.0.1:9/payments/mcp", "--token", "SOME_TOKEN"],
        input=json.dumps(modern(7, "ping")) + "\n",
        env={**shell.environment, "SOME_TOKEN": "x"},
        cwd=shell.home,
        capture_output=True,
        text=True,
        timeout=30,
    )
    answer = json.loads(process.stdout)
    assert (answer["id"], answer["error"]["data"]["reason"]) == (7, "unreachable")
    clear = subprocess.run(
        [sys.executable, "-m", "gatebook", "connect", "http://gate.example.com/payments/mcp"],
        env=shell.environment, cwd=shell.home, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert clear.returncode == 1 and "not https" in clear.stderr


def test_a_token_from_a_variable_is_used_as_it_is(here: Place, shell: Shell) -> None:
    token = shell.type("token", "payments").stdout.strip()
    for given, reason in ((token, None), ("x" + token, "not_logged_in"), ("", "not_logged_in")):
        process = subprocess.run(
            [sys.executable, "-m", "gatebook", "connect", here.gate.url("payments"), "--token", "SOME_TOKEN"],
            input=json.dumps(modern(1, "tools/call", name="get_order", arguments={"order_id": "ord_5001"})) + "\n",
            env={**shell.environment, "SOME_TOKEN": given},
            cwd=shell.home,
            capture_output=True,
            text=True,
            timeout=30,
        )
        answer = json.loads(process.stdout)
        if reason is None:
            assert "ord_5001" in json.dumps(answer["result"])
        else:
            assert answer["error"]["data"]["reason"] == reason
        assert not given or given not in process.stderr


def test_names_that_no_header_may_hold_are_wrapped_for_the_gate(shell: Shell) -> None:
    """The gate compares header and body: a wrong header would be a mismatch (-32020) and no denial."""
    typed = Typed(shell)
    for number, name in enumerate(("größe", " padded ", "=?base64?eA==?=", "tab\there"), 1):
        typed.say(modern(number, "tools/call", name=name, arguments={}))
        assert typed.hear()["error"]["data"]["reason"] == "denied", name
    typed.end()


def test_a_session_ends_when_the_client_closes_its_end(shell: Shell) -> None:
    typed = Typed(shell)
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    typed.say({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    assert typed.hear()["result"]["protocolVersion"] == "2025-06-18"
    typed.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
    typed.say(
        {
            "jsonrpc": "2.0",
            "id": "a",
            "method": "tools/call",
            "params": {"name": "get_order", "arguments": {"order_id": "ord_5001"}},
        }
    )
    assert typed.hear()["id"] == "a"
    time.sleep(0.5)
    typed.end()
    mine = [entry for entry in shell.here.entries() if entry["who"]["sub"] == shell.browser.person.sub]
    assert {"stream.open", "stream.close"} <= {entry["ev"] for entry in mine}, "the server's own stream was open"
    assert "DELETE" in json.dumps([entry["res"] for entry in mine if entry["ev"] == "message.client"])


@pytest.mark.nightly
@pytest.mark.timeout(REAL_S + 180)
async def test_twenty_real_minutes_need_one_login(shell: Shell) -> None:
    began = time.monotonic()
    async with Client(stdio_client(by_command(shell))) as client:
        while (elapsed := time.monotonic() - began) < REAL_S:
            result = await client.call_tool("get_order", {"order_id": "ord_5001"})
            assert "ord_5001" in result.model_dump_json()
            await asyncio.sleep(min(100.0, REAL_S - elapsed))
        await client.call_tool("get_order", {"order_id": "ord_5002"})
    hows = [each["how"] for each in issued_to(shell)]
    assert hows[0] == "code" and set(hows[1:]) == {"refresh"}
    assert len(hows) > REAL_S / 300, "each token lasts five minutes"
    assert shell.browser.logins == 1
