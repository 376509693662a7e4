"""How to point an MCP client at the demonstration, as data: what is printed is what the tests run.

A client is told the URL and nothing else: it finds the desk by itself, opens a browser, and somebody logs in. Only what has no browser,
such as a CI job or `curl`, is given a bearer token as a header; that is `with_header` and `curl_call`.
"""

import json
import shlex

import msgspec

PROTOCOL_VERSION = "2026-07-28"


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """`text` goes to `where`: a command line for a shell, or the whole content of a file."""

    client: str
    where: str
    text: str


def claude_code(url: str) -> Instruction:
    command = ["claude", "mcp", "add", "--transport", "http", "payments", url]
    return Instruction(client="Claude Code", where="a shell", text=shlex.join(command))


def vs_code(url: str) -> Instruction:
    servers = {"servers": {"payments": {"type": "http", "url": url}}}
    return Instruction(client="VS Code", where=".vscode/mcp.json", text=json.dumps(servers, indent=2))


def cursor(url: str) -> Instruction:
    servers = {"mcpServers": {"payments": {"url": url}}}
    return Instruction(client="Cursor", where=".cursor/mcp.json", text=json.dumps(servers, indent=2))


def inspector(url: str) -> Instruction:
    command = ["npx", "@modelcontextprotocol/inspector", "--cli", url, "--transport", "http", "--method", "tools/list"]
    return Instruction(client="MCP Inspector", where="a shell", text=shlex.join(command))


def mcp_remote(url: str) -> Instruction:
    """For clients that speak stdio only."""
    servers = {"mcpServers": {"payments": {"command": "npx", "args": ["mcp-remote", url]}}}
    where = "claude_desktop_config.json, or wherever such a client keeps its servers"
    return Instruction(client="mcp-remote", where=where, text=json.dumps(servers, indent=2))


def with_header(url: str, token: str) -> Instruction:
    """For CI, and for whatever cannot open a browser."""
    servers = {"servers": {"payments": {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {token}"}}}}
    return Instruction(
        client="A bearer token as a header", where="a client without a browser", text=json.dumps(servers, indent=2)
    )


def instructions(url: str) -> tuple[Instruction, ...]:
    """One for each client that the demonstration names; none holds a secret."""
    return claude_code(url), vs_code(url), cursor(url), inspector(url), mcp_remote(url)


def curl_call(url: str, token_url: str) -> str:
    """One command line that fetches a fresh token and asks for a customer whose card number comes back masked."""
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "get_customer",
            "arguments": {"customer_id": "cus_1001"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = (
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {PROTOCOL_VERSION}",
        "Mcp-Method: tools/call",
        "Mcp-Name: get_customer",
    )
    words = [
        "curl",
        "-sS",
        "--noproxy",
        "127.0.0.1",
        url,
        *(word for header in headers for word in ("-H", header)),
        "-d",
        json.dumps(message),
    ]
    # The token is fetched by the shell, so the line stays short and works after the first token has expired.
    return f'{shlex.join(words)} -H "Authorization: Bearer $(curl -sS --noproxy 127.0.0.1 {shlex.quote(token_url)})"'
