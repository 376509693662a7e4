"""What each method is, and what a message reaches for."""

import re
from typing import Any

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.wire.methods import METHODS, Listing, Target, sendable, target
from gatebook.wire.revisions import REVISIONS


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("tools/call", {"name": "echo"}, Target(kind="tool", name="echo")),
        ("prompts/get", {"name": "greet"}, Target(kind="prompt", name="greet")),
        ("resources/read", {"uri": "file:///x"}, Target(kind="resource", name="file:///x")),
        ("resources/subscribe", {"uri": "file:///x"}, Target(kind="resource", name="file:///x")),
        ("resources/unsubscribe", {"uri": "file:///x"}, Target(kind="resource", name="file:///x")),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}, Target(kind="prompt", name="p")),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "db://{table}"}},
            Target(kind="resource", name="db://{table}"),
        ),
        ("tasks/get", {"taskId": "t"}, Target(kind="task", name="t")),
        ("tasks/list", {}, Target(kind="task")),
        ("tools/list", {"cursor": "x"}, Target(kind="list")),
        ("initialize", {}, Target(kind="lifecycle")),
        ("server/discover", {}, Target(kind="lifecycle")),
        ("notifications/cancelled", {}, Target(kind="lifecycle")),
        (
            "subscriptions/listen",
            {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a:b"], "taskIds": ["t"]}},
            Target(kind="listen", names=("a:b",), tasks=("t",)),
        ),
        ("subscriptions/listen", {"notifications": {}}, Target(kind="listen")),
        ("vendor/run", {"name": "x"}, Target(kind="other")),
        ("Tools/Call", {"name": "x"}, Target(kind="other")),
    ],
)
def test_a_message_reaches_for_what_its_params_name(method: str, params: dict[str, Any], expected: Target) -> None:
    assert target(method, params) == expected


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.param is not None])
@pytest.mark.parametrize("value", [None, 1, True, "", [], {}, ["echo"]])
def test_a_name_that_is_no_string_is_refused(method: str, value: object) -> None:
    parameter = METHODS[method].param
    assert parameter is not None
    for params in ({}, {parameter: value}):
        with pytest.raises(Malformed) as caught:
            target(method, params)
        assert caught.value.reason is Reason.INVALID_PARAMS


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("completion/complete", {}),
        ("completion/complete", {"ref": "p"}),
        ("completion/complete", {"ref": {"name": "p"}}),
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "p"}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "p"}}),
        ("completion/complete", {"ref": {"type": "ref/resource", "name": "p"}}),
        ("completion/complete", {"ref": {"type": ["ref/prompt"], "name": "p"}}),
        ("subscriptions/listen", {}),
        ("subscriptions/listen", {"notifications": []}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": "a:b"}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [1]}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": None}}),
        ("subscriptions/listen", {"notifications": {"taskIds": [""]}}),
    ],
)
def test_a_reference_that_names_nothing_is_refused(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        target(method, params)
    assert caught.value.reason is Reason.INVALID_PARAMS


def test_the_lists_that_are_filtered_say_how() -> None:
    assert {name: method.listing for name, method in METHODS.items() if method.listing} == {
        "tools/list": Listing(key="tools", name_field="name", kind="tool"),
        "prompts/list": Listing(key="prompts", name_field="name", kind="prompt"),
        "resources/list": Listing(key="resources", name_field="uri", kind="resource"),
        "resources/templates/list": Listing(key="resourceTemplates", name_field="uriTemplate", kind="resource"),
    }


def test_the_header_mcp_name_repeats_what_the_specification_says() -> None:
    assert {name: method.mirrored for name, method in METHODS.items() if method.mirrored} == {
        "tools/call": "name",
        "prompts/get": "name",
        "resources/read": "uri",
        "tasks/get": "taskId",
        "tasks/update": "taskId",
        "tasks/cancel": "taskId",
    }


@pytest.mark.parametrize(
    ("method", "kind", "sender", "revisions"),
    [
        ("initialize", "request", "client", {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}),
        ("server/discover", "request", "client", {"2026-07-28"}),
        ("subscriptions/listen", "request", "client", {"2026-07-28"}),
        ("elicitation/create", "request", "server", {"2025-06-18", "2025-11-25"}),
        ("elicitation/create", "request", "client", set()),
        ("sampling/createMessage", "request", "server", {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}),
        ("tasks/update", "request", "client", {"2026-07-28"}),
        ("tasks/result", "request", "client", {"2025-11-25"}),
        ("tasks/result", "request", "server", {"2025-11-25"}),
        ("notifications/progress", "notification", "client", {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}),
        ("notifications/progress", "request", "client", set()),
        ("tools/call", "notification", "client", set()),
        ("tools/call", "request", "client", set(REVISIONS)),
        ("tools/call", "request", "server", set()),
        ("vendor/run", "request", "client", set()),
    ],
)
def test_each_side_sends_a_method_only_in_its_revisions(
    method: str, kind: Any, sender: Any, revisions: set[str]
) -> None:
    assert {revision for revision in REVISIONS if sendable(method, kind, sender, revision)} == revisions


def test_every_method_can_be_sent_by_someone_and_names_known_revisions() -> None:
    for method in METHODS.values():
        assert method.client | method.server <= set(REVISIONS)
        assert method.client | method.server
        assert re.fullmatch(r"[a-zA-Z_/]+", method.name)


def test_no_modern_server_sends_requests() -> None:
    assert [m.name for m in METHODS.values() if m.kind == "request" and "2026-07-28" in m.server] == []


def test_the_table_holds_what_the_official_types_hold() -> None:
    official = pytest.importorskip("mcp_types.methods")
    tables = [
        (official.CLIENT_REQUESTS, "request", "client"),
        (official.CLIENT_NOTIFICATIONS, "notification", "client"),
        (official.SERVER_REQUESTS, "request", "server"),
        (official.SERVER_NOTIFICATIONS, "notification", "server"),
    ]
    for table, kind, sender in tables:
        theirs = set(table)
        ours = {
            (name, revision)
            for name, method in METHODS.items()
            if method.kind == kind
            for revision in (method.client if sender == "client" else method.server)
        }
        assert theirs - ours == set()
        # The official types leave tasks out, the experimental ones and the extension's.
        assert {name for name, _ in ours - theirs if "tasks" not in name} == set()
