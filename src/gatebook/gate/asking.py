"""What is asked: an Arrival of a Caller becomes a Question, parsed strictly and inspected."""

from typing import Literal

import msgspec

from gatebook.gate.identifying import Caller
from gatebook.gate.refusal import Refused
from gatebook.gate.world import OFF_LOOP_BYTES, World
from gatebook.ledger.entry import uuid7
from gatebook.masking import Inspected, Masked, MaskingFailed, Secrets, inspect, inspect_arguments, mask, mask_text
from gatebook.model.deployment import Recording, Server, ToolRule
from gatebook.model.errors import Malformed, Reason
from gatebook.model.finding import Finding
from gatebook.model.http import Arrival, Headers
from gatebook.model.record import Asked, Resource
from gatebook.policy.globs import matches
from gatebook.wire import build, jsonrpc, methods, mirrored, revisions
from gatebook.wire import headers as wire_headers
from gatebook.wire.jsonrpc import Message, Notification, Request, Response
from gatebook.wire.revisions import Era
from gatebook.wire.template import Template, filled, template_of

TEMPLATES_KEPT = 4
NAME_CHARS = 8192
ID_CHARS = 128
"""What is cut is masked before: half a card number is one that no detector knows."""


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON-RPC message of a question. `call` is our id for it; `asked` its shape for the book; `name` the target's, masked."""

    call: str
    method: str
    message: Message
    target: methods.Target
    asked: Asked
    resource: Resource
    """What it reaches for, as the book says it: the target's name masked."""
    rule: ToolRule | None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks: one HTTP request, parsed and inspected. `elements`: one message, several in a batch, none for GET and DELETE.
    `call`: the id of the whole, which is that of its first element where there is one."""

    call: str
    caller: Caller
    arrival: Arrival
    verb: Literal["POST", "GET", "DELETE"]
    era: Era
    batch: bool
    elements: tuple[Element, ...]
    calls: tuple[Element, ...]
    """The elements that await an answer."""
    upstream_session: str | None
    findings: tuple[Finding, ...]
    masked: Masked
    """The body as it may be recorded."""
    repeated: "Repeated | None" = None
    """What it was read by, where it is like an earlier one."""

    @property
    def listens(self) -> bool:
        """All that it asks for is `subscriptions/listen` (MCP 2026-07-28)."""
        return bool(self.calls) and all(element.target.kind == "listen" for element in self.calls)

    @property
    def endless(self) -> bool:
        """It opens a stream that ends only with its reader. No call waits for it."""
        return self.verb == "GET" or self.listens


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a head and from a message's template, whatever stands in it for id and arguments, at one server: there was no
    finding, and the headers agree with the message."""

    server: Server
    template: Template
    era: Era
    target: methods.Target
    resource: Resource
    rule: ToolRule | None
    fingerprint: bytes
    """What the call's fingerprint begins with."""


async def read(arrival: Arrival, caller: Caller, secrets: Secrets, world: World) -> Question:
    """Parse the request strictly and inspect it; `secrets` are redacted from what is recorded. Findings do not refuse here: `authorize` does, so that who asked what is known.

    Raises Malformed (parse, header mismatch, batch, version) and Refused (session, HTTP method, media type)."""
    seen = arrival.said.get("seen")
    if isinstance(seen, tuple):
        for repeated in seen:
            question = _read_again(arrival, caller, secrets, repeated, world)
            if question is not None:
                return question
    question = await _read_anew(arrival, caller, secrets, world)
    _remember(question, world)
    return question


