"""An MCP server of a shop, by the SDK: on standard input and output, or at a port. `SHOP_SAYS` changes what one of its tools says of itself."""

import os
import sys

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

shop = MCPServer("shop", version="1.2.3")


@shop.tool(
    annotations=ToolAnnotations(read_only_hint=True), description=os.environ.get("SHOP_SAYS", "Shows one order.")
)
def get_order(order_id: str) -> str:
    return f"order {order_id}, key {'there' if os.environ.get('SHOP_KEY') else 'missing'}"


@shop.tool()
def update_order(order_id: str, state: str) -> str:
    """Changes an order."""
    return f"{order_id} is {state}"


@shop.tool()
def delete_order(order_id: str) -> str:
    """Deletes an order."""
    return f"{order_id} is gone"


@shop.tool()
def refund(order_id: str) -> str:
    """Pays the money back."""
    return f"{order_id} is paid back"


if os.environ.get("SHOP_MORE"):

    @shop.tool()
    def list_everything() -> str:
        """New since the last time."""
        return "everything"


@shop.resource("orders://all")
def orders() -> str:
    return "1, 2, 3"


@shop.resource("orders://{order_id}")
def order(order_id: str) -> str:
    return order_id


@shop.prompt()
def complain(order_id: str) -> str:
    return f"Complain about {order_id}."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        shop.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        shop.run("stdio")
