"""DEMO: a payments MCP server, as a company might run one behind Gatebook.

    python -m gatebook.demo.payments --port 9001 --data DIR --api-key-file FILE

A real server on the MCP Python SDK: streamable HTTP at /mcp, every protocol revision that the SDK speaks, sessions and stateless
calls alike. It answers only to the API key, which Gatebook alone holds: a caller who reaches this port directly gets 401.
Its answers hold card numbers in clear, on purpose; they are published test numbers.
"""

import argparse
import csv
import hmac
import io
from pathlib import Path
from typing import Annotated

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gatebook.demo.customers import Order
from gatebook.demo.database import PaymentsDatabase

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

OrderId = Annotated[str, Field(description="an order's id, such as ord_5001")]
CustomerId = Annotated[str, Field(description="a customer's id, such as cus_1001")]


class OrderView(BaseModel):
    order_id: str
    customer_id: str
    item: str
    amount_minor: int
    currency: str
    status: str
    created_at: str


class CardView(BaseModel):
    number: str
    expires: str


class CustomerView(BaseModel):
    customer_id: str
    name: str
    email: str
    card: CardView


class Refund(BaseModel):
    order_id: str
    amount_minor: int
    currency: str
    status: str


class Neighbour(BaseModel):
    customer_id: str
    card_number: int
    similarity_percent: int


class Inference(BaseModel):
    model: str
    fraud_score_percent: int
    explanation: str
    nearest: Neighbour


def payments_server(database: PaymentsDatabase) -> MCPServer:
    """The server with its tools, resources and prompt over `database`."""
    server = MCPServer(
        name="demo-payments",
        title="Demo payments",
        version="1.0",
        instructions="Synthetic orders and customers. Nothing here is real.",
        log_level="WARNING",
    )
    _add_reading_tools(server, database)
    _add_writing_tools(server, database)
    _add_model(server, database)
    _add_documents(server, database)
    return server


def _add_reading_tools(server: MCPServer, database: PaymentsDatabase) -> None:
    @server.tool(title="One order", annotations=READS)
    def get_order(order_id: OrderId) -> OrderView:
        """An order by its id: item, amount in minor units, status."""
        return _order_view(_order(database, order_id))

    @server.tool(title="Newest orders", annotations=READS)
    def list_orders(
        customer_id: Annotated[str | None, Field(description="only this customer's orders")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="at most this many")] = 10,
    ) -> list[OrderView]:
        """The newest orders, of one customer or of all."""
        return [_order_view(order) for order in database.newest_orders(customer_id, limit)]

    @server.tool(title="One customer", annotations=READS)
    def get_customer(customer_id: CustomerId) -> CustomerView:
        """A customer with the stored payment card."""
        customer = database.customer(customer_id)
        if customer is None:
            raise ToolError(f"no customer {customer_id}")
        return CustomerView(
            customer_id=customer.customer_id,
            name=customer.name,
            email=customer.email,
            card=CardView(number=customer.card_number, expires=customer.card_expires),
        )

    @server.tool(title="Export all customers", annotations=READS, structured_output=False)
    def export_customers() -> str:
        """Every customer with card number, as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("customer_id", "name", "email", "card_number", "card_expires"))
        writer.writerows(database.all_customers())
        return text.getvalue()


def _add_writing_tools(server: MCPServer, database: PaymentsDatabase) -> None:
    @server.tool(title="Refund an order", annotations=WRITES)
    def refund(
        order_id: OrderId, reason: Annotated[str, Field(description="one sentence for the customer's file")]
    ) -> Refund:
        """Give the whole amount of an order back."""
        order = _order(database, order_id)
        if not database.refund(order_id):
            raise ToolError(f"order {order_id} was refunded before")
        return Refund(
            order_id=order_id, amount_minor=order.amount_minor, currency=order.currency, status=f"refunded: {reason}"
        )

    @server.tool(title="Delete a customer", annotations=DESTROYS)
    def delete_customer(customer_id: CustomerId) -> str:
        """Remove a customer and all their orders for ever."""
        if not database.delete_customer(customer_id):
            raise ToolError(f"no customer {customer_id}")
        return f"deleted {customer_id}"


def _add_model(server: MCPServer, database: PaymentsDatabase) -> None:
    @server.tool(title="Run the fraud model", annotations=READS)
    def run_model_inference(
        order_id: OrderId, model: Annotated[str, Field(description="the model's name")] = "fraud-3"
    ) -> Inference:
        """Score an order for fraud. The model explains itself with its nearest neighbour, card number and all."""
        order = _order(database, order_id)
        nearest = database.all_customers()[int(order.order_id[-2:]) % 4]
        return Inference(
            model=model,
            fraud_score_percent=order.amount_minor % 97,
            explanation=f"Order {order_id} resembles earlier fraud on card {_grouped(nearest.card_number)} of {nearest.name}.",
            nearest=Neighbour(
                customer_id=nearest.customer_id, card_number=int(nearest.card_number), similarity_percent=91
            ),
        )


def _add_documents(server: MCPServer, database: PaymentsDatabase) -> None:
    @server.resource("orders://{order_id}", title="An order as JSON", mime_type="application/json")
    def order_document(order_id: str) -> str:
        """An order, as the read tool gives it."""
        return _order_view(_order(database, order_id)).model_dump_json()

    @server.prompt(title="Apology for a late order")
    def apology(order_id: OrderId) -> str:
        """A letter to the customer of one order."""
        order = _order(database, order_id)
        return f"Write two friendly sentences: the order {order.order_id} ({order.item}) is late, and we are sorry."


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _order(database: PaymentsDatabase, order_id: str) -> Order:
    order = database.order(order_id)
    if order is None:
        raise ToolError(f"no order {order_id}")
    return order


def _order_view(order: Order) -> OrderView:
    return OrderView(**order._asdict())


def _grouped(card_number: str) -> str:
    return " ".join(card_number[start : start + 4] for start in range(0, len(card_number), 4))


class ApiKeyRequired:
    """Answers 401 unless the request carries `Authorization: Bearer KEY`; says nothing about what the right key looks like."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets lifespan events, the health check and requests with the key through."""
        if scope["type"] == "http" and scope["path"] != "/healthz" and not self._admits(Headers(scope=scope)):
            refusal = JSONResponse({"error": "the payments server answers to its API key only"}, status_code=401)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admits(self, headers: Headers) -> bool:
        return hmac.compare_digest(headers.get("authorization", "").encode("latin-1"), self._expected)


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m gatebook.demo.payments", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument(
        "--data", type=Path, required=True, help="directory for payments.sqlite; made anew at each start"
    )
    parser.add_argument("--api-key-file", type=Path, required=True, help="file holding the key that callers must send")
    given = parser.parse_args()
    given.data.mkdir(parents=True, exist_ok=True)
    database = PaymentsDatabase(given.data / "payments.sqlite")
    database.recreate()
    app = payments_server(database).streamable_http_app()
    app.routes.append(Route("/healthz", _healthz))
    guarded = ApiKeyRequired(app, given.api_key_file.read_text("utf-8").strip())
    uvicorn.run(
        guarded,
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
