"""The lines that point a client at the demonstration: what is printed is data, in the shape that each client reads."""

import itertools
import json
import shlex

from gatebook.demo import clients

URL = "http://127.0.0.1:8080/payments/mcp"
TOKEN = "eyJ.eyJ.sig-_"


def test_claude_code_gets_one_command_with_the_url_and_nothing_else() -> None:
    words = shlex.split(clients.claude_code(URL).text)
    assert words == ["claude", "mcp", "add", "--transport", "http", "payments", URL]


def test_vs_code_gets_servers_with_a_type() -> None:
    instruction = clients.vs_code(URL)
    assert instruction.where == ".vscode/mcp.json"
    assert json.loads(instruction.text) == {"servers": {"payments": {"type": "http", "url": URL}}}


def test_cursor_gets_mcp_servers_without_one() -> None:
    instruction = clients.cursor(URL)
    assert instruction.where == ".cursor/mcp.json"
    assert json.loads(instruction.text) == {"mcpServers": {"payments": {"url": URL}}}


def test_the_inspector_lists_tools_without_a_window() -> None:
    words = shlex.split(clients.inspector(URL).text)
    assert "--cli" in words and "--header" not in words
    assert words[words.index("--method") + 1] == "tools/list"


def test_a_client_that_speaks_stdio_only_starts_mcp_remote() -> None:
    server = json.loads(clients.mcp_remote(URL).text)["mcpServers"]["payments"]
    assert (server["command"], server["args"]) == ("npx", ["mcp-remote", URL])


def test_who_has_no_browser_pastes_a_token() -> None:
    server = json.loads(clients.with_header(URL, TOKEN).text)["servers"]["payments"]
    assert server == {"type": "http", "url": URL, "headers": {"Authorization": f"Bearer {TOKEN}"}}


def test_every_client_is_named_once_and_none_is_given_a_secret() -> None:
    told = clients.instructions(URL)
    assert [each.client for each in told] == ["Claude Code", "VS Code", "Cursor", "MCP Inspector", "mcp-remote"]
    assert not any("Bearer" in each.text or "Authorization" in each.text for each in told)


def test_the_call_to_try_is_one_line_and_its_headers_mirror_its_body() -> None:
    line = clients.curl_call(URL, "http://127.0.0.1:9002/people/token?person=alice&audience=x&format=text")
    assert "\n" not in line
    words = shlex.split(line)
    message = json.loads(words[words.index("-d") + 1])
    headers = dict(word.split(": ", 1) for before, word in itertools.pairwise(words) if before == "-H")
    assert headers["Mcp-Method"] == message["method"]
    assert headers["Mcp-Name"] == message["params"]["name"]
    assert headers["MCP-Protocol-Version"] == message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]
