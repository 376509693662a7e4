"""SEP-2243: what a tool has repeated in `Mcp-Param-*`, and which calls repeat it."""

from typing import Any

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.wire.declared import check_declared, declarations

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        "free": {"type": "string"},
        "where": {"type": "object", "properties": {"shop": {"type": "string", "x-mcp-header": "Shop"}}},
    },
}
[DECLARED] = declarations([{"name": "t", "inputSchema": SCHEMA}]).values()


def headers(**said: str) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((b"mcp-param-" + name.replace("_", "-").encode(), value.encode()) for name, value in said.items())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, {}),
        (None, {}),
        ({"free": "x"}, {}),
        ({"region": "eu"}, {"region": "eu"}),
        ({"region": "eu"}, {"region": "  eu "}),
        ({"region": None}, {}),
        ({"region": "Zürich"}, {"region": "=?base64?WsO8cmljaA==?="}),
        ({"count": 7}, {"count": "7"}),
        ({"count": 7}, {"count": "07"}),
        ({"count": -7}, {"count": "-7"}),
        ({"count": 2**70}, {"count": str(2**70)}),
        ({"dry": True}, {"dry_run": "true"}),
        ({"dry": False}, {"dry_run": "false"}),
        ({"where": {"shop": "1"}}, {"shop": "1"}),
        ({"where": "none of it"}, {}),
        ({"region": "eu"}, {"region": "eu", "unknown": "passes"}),
        ({"region": ["no", "text"]}, {}),
    ],
)
def test_what_says_the_same_passes(arguments: object, said: dict[str, str]) -> None:
    check_declared(DECLARED, arguments, headers(**said))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"region": "eu"}, {}),
        ({"region": "eu"}, {"region": "us"}),
        ({"region": "eu"}, {"region": "EU"}),
        ({"region": ""}, {}),
        ({}, {"region": "eu"}),
        ({"region": None}, {"region": "eu"}),
        ({"region": ["eu"]}, {"region": "eu"}),
        ({"count": 7}, {"count": "8"}),
        ({"count": 7}, {"count": "7.0"}),
        ({"region": "7"}, {"region": "07"}),
        ({"dry": True}, {"dry_run": "True"}),
        ({"dry": False}, {}),
        ({"where": {"shop": "1"}}, {}),
        ({"where": {}}, {"shop": "1"}),
        ({"region": "eu"}, {"region": "=?base64?!!?="}),
    ],
)
def test_what_says_something_else_or_nothing_is_a_mismatch(arguments: object, said: dict[str, str]) -> None:
    with pytest.raises(Malformed) as refused:
        check_declared(DECLARED, arguments, headers(**said))
    assert refused.value.reason is Reason.HEADER_MISMATCH


def test_a_header_that_stands_twice_is_a_mismatch() -> None:
    with pytest.raises(Malformed):
        check_declared(DECLARED, {"region": "eu"}, headers(region="eu") * 2)


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "number", "x-mcp-header": "A"}},
        {"a": {"type": "string", "x-mcp-header": "not a token"}},
        {"a": {"type": "string", "x-mcp-header": 1}},
        {"a": {"type": "string", "x-mcp-header": "Same"}, "b": {"type": "string", "x-mcp-header": "same"}},
        {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "array", "x-mcp-header": "B"}},
    ],
)
def test_a_tool_that_declares_wrongly_declares_nothing(properties: dict[str, Any]) -> None:
    """Clients leave it out (§Custom Headers), and who calls it all the same repeats nothing."""
    assert declarations([{"name": "t", "inputSchema": {"properties": properties}}]) == {}


@pytest.mark.parametrize("tools", [None, {}, [1], [{"name": 1}], [{"name": "t"}], [{"name": "t", "inputSchema": []}]])
def test_what_lists_no_tools_declares_nothing(tools: object) -> None:
    assert declarations(tools) == {}
