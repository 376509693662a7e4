"""A server's program that writes down each call that it executes, before it answers: `counting.py FILE`. It imports nothing of ours."""

import json
import os
import sys


def answer(message: dict[str, object], journal: int) -> dict[str, object]:
    params = message.get("params") or {}
    assert isinstance(params, dict)
    match message["method"]:
        case "initialize":
            about = {"name": "counting", "version": "1"}
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": about}
        case "tools/call":
            os.write(journal, f"{params['arguments']['key']}\n".encode())
            return {"content": [{"type": "text", "text": "done"}]}
        case _:
            return {"tools": [{"name": "work", "inputSchema": {"type": "object"}}]}


def main() -> None:
    journal = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            body: dict[str, object]
            if message["method"] == "server/discover":
                body = {"error": {"code": -32601, "message": "Method not found"}}
            else:
                body = {"result": answer(message, journal)}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}), flush=True)


if __name__ == "__main__":
    main()
