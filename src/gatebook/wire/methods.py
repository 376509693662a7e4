"""What each MCP method is: who may send it in which revision, and what it reaches for.

Source: schema.ts of each revision in modelcontextprotocol/modelcontextprotocol, and of the tasks extension
(modelcontextprotocol/ext-tasks, draft of 2026-08-21). A method that is not here is `other`: only configuration can grant it.
"""

from typing import Any, Final, Literal

import msgspec

from gatebook.model.errors import Malformed, Reason

TargetKind = Literal["lifecycle", "list", "tool", "resource", "prompt", "task", "listen", "other"]
Sender = Literal["client", "server"]
MethodKind = Literal["request", "notification"]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A list that is filtered per caller: `result[key]`, whose elements are named by `name_field` and granted as `kind`."""

    key: str
    name_field: str
    kind: Literal["tool", "resource", "prompt"]


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One method. `client`, `server`: the revisions in which that side may send it as a message of its own.

    `target` is what `target()` will find, but for completion/complete, which reaches for a prompt or for a resource.
    `param`: the parameter that names the target. `mirrored`: the parameter repeated in `Mcp-Name` (2026-07-28), None where the
    method has no such header.
    """

    name: str
    kind: MethodKind
    target: TargetKind
    client: frozenset[str] = frozenset()
    server: frozenset[str] = frozenset()
    param: str | None = None
    mirrored: str | None = None
    listing: Listing | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What one message reaches for: policy's noun.

    `lifecycle` comes with any grant. `tool`, `resource`, `prompt`: `name` is the tool's name, the URI or the prompt's name, raw
    (for a completion on a template: the URI template). `task`: `name` is the task's id, None for tasks/list, whose elements
    name no tool. `list`: no name, its answer is filtered. `listen`: `names` are the resource URIs and `tasks` the task ids
    that the caller asks to hear of. `other`: a method not in the table.
    """

    kind: TargetKind
    name: str | None = None
    names: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


_V1, _V2, _V3, _V4, _V5 = "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"
_LEGACY: Final = frozenset({_V1, _V2, _V3, _V4})
_MODERN: Final = frozenset({_V5})
_ALL: Final = _LEGACY | _MODERN
_ELICITATION: Final = frozenset({_V3, _V4})
_CORE_TASKS: Final = frozenset({_V4})
_NEVER: Final[frozenset[str]] = frozenset()


def _request(
    name: str,
    target: TargetKind,
    client: frozenset[str],
    *,
    server: frozenset[str] = _NEVER,
    param: str | None = None,
    mirrored: bool = False,
    listing: Listing | None = None,
) -> Method:
    return Method(
        name=name, kind="request", target=target, client=client, server=server, param=param,
        mirrored=param if mirrored else None, listing=listing,
    )  # fmt: skip


def _notification(name: str, client: frozenset[str], server: frozenset[str]) -> Method:
    return Method(name=name, kind="notification", target="lifecycle", client=client, server=server)


_TABLE: Final = (
    # lifecycle
    _request("initialize", "lifecycle", _LEGACY),
    _request("server/discover", "lifecycle", _MODERN),
    _request("ping", "lifecycle", _LEGACY, server=_LEGACY),
    _request("logging/setLevel", "lifecycle", _LEGACY),
    # lists
    _request("tools/list", "list", _ALL, listing=Listing(key="tools", name_field="name", kind="tool")),
    _request("prompts/list", "list", _ALL, listing=Listing(key="prompts", name_field="name", kind="prompt")),
    _request("resources/list", "list", _ALL, listing=Listing(key="resources", name_field="uri", kind="resource")),
    _request(
        "resources/templates/list", "list", _ALL,
        listing=Listing(key="resourceTemplates", name_field="uriTemplate", kind="resource"),
    ),
    # objects
    _request("tools/call", "tool", _ALL, param="name", mirrored=True),
    _request("prompts/get", "prompt", _ALL, param="name", mirrored=True),
    _request("resources/read", "resource", _ALL, param="uri", mirrored=True),
    _request("resources/subscribe", "resource", _LEGACY, param="uri"),
    _request("resources/unsubscribe", "resource", _LEGACY, param="uri"),
    _request("completion/complete", "prompt", _ALL),
    _request("subscriptions/listen", "listen", _MODERN),
    # tasks: in the core of 2025-11-25 (both sides), an extension of 2026-07-28 (client only)
    _request("tasks/get", "task", _CORE_TASKS | _MODERN, server=_CORE_TASKS, param="taskId", mirrored=True),
    _request("tasks/cancel", "task", _CORE_TASKS | _MODERN, server=_CORE_TASKS, param="taskId", mirrored=True),
    _request("tasks/update", "task", _MODERN, param="taskId", mirrored=True),
    _request("tasks/result", "task", _CORE_TASKS, server=_CORE_TASKS, param="taskId"),
    _request("tasks/list", "task", _CORE_TASKS, server=_CORE_TASKS),
    # what a server asks of its client; in 2026-07-28 only inside `inputRequests`, never as a message
    _request("roots/list", "lifecycle", _NEVER, server=_LEGACY),
    _request("sampling/createMessage", "lifecycle", _NEVER, server=_LEGACY),
    _request("elicitation/create", "lifecycle", _NEVER, server=_ELICITATION),
    # notifications. 2026-07-28 defines none from the client over HTTP but leaves the rules of one that comes
    _notification("notifications/initialized", _LEGACY, _NEVER),
    _notification("notifications/cancelled", _ALL, _ALL),
    _notification("notifications/progress", _LEGACY, _ALL),
    _notification("notifications/roots/list_changed", _LEGACY, _NEVER),
    _notification("notifications/message", _NEVER, _ALL),
    _notification("notifications/tools/list_changed", _NEVER, _ALL),
    _notification("notifications/prompts/list_changed", _NEVER, _ALL),
    _notification("notifications/resources/list_changed", _NEVER, _ALL),
    _notification("notifications/resources/updated", _NEVER, _ALL),
    _notification("notifications/elicitation/complete", _NEVER, _CORE_TASKS),
    _notification("notifications/subscriptions/acknowledged", _NEVER, _MODERN),
    _notification("notifications/tasks/status", _CORE_TASKS, _CORE_TASKS),
    _notification("notifications/tasks", _NEVER, _MODERN),
)  # fmt: skip

METHODS: Final[dict[str, Method]] = {method.name: method for method in _TABLE}


def sendable(method: str, kind: MethodKind, sender: Sender, revision: str) -> bool:
    """Whether `sender` may send `method` as a message of that kind in `revision`. False for methods not in the table."""
    known = METHODS.get(method)
    if known is None or known.kind != kind:
        return False
    return revision in (known.client if sender == "client" else known.server)


def target(method: str, params: dict[str, Any]) -> Target:
    """What a message with this method and these params reaches for.

    Raises Malformed(INVALID_PARAMS) where the params do not say it: no name, or one that is not a non-empty string.
    """
    known = METHODS.get(method)
    if known is None:
        return Target(kind="other")
    if method == "completion/complete":
        return _completed(params)
    if known.target == "listen":
        return _listened(params)
    if known.param is None:
        return Target(kind=known.target)
    return Target(kind=known.target, name=_text(params, known.param))


def _completed(params: dict[str, Any]) -> Target:
    """The object whose argument is to be completed: its grant is the grant for the completion."""
    ref = params.get("ref")
    if type(ref) is dict and ref.get("type") == "ref/prompt":
        return Target(kind="prompt", name=_text(ref, "name"))
    if type(ref) is dict and ref.get("type") == "ref/resource":
        return Target(kind="resource", name=_text(ref, "uri"))
    raise Malformed(Reason.INVALID_PARAMS, "The params' ref must be a ref/prompt or a ref/resource.")


def _listened(params: dict[str, Any]) -> Target:
    wanted = params.get("notifications")
    if type(wanted) is not dict:
        raise Malformed(Reason.INVALID_PARAMS, "The params' notifications must be an object.")
    return Target(kind="listen", names=_texts(wanted, "resourceSubscriptions"), tasks=_texts(wanted, "taskIds"))


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    if type(value) is str and value:
        return value
    raise Malformed(Reason.INVALID_PARAMS, f"The parameter {key} must be a string that is not empty.")


def _texts(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    values = holder.get(key, [])
    if type(values) is list and all(type(value) is str and value for value in values):
        return tuple(values)
    raise Malformed(Reason.INVALID_PARAMS, f"The filter {key} must be a list of strings that are not empty.")
