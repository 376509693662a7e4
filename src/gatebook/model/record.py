"""What is written into the book: a draft by whoever acts, an entry once a writer has numbered and stored it.

The members of what goes into an entry as it is (Who, Origin, Resource, PolicyRef, Asked) stand in the order of RFC 8785 §3.2.3: `ledger.entry`
encodes them unsorted.
"""

from typing import Final, Literal

import msgspec

from gatebook.model.finding import Finding

Event = Literal[
    "log.init", "log.start", "log.stop", "log.recover", "log.heartbeat", "log.backup", "log.restore", "disk.space",
    "config.load", "config.refused",
    "auth.failed",
    "login.completed", "login.changed", "login.ended", "login.refused", "idp.trusted",
    "consent.given", "consent.refused", "client.registered", "client.refused",
    "token.issued", "token.refused", "grant.revoked",
    "session.open", "session.chunk", "session.close",
    "call.intent", "call.result", "call.refused",
    "message.client", "message.server",
    "stream.open", "stream.close",
    "tool.quarantined", "tool.restored",
    "log.read", "recording.read", "grants.read", "revocation.ordered", "api.refused",
]  # fmt: skip

SENT_BY_CALLERS: Final = frozenset({"call.intent", "call.refused", "message.client"})
"""Their bodies and findings are of what a caller sent; those of all others, of what a server said."""


class Who(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The user of PCI DSS 10.2.2. `kind`: person, job, service (a room of Gatebook's own), operator (`os:NAME`, declared), unknown.

    `iss` and `sub` are the identity provider's; for a room `iss` is "gatebook" and `sub` the writer's name.
    """

    acr: str | None = None
    acting_for: str | None = None
    agent: str | None = None
    amr: tuple[str, ...] = ()
    auth_time: int | None = None
    declared: bool = False
    """True where nobody proved this identity (the operating system's word)."""
    iss: str
    kind: Literal["person", "job", "service", "operator", "unknown"]
    login: str | None = None
    sub: str


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where it came from: an address, or "local"; `client` is what the program says of itself, at most 120 characters."""

    client: str | None = None
    ip: str


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was reached for. `kind`: server, log, recording, config, deployment. `name`: tool, prompt or resource URI, masked."""

    kind: str
    method: str | None = None
    name: str | None = None
    server: str | None = None


class PolicyRef(msgspec.Struct, frozen=True, kw_only=True):
    """What judged it: the configuration's hash (hex), the snapshot's number, the rule's name (`role:NAME/allow[I]`, or `default`)."""

    config: str
    decision: Literal["permit", "deny"]
    rule: str
    snapshot: int


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The shape of what was asked: JSON-RPC id as text, argument names with types (never values), fingerprint and its key's id."""

    fp: str | None = None
    id: str | None = None
    kid: str | None = None
    shape: dict[str, str] = {}


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """A body to be recorded. `body` is a masker's output: raw text cannot get here. `part`: request, response, event, message."""

    part: Literal["request", "response", "event", "message"]
    body: bytes


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry before it is numbered. The six fields of PCI DSS 10.2.2: who, event, (time: the writer's), ok, origin, resource.

    `session` is the recording session; the writer opens it on first sight (`session.open`, with a data key of its own) and counts
    `n` within (session, writer). `detail`: facts of this event; ASCII keys, strings, booleans and integers below 2^53.
    """

    event: Event
    ok: bool
    reason: str
    who: Who
    origin: Origin
    resource: Resource
    call: str | None = None
    session: str | None = None
    policy: PolicyRef | None = None
    credential: str | None = None
    asked: Asked | None = None
    findings: tuple[Finding, ...] = ()
    payloads: tuple[Payload, ...] = ()
    detail: dict[str, str | int | bool] = {}
