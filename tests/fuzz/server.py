"""The server behind all three in `peers.py`: the MCP SDK's own, with two tools that write down what they were called with.

`python -m tests.fuzz.server PORT FILE`: one line for each call in FILE, as the tool saw it.
"""

import json
import sys
from pathlib import Path

import uvicorn
from mcp.server import MCPServer


def main(port: int, seen: Path) -> None:
    server = MCPServer("orders")

    def ran(what: str) -> str:
        with seen.open("a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")
        return "done"

    @server.tool()
    def get_order(id: object = None) -> str:
        """An order."""
        return ran("get_order" if id == "42" else "get_order with another argument")

    @server.tool()
    def delete_customer() -> str:
        """Takes a customer away."""
        return ran("delete_customer")

    @server.resource("orders://{number}")
    def order(number: str) -> str:
        """An order as a resource."""
        return ran(f"read {number}")

    uvicorn.run(server.streamable_http_app(streamable_http_path="/mcp/mcp"), port=port, log_level="error")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