async def _read_anew(arrival: Arrival, caller: Caller, secrets: Secrets, world: World) -> Question:
    if arrival.method != "POST":
        return _bodiless(arrival, caller, world)
    if arrival.once(wire_headers.media_type) != "application/json":
        raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE)
    if len(arrival.body) <= OFF_LOOP_BYTES:
        parsed, inspected, maskeds = _looked_at(arrival.body, secrets)
    else:
        sender = ("caller", caller.principal.issuer, caller.principal.subject)
        parsed, inspected, maskeds = await world.off_loop(sender, arrival.body, _looked_at, arrival.body, secrets)
    batch = isinstance(parsed, jsonrpc.Batch)
    messages = parsed.elements if isinstance(parsed, jsonrpc.Batch) else (parsed,)
    revision = _revision(arrival, parsed)
    if batch and not revision.batches:
        raise Malformed(Reason.BATCH_FORBIDDEN, "batches exist in protocol revision 2025-03-26 only")
    era = revision.era
    if era == "modern":
        mirrored.check_mirrored(arrival.once(mirrored.stated), messages[0])
    if isinstance(inspected, MaskingFailed):
        raise inspected
    masked = inspected.masked
    findings = inspected.findings + arrival.once(header_findings)
    suspicious = bool(findings or masked.findings)
    elements = tuple(
        [
            _element(message, caller, world, alone, era, suspicious)
            for message, alone in zip(messages, maskeds, strict=True)
        ]
    )
    return Question(
        call=elements[0].call,
        caller=caller,
        arrival=arrival,
        verb="POST",
        era=era,
        batch=batch,
        elements=elements,
        calls=tuple([element for element in elements if isinstance(element.message, Request)]),
        upstream_session=_upstream_session(arrival, caller, era, world),
        findings=findings,
        masked=masked,
    )


def _read_again(
    arrival: Arrival, caller: Caller, secrets: Secrets, repeated: Repeated, world: World
) -> Question | None:
    """As `_read_anew`, for one more message like that of which `repeated` tells. None where it is not, and where anything in it is found."""
    if repeated.server is not caller.server:
        return None
    message = message_again(arrival.body, secrets, repeated)
    if message is None:
        return None
    session = None if repeated.era == "modern" else _upstream_session(arrival, caller, repeated.era, world)
    asked = asked_again(message, repeated, world)
    return question_again(arrival, caller, repeated, message, asked, new_call_id(world), session)


def message_again(body: bytes, secrets: Secrets, repeated: Repeated) -> Request | None:
    """The message in `body`, where it is like that of which `repeated` tells, not large, and nothing is found in it. Never raises."""
    if len(body) > OFF_LOOP_BYTES:
        return None
    message = filled(repeated.template, body)
    if message is None:
        return None
    try:
        inspected = inspect(body, secrets)
    except MaskingFailed:
        return None
    return None if inspected.findings or inspected.masked.findings else message


def asked_again(message: Request, repeated: Repeated, world: World) -> Asked:
    """Its shape for the book, where `message_again` gave it."""
    return Asked(
        id=message.id.decode(),
        shape=build.shape(message.params["arguments"]),
        fp=world.fingerprint.going_on(repeated.fingerprint, message.arguments),
        kid=world.fingerprint.kid,
    )


def question_again(
    arrival: Arrival,
    caller: Caller,
    repeated: Repeated,
    message: Request,
    asked: Asked,
    call: str,
    upstream_session: str | None,
) -> Question:
    """What is asked with a message that `message_again` gave."""
    element = Element(
        call=call,
        method=message.method,
        message=message,
        target=repeated.target,
        asked=asked,
        resource=repeated.resource,
        rule=repeated.rule,
    )
    alone = (element,)
    return Question(
        call=call,
        caller=caller,
        arrival=arrival,
        verb="POST",
        era=repeated.era,
        batch=False,
        elements=alone,
        calls=alone,
        upstream_session=upstream_session,
        findings=(),
        masked=Masked(arrival.body, ()),
        repeated=repeated,
    )


def _remember(question: Question, world: World) -> None:
    """What the next message with this head need not be asked again. It stands beside the head and goes with it."""
    if len(question.calls) != 1 or question.batch or question.findings or question.masked.findings:
        return
    server, said = question.caller.server, question.arrival.said
    seen = said.get("seen")
    if not isinstance(seen, tuple):
        said["seen"] = ()  # a head that comes but once is not worth more
        return
    seen = tuple([repeated for repeated in seen if repeated.server is server])
    element = question.calls[0]
    assert isinstance(element.message, Request)
    # A client that writes each message in another way must not make us look for what will not come again.
    template = template_of(element.message) if len(seen) < TEMPLATES_KEPT else None
    # One that is there already did not read this message, for what was found in it or for how it is written, and will not read the next.
    if template is not None and not any(template.is_alike(repeated.template) for repeated in seen):
        repeated = Repeated(
            server=server, template=template, era=question.era, target=element.target, resource=element.resource, rule=element.rule,
            fingerprint=world.fingerprint.begun(template.method, element.resource.name),
        )  # fmt: skip
        said["seen"] = (*seen, repeated)


