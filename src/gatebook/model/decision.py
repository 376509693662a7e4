"""What is asked of the policy, and what it answers."""

from typing import Literal

import msgspec

from gatebook.model.errors import Reason

TargetKind = Literal["lifecycle", "list", "listen", "tool", "resource", "prompt", "task", "method"]
"""What a method reaches for:

lifecycle  the connection itself (initialize, ping, notifications, the GET stream, DELETE); no name
list       a list of objects, filtered afterwards (tools/list, resources/list, …); no name
listen     subscriptions/listen; without a name the stream itself, with one a URI of its filter, judged as a resource
tool, resource, prompt   one object; `name` is the tool's or prompt's name, the resource's URI or its URI template, raw
task       work that a tool call left behind (tasks/get, …); no name
method     anything else: an extension, permitted by name of the method only
"""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """One question to the policy. `method` as in the message ("GET" and "DELETE" for the bare HTTP requests, "response" for a client's
    answer to a server's request); `name` the raw string of the message, never normalised."""

    server: str
    method: str
    target_kind: TargetKind
    name: str | None = None


class Permit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It may go on. `rule` names the grant that permits it, the first in the order of the file (`role:support/allow[0]`);
    `roles`: every role that the principal holds, in that order."""

    rule: str
    roles: tuple[str, ...]


class Deny(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It stops here."""

    reason: Reason
    rule: str = "default"


Decision = Permit | Deny
