"""How to point an MCP client at the demonstration, as data: what is printed is what the tests run.

Every text carries a bearer token, because these clients are told a header; none of them has to know that Gatebook is there.
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


def claude_code(url: str, token: str) -> Instruction:
    command = [
        "claude",
        "mcp",
        "add",
        "--transport",
        "http",
        "payments",
        url,
        "--header",
        f"Authorization: Bearer {token}",
    ]
    return Instruction(client="Claude Code", where="a shell", text=shlex.join(command))


def vs_code(url: str, token: str) -> Instruction:
    servers = {"servers": {"payments": {"type": "http", "url": url, "headers": _headers(token)}}}
    return Instruction(client="VS Code", where=".vscode/mcp.json", text=json.dumps(servers, indent=2))


def cursor(url: str, token: str) -> Instruction:
    servers = {"mcpServers": {"payments": {"url": url, "headers": _headers(token)}}}
    return Instruction(client="Cursor", where=".cursor/mcp.json", text=json.dumps(servers, indent=2))


def inspector(url: str, token: str) -> Instruction:
    command = [
        *("npx", "@modelcontextprotocol/inspector", "--cli", url, "--transport", "http"),
        *("--header", f"Authorization: Bearer {token}", "--method", "tools/list"),
    ]
    return Instruction(client="MCP Inspector", where="a shell", text=shlex.join(command))


def instructions(url: str, token: str) -> tuple[Instruction, ...]:
    """One for each client that the demonstration names."""
    return claude_code(url, token), vs_code(url, token), cursor(url, token), inspector(url, token)


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


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
