"""The lines that point a client at the demonstration: what is printed is data, in the shape that each client reads."""

import itertools
import json
import shlex

from gatebook.demo import clients

URL = "http://127.0.0.1:8080/payments/mcp"
TOKEN = "eyJ.eyJ.sig-_"


def test_claude_code_gets_one_command_with_the_header() -> None:
    words = shlex.split(clients.claude_code(URL, TOKEN).text)
    assert words[:3] == ["claude", "mcp", "add"]
    assert words[words.index("--transport") + 1] == "http"
    assert words[words.index("--header") + 1] == f"Authorization: Bearer {TOKEN}"
    assert URL in words


def test_vs_code_gets_servers_with_a_type() -> None:
    instruction = clients.vs_code(URL, TOKEN)
    server = json.loads(instruction.text)["servers"]["payments"]
    assert instruction.where == ".vscode/mcp.json"
    assert server == {"type": "http", "url": URL, "headers": {"Authorization": f"Bearer {TOKEN}"}}


def test_cursor_gets_mcp_servers_without_one() -> None:
    instruction = clients.cursor(URL, TOKEN)
    server = json.loads(instruction.text)["mcpServers"]["payments"]
    assert instruction.where == ".cursor/mcp.json"
    assert server == {"url": URL, "headers": {"Authorization": f"Bearer {TOKEN}"}}


def test_the_inspector_lists_tools_without_a_window() -> None:
    words = shlex.split(clients.inspector(URL, TOKEN).text)
    assert "--cli" in words
    assert words[words.index("--method") + 1] == "tools/list"


def test_every_client_is_named_once() -> None:
    named = [instruction.client for instruction in clients.instructions(URL, TOKEN)]
    assert named == ["Claude Code", "VS Code", "Cursor", "MCP Inspector"]


def test_the_call_to_try_is_one_line_and_its_headers_mirror_its_body() -> None:
    line = clients.curl_call(URL, "http://127.0.0.1:9002/people/token?person=alice&audience=x&format=text")
    assert "\n" not in line
    words = shlex.split(line)
    message = json.loads(words[words.index("-d") + 1])
    headers = dict(word.split(": ", 1) for before, word in itertools.pairwise(words) if before == "-H")
    assert headers["Mcp-Method"] == message["method"]
    assert headers["Mcp-Name"] == message["params"]["name"]
    assert headers["MCP-Protocol-Version"] == message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]
