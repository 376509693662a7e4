"""An MCP server of 2025-06-18 without any library, whose tools stand in the file that it is given: two a page, and without end with `--endless`. With `--asks` it
asks for the client's roots before it lists anything."""

import json
import os
import sys
from pathlib import Path

FILE, ENDLESS = Path(sys.argv[1]), "--endless" in sys.argv


def listed(key: str, params: dict[str, str]) -> dict[str, object]:
    items = json.loads(FILE.read_text()).get(key, [])
    at = int(params.get("cursor", 0))
    page: dict[str, object] = {key: items[at : at + 2] if not ENDLESS else items[:2]}
    if ENDLESS or at + 2 < len(items):
        page["nextCursor"] = str(at + 2)
    return page


for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if number is None:
        continue
    params = message.get("params", {})
    answer: dict[str, object] = {"error": {"code": -32601, "message": "Method not found"}}
    if method == "initialize":
        info = {"name": "legacy", "version": "0"}
        answer = {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}}
    elif method == "tools/list":
        if "--asks" in sys.argv:
            print(json.dumps({"jsonrpc": "2.0", "id": "own", "method": "roots/list"}), flush=True)
            assert json.loads(sys.stdin.readline())["error"]["code"] == -32601
        answer = {"result": listed("tools", params)}
    elif method == "resources/list":
        answer = {"result": listed("resources", params)}
    elif method == "tools/call":
        answer = {
            "result": {
                "content": [
                    {
                        "type": "text",
                        "text": f"did {params['name']}, key {'there' if os.environ.get('SHOP_KEY') else 'missing'}",
                    }
                ]
            }
        }
    print(json.dumps({"jsonrpc": "2.0", "id": number, **answer}), flush=True)
