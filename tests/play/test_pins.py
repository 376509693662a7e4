"""Pinned tools: what is not as it was pinned leaves no list and is not called, and the book says which and from what to what."""

import json
from typing import Any

import msgspec
import pytest

from gatebook.gate.quarantine import STRANGE_TOLD
from gatebook.model.deployment import Deployment, Server
from gatebook.model.errors import LedgerUnavailable, Reason
from gatebook.wire.definitions import digest_of
from tests.world import Play, deployment, whole

LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
DEFINITIONS: dict[str, dict[str, Any]] = {
    name: {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}}
    for name in ("get_order", "list_orders", "delete_customer")
}


def with_pins(*forms: dict[str, Any]) -> Deployment:
    pins: dict[str, tuple[str, ...]] = {}
    for form in forms:
        pins[form["name"]] = (*pins.get(form["name"], ()), digest_of(form))
    base = deployment()
    servers: tuple[Server, ...] = (msgspec.structs.replace(base.servers[0], pins=pins),)
    return msgspec.structs.replace(base, servers=servers)


def pinned_play(*forms: dict[str, Any]) -> Play:
    play = Play()
    play.standing = play.standing_of(with_pins(*(forms or tuple(DEFINITIONS.values()))))
    return play


async def listed(play: Play, *tools: dict[str, Any] | bytes) -> list[str]:
    raw = b",".join(tool if isinstance(tool, bytes) else json.dumps(tool).encode() for tool in tools)
    play.answers(b'{"jsonrpc":"2.0","id":1,"result":{"tools":[' + raw + b"]}}")
    return [tool["name"] for tool in json.loads(await whole(await play.ask(LIST)))["result"]["tools"]]


async def called(play: Play, tool: str) -> dict[str, Any]:
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
    play.answers(b'{"jsonrpc":"2.0","id":2,"result":{"content":[]}}')
    answer: dict[str, Any] = json.loads(await whole(await play.ask(json.dumps(call).encode())))
    if "error" in answer:
        play.upstreams.script.clear()
    return answer


def noted(play: Play) -> list[tuple[str, str | None, object, object]]:
    return [
        (draft.event, draft.resource.name, draft.detail["pinned"], draft.detail["seen"])
        for draft in play.drafts
        if draft.event.startswith("tool.")
    ]


async def test_what_is_as_it_was_pinned_passes_byte_for_byte_however_it_is_spaced() -> None:
    play = pinned_play()
    spaced = json.dumps(DEFINITIONS["get_order"], indent=3).encode()
    assert await listed(play, spaced, DEFINITIONS["list_orders"]) == ["get_order", "list_orders"]
    assert noted(play) == []
    assert "result" in await called(play, "get_order")


async def test_a_changed_tool_is_left_out_not_called_and_written_down_once_with_both_digests() -> None:
    play = pinned_play()
    assert "result" in await called(play, "get_order"), "before any list was seen nothing is known of a change"
    changed = {**DEFINITIONS["get_order"], "description": "Does get_order.\u200b"}
    for _ in range(2):
        assert await listed(play, changed, DEFINITIONS["list_orders"]) == ["list_orders"]
    note = ("tool.quarantined", "get_order", digest_of(DEFINITIONS["get_order"]), digest_of(changed))
    assert noted(play) == [note]
    assert play.events.index("tool.quarantined") < len(play.events) - 1 - play.events[::-1].index("call.result")
    sent = len(play.sent)
    error = (await called(play, "get_order"))["error"]
    assert (error["code"], error["data"]["reason"]) == (5, "tool_quarantined") and len(play.sent) == sent
    assert (play.drafts[-1].event, play.drafts[-1].reason) == ("call.refused", str(Reason.TOOL_QUARANTINED))
    assert play.drafts[-1].policy is not None and play.drafts[-1].policy.rule == "server:payments/pins"
    assert "result" in await called(play, "list_orders"), "others are not concerned"


