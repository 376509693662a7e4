"""What each MCP method reaches for: the table that a question is checked against.

A question whose kind is not the method's is denied: a mistake in the caller of `decide` must not turn `tools/call` into a lifecycle
method. Methods not listed here are extensions and need `methods = [globs]`.
"""

from types import MappingProxyType

from gatebook.model.decision import TargetKind

KINDS: MappingProxyType[str, frozenset[TargetKind]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "initialize",
                "ping",
                "server/discover",
                "logging/setLevel",
                "notifications/initialized",
                "notifications/cancelled",
                "notifications/progress",
                "notifications/roots/list_changed",
                "notifications/tasks/status",
                "GET",
                "DELETE",
                "response",
            ),
            frozenset[TargetKind]({"lifecycle"}),
        ),
        **dict.fromkeys(
            ("tools/list", "resources/list", "resources/templates/list", "prompts/list"),
            frozenset[TargetKind]({"list"}),
        ),
        "tools/call": frozenset[TargetKind]({"tool"}),
        **dict.fromkeys(
            ("resources/read", "resources/subscribe", "resources/unsubscribe"), frozenset[TargetKind]({"resource"})
        ),
        "prompts/get": frozenset[TargetKind]({"prompt"}),
        "completion/complete": frozenset[TargetKind]({"prompt", "resource"}),
        "subscriptions/listen": frozenset[TargetKind]({"listen", "resource"}),
        **dict.fromkeys(
            ("tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "tasks/list"),
            frozenset[TargetKind]({"task"}),
        ),
    }
)
"""Method → the kinds it may be asked as. `subscriptions/listen` is asked once without a name, then per URI of its filter."""