def _bodiless(arrival: Arrival, caller: Caller, world: World) -> Question:
    """A GET that asks for a stream, or a DELETE that ends a session."""
    era = revisions.era_of(arrival.headers, None)
    if era == "modern":
        # 2026-07-28 has neither streams by GET nor sessions to delete.
        raise Refused(Reason.METHOD_NOT_ALLOWED, allow=b"POST")
    if arrival.method not in ("GET", "DELETE"):
        raise Refused(Reason.METHOD_NOT_ALLOWED, allow=b"GET, POST, DELETE")
    if arrival.body:
        # Nobody would judge it, and a server may take it for a message, or for its next request.
        raise Refused(Reason.BAD_REQUEST)
    if arrival.method == "GET" and not wire_headers.accepts(arrival.headers, "text/event-stream"):
        raise Refused(Reason.NOT_ACCEPTABLE)
    return Question(
        call=new_call_id(world),
        caller=caller,
        arrival=arrival,
        verb="GET" if arrival.method == "GET" else "DELETE",
        era=era,
        batch=False,
        elements=(),
        calls=(),
        upstream_session=_upstream_session(arrival, caller, era, world),
        findings=arrival.once(header_findings),
        masked=mask(b"null"),
    )


def _looked_at(
    body: bytes, secrets: Secrets
) -> tuple[Message | jsonrpc.Batch, Inspected | MaskingFailed, tuple[Masked, ...]]:
    """The message in `body`, what inspection says of it, and each of its messages masked by itself. Raises Malformed; that it cannot be inspected
    comes after what is wrong with it."""
    parsed = jsonrpc.parse_client(body)
    try:
        inspected = inspect(body, secrets)
        batch = parsed.elements if isinstance(parsed, jsonrpc.Batch) else ()
        return parsed, inspected, tuple([mask(message.raw) for message in batch]) or (inspected.masked,)
    except MaskingFailed as failed:
        return parsed, failed, ()


def _revision(arrival: Arrival, message: Message | jsonrpc.Batch) -> revisions.Revision:
    """The revision the message is written in. A version we do not know is refused in the words of its era, so that a dual-era client can fall back."""
    try:
        return revisions.revision_of(arrival.headers, message)
    except Malformed as unknown:
        if unknown.reason is not Reason.UNSUPPORTED_VERSION:
            raise
        if not revisions.declares_modern(message):
            raise Malformed(Reason.BAD_REQUEST, "Bad Request: unsupported MCP-Protocol-Version.") from unknown
        requested = revisions.requested_version(arrival.headers, message)
        data: dict[str, object] = {"supported": list(revisions.MODERN), "requested": requested}
        raise Refused(Reason.UNSUPPORTED_VERSION, data=data) from unknown


def _element(message: Message, caller: Caller, world: World, masked: Masked, era: Era, suspicious: bool) -> Element:
    method = "response" if isinstance(message, Response) else message.method
    target = _target(message, era)
    name = target.name
    if name is not None and suspicious:
        name = _shown(name)
    asked = Asked(
        id=_id_text(message, suspicious),
        shape={} if isinstance(message, Response) else build.shape(_arguments(message), suspicious=suspicious),
        fp=_fingerprint(method, name, message, masked, world),
        kid=world.fingerprint.kid,
    )
    written = _shown(method) if suspicious else method
    return Element(
        call=new_call_id(world),
        method=written,
        message=message,
        target=target,
        asked=asked,
        resource=Resource(kind="server", server=caller.server.name, method=written, name=name),
        rule=_tool_rule(caller.server, target),
    )