async def test_a_new_tool_is_never_called_and_a_denied_one_is_only_denied() -> None:
    play = pinned_play(DEFINITIONS["get_order"])
    assert (await called(play, "list_orders"))["error"]["data"]["reason"] == "tool_quarantined"
    assert (await called(play, "delete_customer"))["error"]["data"]["reason"] == "denied", (
        "who may not call it learns nothing"
    )
    assert await listed(play, *DEFINITIONS.values()) == ["get_order"]
    assert {(name, pinned) for _, name, pinned, _ in noted(play)} == {
        ("list_orders", "none"),
        ("delete_customer", "none"),
    }


async def test_a_definition_that_comes_back_ends_it_and_so_do_new_pins() -> None:
    play = pinned_play()
    changed = {**DEFINITIONS["get_order"], "description": "Other."}
    assert await listed(play, changed) == []
    assert "error" in await called(play, "get_order")
    assert await listed(play, DEFINITIONS["get_order"]) == ["get_order"]
    assert [event for event, *_ in noted(play)] == ["tool.quarantined", "tool.restored"]
    assert "result" in await called(play, "get_order")
    assert await listed(play, changed) == []
    play.standing = play.standing_of(with_pins(*DEFINITIONS.values(), changed))
    assert "result" in await called(play, "get_order"), "both forms are accepted now"


@pytest.mark.parametrize(
    "definition",
    [
        b'{"name":"get_order","description":"Does get_order.","inputSchema":{"type":"object","x":2,"x":1}}',
        b'{"name":"get_order","description":"Does get_order.","inputSchema":{"type":"object"},"extra":"\\ud800"}',
        b'{"name":"get_order","description":"Does get_order.","inputSchema":{"type":"object"},"icons":[]}',
        b'{"name":"get_order","description":"Does get_order.","inputSchema":{"type":"object","x":1.0}}',
    ],
)
async def test_no_member_can_be_changed_or_hidden(definition: bytes) -> None:
    play = pinned_play(
        {**DEFINITIONS["get_order"], "inputSchema": {"type": "object", "x": 1}}, DEFINITIONS["get_order"]
    )
    assert await listed(play, definition) == []
    assert "error" in await called(play, "get_order")


async def test_a_list_that_cannot_be_noted_does_not_leave() -> None:
    play = pinned_play()
    record = play.ledger.record

    async def failing(draft: Any) -> Any:
        if draft.event == "tool.quarantined":
            raise LedgerUnavailable("full")
        return await record(draft)

    play.ledger.record = failing  # type: ignore[method-assign]
    play.answers(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "get_order"}]}}).encode())
    answer = json.loads(await whole(await play.ask(LIST)))
    assert answer["error"]["data"]["reason"] == "ledger_unavailable"


async def test_without_pins_nothing_is_looked_at() -> None:
    play = Play()
    assert await listed(play, {"name": "get_order"}) == ["get_order"] and noted(play) == []


async def test_a_flood_of_invented_tools_drives_no_change_out_of_memory_and_does_not_fill_the_book() -> None:
    """Ten thousand names behind a changed tool had it forgotten: the next call of it passed."""
    play = pinned_play()
    changed = {**DEFINITIONS["get_order"], "description": "Does something else."}
    for wave in range(3):
        invented = [{"name": f"t{wave}-{number}", "inputSchema": {"type": "object"}} for number in range(4_000)]
        assert await listed(play, changed, *invented) == []
    assert (await called(play, "get_order"))["error"]["data"]["reason"] == "tool_quarantined"
    assert len(noted(play)) == 1 + STRANGE_TOLD


async def test_a_tool_that_was_strange_and_is_pinned_otherwise_stays_out_until_it_is_as_pinned() -> None:
    play = pinned_play(DEFINITIONS["list_orders"])
    changed = {**DEFINITIONS["get_order"], "description": "Does something else."}
    assert await listed(play, changed) == []
    play.standing = play.standing_of(with_pins(*DEFINITIONS.values()))
    assert (await called(play, "get_order"))["error"]["data"]["reason"] == "tool_quarantined"
    assert await listed(play, DEFINITIONS["get_order"]) == ["get_order"]
    assert "result" in await called(play, "get_order")
