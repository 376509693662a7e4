"""The payments server of the demonstration: what it answers, and to whom."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from starlette.testclient import TestClient

from gatebook.demo.customers import customers
from gatebook.demo.database import PaymentsDatabase
from gatebook.demo.payments import ApiKeyRequired, payments_server


@pytest.fixture
def server(tmp_path: Path) -> MCPServer[Any]:
    database = PaymentsDatabase(tmp_path / "payments.sqlite")
    database.recreate()
    return payments_server(database)


async def test_it_offers_its_tools_with_honest_hints(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    assert set(tools) == {
        "get_order", "list_orders", "get_customer", "refund", "export_customers", "delete_customer", "run_model_inference",
    }  # fmt: skip
    assert [name for name, hints in tools.items() if hints and hints.destructive_hint] == ["delete_customer"]
    assert [name for name, hints in tools.items() if hints and not hints.read_only_hint] == [
        "refund",
        "delete_customer",
    ]


async def test_a_customer_comes_with_the_card_in_text_and_structure(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        result = await client.call_tool("get_customer", {"customer_id": "cus_1001"})
    assert result.structured_content is not None
    assert result.structured_content["card"]["number"] == customers()[0].card_number
    assert customers()[0].card_number in result.content[0].text  # type: ignore[union-attr]


async def test_the_export_holds_every_card(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        result = await client.call_tool("export_customers", {})
    text = result.content[0].text  # type: ignore[union-attr]
    assert all(customer.card_number in text for customer in customers())


async def test_the_model_explains_itself_with_a_card_in_text_and_as_a_number(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        result = await client.call_tool("run_model_inference", {"order_id": "ord_5001"})
    assert result.structured_content is not None
    number = result.structured_content["nearest"]["card_number"]
    assert type(number) is int
    assert str(number)[:4] in result.structured_content["explanation"]


async def test_what_is_refunded_or_deleted_stays_so_until_the_next_start(
    server: MCPServer[Any], tmp_path: Path
) -> None:
    async with Client(server) as client:
        assert not (await client.call_tool("refund", {"order_id": "ord_5001", "reason": "late"})).is_error
        assert (await client.call_tool("refund", {"order_id": "ord_5001", "reason": "late"})).is_error
        assert not (await client.call_tool("delete_customer", {"customer_id": "cus_1001"})).is_error
        assert (await client.call_tool("get_customer", {"customer_id": "cus_1001"})).is_error
        assert (await client.call_tool("get_order", {"order_id": "ord_5001"})).is_error
    PaymentsDatabase(tmp_path / "payments.sqlite").recreate()
    async with Client(server) as client:
        assert not (await client.call_tool("get_customer", {"customer_id": "cus_1001"})).is_error


async def test_orders_are_resources_and_the_letter_is_a_prompt(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        [document] = (await client.read_resource("orders://ord_5001")).contents
        [message] = (await client.get_prompt("apology", {"order_id": "ord_5001"})).messages
    assert '"order_id":"ord_5001"' in document.text  # type: ignore[union-attr]
    assert "ord_5001" in message.content.text  # type: ignore[union-attr]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic right", "Bearer right "])
def test_without_the_api_key_it_answers_401(server: MCPServer[Any], header: str | None) -> None:
    client = TestClient(ApiKeyRequired(server.streamable_http_app(), "right"))
    headers = {"Authorization": header} if header is not None else {}
    assert client.post("/mcp", json={}, headers=headers).status_code == 401


def test_with_the_api_key_it_answers(server: MCPServer[Any]) -> None:
    with TestClient(ApiKeyRequired(server.streamable_http_app(), "right"), base_url="http://127.0.0.1:9001") as client:
        assert client.post("/mcp", json={}, headers={"Authorization": "Bearer right"}).status_code == 400