def _fingerprint(method: str, name: str | None, message: Message, masked: Masked, world: World) -> str:
    """Of the masked argument bytes as sent: equal calls have equal fingerprints."""
    if masked.findings or not isinstance(message, Request):
        arguments = jsonrpc.arguments_of(masked.body)
    else:
        arguments = message.arguments
    return world.fingerprint.of(method, name, arguments)


def _target(message: Message, era: Era) -> methods.Target:
    """What the message reaches for. A method that its era does not have reaches for nothing we know, whatever its params."""
    if isinstance(message, Response):
        return methods.Target(kind="lifecycle")
    kind: methods.MethodKind = "request" if isinstance(message, Request) else "notification"
    if (message.method, kind) not in _SENT_BY_CLIENTS[era]:
        return methods.Target(kind="other")
    return methods.target(message.method, message.params)


_SENT_BY_CLIENTS = {
    era: frozenset(
        (method.name, method.kind)
        for method in methods.METHODS.values()
        if any(methods.sendable(method.name, method.kind, "client", revision) for revision in names)
    )
    for era, names in revisions.NAMES_OF_ERA.items()
}


def _arguments(message: Request | Notification) -> dict[str, object]:
    arguments = message.params.get("arguments")
    return arguments if isinstance(arguments, dict) else message.params


def _shown(name: str) -> str:
    """A name as the book may hold it. One too long for any tool, prompt or resource is not looked at on the event loop, which all callers share; and
    what is cut could be half a card number."""
    return mask_text(name)[0] if len(name) <= NAME_CHARS else f"... ({len(name)} characters)"


def _id_text(message: Message, suspicious: bool) -> str | None:
    if isinstance(message, Notification):
        return None
    text = message.id.decode("utf-8", "replace")
    return (_shown(text) if suspicious else text)[:ID_CHARS]


def new_call_id(world: World) -> str:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time."""
    return uuid7(world.clock.now().unix_us // 1000, world.random(10))


def header_findings(headers: Headers) -> tuple[Finding, ...]:
    """`Mcp-Name`, `Mcp-Param-*` and `Last-Event-ID` are inspected like arguments: they reach the server too. A parameter is judged by its
    name as an argument is, among the others; whatever is wrapped, as it stands and unwrapped. No pointer leads into a header: it is "".

    Raises Malformed(HEADER_MISMATCH) where a value cannot be read, and MaskingFailed."""
    params = mirrored.param_values(headers)
    innermost = dict(params)
    judged: list[object] = [innermost] if params else []
    judged += [{name: text} for name, text in params if text != innermost[name]]
    judged += mirrored.name_values(headers)
    judged += [value.decode("latin-1") for name, value in headers if name == b"last-event-id"]
    if not judged:
        return ()
    findings = inspect_arguments(msgspec.json.encode(judged))
    return tuple([msgspec.structs.replace(finding, pointer="") for finding in findings])


def _upstream_session(arrival: Arrival, caller: Caller, era: Era, world: World) -> str | None:
    """The upstream's own session id behind the client's handle. Raises Refused(SESSION_UNKNOWN) where the handle is not this caller's."""
    if era == "modern":
        return None
    handles = arrival.all(b"mcp-session-id")
    if not handles:
        return None
    opened = world.handles.open(handles[0], caller.principal, caller.server.name) if len(handles) == 1 else None
    if opened is None:
        raise Refused(Reason.SESSION_UNKNOWN)
    return opened


def _tool_rule(server: Server, target: methods.Target) -> ToolRule | None:
    if target.kind != "tool" or target.name is None:
        return None
    for rule in server.tool_rules:
        if any(matches(glob, target.name) for glob in rule.tools):
            return rule
    return None


def recording_of(question: Question) -> Recording:
    """The strictest recording level that the question's elements ask for."""
    server = question.caller.server
    if len(question.elements) == 1:
        rule = question.elements[0].rule
        return (rule.record if rule else None) or server.record
    levels = {
        element.rule.record if element.rule and element.rule.record else server.record for element in question.elements
    }
    return "shape" if "shape" in levels or (not levels and server.record == "shape") else "masked"
