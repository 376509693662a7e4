"""Who asks what: an Arrival becomes a Caller (identified), a Question (parsed, inspected), a Permitted (authorized). Each stage demands the one before."""

import hmac
from typing import Literal

import msgspec

from gatebook.federation.scopes import scope_of
from gatebook.federation.stepping_up import mfa_scope_of
from gatebook.gate.refusal import Refused
from gatebook.gate.world import OFF_LOOP_BYTES, Known, Standing, World
from gatebook.identity.bearer import read_bearer
from gatebook.identity.errors import TokenRefused
from gatebook.identity.sessions import session_key
from gatebook.identity.tokens import Judged
from gatebook.ledger.entry import uuid7
from gatebook.masking import Inspected, Masked, MaskingFailed, Secrets, inspect, mask, mask_text
from gatebook.model.decision import Deny, Permit, TargetKind
from gatebook.model.deployment import CardNumbers, Recording, Server, ToolRule
from gatebook.model.errors import Malformed, Reason
from gatebook.model.finding import Finding
from gatebook.model.http import Arrival, Headers
from gatebook.model.principal import Principal
from gatebook.model.record import Asked, Origin, Resource, Who
from gatebook.policy import PolicyView, view
from gatebook.policy.globs import matches
from gatebook.policy.stepping_up import unproven
from gatebook.wire import build, jsonrpc, methods, mirrored, revisions
from gatebook.wire import headers as wire_headers
from gatebook.wire.jsonrpc import Message, Notification, Request, Response
from gatebook.wire.revisions import Era

CLIENT_NAME_CHARS = 120
ID_CHARS = 128
"""What is cut is masked before: half a card number is one that no detector knows."""
INITIALIZE = "initialize"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An identified caller at one server, judged by one standing; `session` is the recording session the call belongs to."""

    server: Server
    principal: Principal
    standing: Standing
    session: str
    who: Who
    origin: Origin
    permits: PolicyView
    """What the principal may do on this server."""


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


class Permitted(msgspec.Struct, frozen=True, kw_only=True):
    """A question that policy lets pass. `body` is what is sent: the original bytes, unless a tool's rule says `mask`."""

    question: Question
    permits: tuple[Permit, ...]
    body: bytes


def identify(arrival: Arrival, server: Server, standing: Standing, world: World) -> Caller:
    """The caller behind the request's bearer token. Raises TokenRefused (a CallerError) and nothing else for a bad credential."""
    now = world.clock.now()
    if standing.snapshot.deployment.profile == "pci" and not now.synchronised:
        raise Refused(
            Reason.CLOCK_UNSYNCHRONISED
        )  # PCI DSS 10.6: an entry whose time nobody keeps in step is no evidence
    known = arrival.said.get("known")
    if not (isinstance(known, Known) and known.holds(arrival, server, standing, now.unix_us / 1_000_000)):
        known = arrival.said["known"] = _verified(arrival, server, standing, now.unix_s, world)
    if known.principal.sid is not None:
        _demand_not_revoked(known.principal.sid, world)
    session = world.sessions.touch(known.session_key, now.unix_us)
    caller = arrival.said.get("caller")
    if isinstance(caller, Caller) and caller.session == session and caller.who is known.who:
        return caller
    caller = arrival.said["caller"] = Caller(
        server=server,
        principal=known.principal,
        standing=standing,
        session=session,
        who=known.who,
        origin=known.origin,
        permits=view(known.principal, server.name, standing.snapshot.deployment),
    )
    return caller


def _demand_not_revoked(sid: str, world: World) -> None:
    """At every call and after every cache: a revoked login is refused at its next call. Raises TokenRefused."""
    trust = world.trust()
    if trust is None:
        raise TokenRefused(Reason.KEYS_UNAVAILABLE, "Which logins were ended is not known at present.")
    if sid in trust.revoked:
        raise TokenRefused(Reason.LOGIN_REVOKED, "The login was ended; log in again.")


def _verified(arrival: Arrival, server: Server, standing: Standing, now_s: float, world: World) -> Known:
    judged = standing.verifier.judge(read_bearer(arrival.headers, arrival.target), server, now_s)
    key = (id(judged), arrival.client_ip, arrival.header(b"user-agent"))
    known = standing.known.get(key)
    # What is kept holds its object, so that the number can mean no other.
    if known is None or known.judged is not judged:
        known = standing.known.keep(key, _written_down(judged, arrival, server, standing, world))
    return known


def _written_down(judged: Judged, arrival: Arrival, server: Server, standing: Standing, world: World) -> Known:
    principal = judged.principal
    who = Who(
        kind=principal.kind,
        iss=principal.issuer,
        sub=_recordable(principal.subject, world),
        agent=_recordable(principal.agent, world) if principal.agent else None,
        login=_recordable(principal.login, world),
        amr=tuple(_recordable(method, world) for method in principal.evidence.amr),
        acr=_recordable(principal.evidence.acr, world) if principal.evidence.acr else None,
        auth_time=principal.evidence.auth_time,
        acting_for=_recordable(principal.acting_for, world) if principal.acting_for else None,
    )
    return Known(
        standing=standing,
        server=server,
        ip=arrival.client_ip,
        judged=judged,
        who=who,
        origin=origin_of(arrival),
        session_key=_session_key(principal, server),
    )


def _recordable(claim: str, world: World) -> str:
    """A token's claim as an entry may hold it: one that could be a card number is replaced by its HMAC, so that two callers stay two."""
    if not mask_text(claim)[1]:
        return claim
    return "hmac:" + hmac.digest(world.fingerprint.key, claim.encode(), "sha256").hex()[:32]


def origin_of(arrival: Arrival) -> Origin:
    """Where the request came from, for the book; what the client says of itself is masked, printable and cut."""
    agent = (arrival.header(b"user-agent") or b"").decode("latin-1")
    text, _ = mask_text("".join(c for c in agent if c.isprintable()))
    return Origin(ip=arrival.client_ip, client=text[:CLIENT_NAME_CHARS] or None)


def _session_key(principal: Principal, server: Server) -> bytes:
    return session_key(principal.issuer, principal.subject, principal.agent, principal.login, server.name)


async def read(arrival: Arrival, caller: Caller, secrets: Secrets, world: World) -> Question:
    """Parse the request strictly and inspect it; `secrets` are redacted from what is recorded. Findings do not refuse here: `authorize` does, so that who asked what is known.

    Raises Malformed (parse, header mismatch, batch, version) and Refused (session, HTTP method, media type)."""
    if arrival.method != "POST":
        return _bodiless(arrival, caller, world)
    if arrival.once(wire_headers.media_type) != "application/json":
        raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE)
    if len(arrival.body) <= OFF_LOOP_BYTES:
        parsed, inspected = _looked_at(arrival.body, secrets)
    else:
        sender = ("caller", caller.principal.issuer, caller.principal.subject)
        parsed, inspected = await world.off_loop(sender, arrival.body, _looked_at, arrival.body, secrets)
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
    findings = inspected.findings + arrival.once(_header_findings)
    suspicious = bool(findings or masked.findings)
    elements = tuple(
        [_element(message, caller, world, masked, era, suspicious, alone=not batch) for message in messages]
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
        findings=arrival.once(_header_findings),
        masked=mask(b"null"),
    )


def _looked_at(body: bytes, secrets: Secrets) -> tuple[Message | jsonrpc.Batch, Inspected | MaskingFailed]:
    """The message in `body`, and what inspection says of it. Raises Malformed; that it cannot be inspected comes after what is wrong with it."""
    parsed = jsonrpc.parse_client(body)
    try:
        return parsed, inspect(body, secrets)
    except MaskingFailed as failed:
        return parsed, failed


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


def _element(
    message: Message, caller: Caller, world: World, masked: Masked, era: Era, suspicious: bool, *, alone: bool
) -> Element:
    method = "response" if isinstance(message, Response) else message.method
    target = _target(message, era)
    name = target.name
    if name is not None and suspicious:
        name, _ = mask_text(name)
    asked = Asked(
        id=_id_text(message, suspicious),
        shape={} if isinstance(message, Response) else build.shape(_arguments(message)),
        fp=_fingerprint(method, name, message, masked if alone else mask(message.raw), world),
        kid=world.fingerprint.kid,
    )
    written = mask_text(method)[0] if suspicious else method
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
    """HMAC-SHA-256 (32 hex digits of it) over method, name and the masked argument bytes as sent: equal calls have equal fingerprints."""
    if masked.findings or not isinstance(message, Request):
        arguments = jsonrpc.arguments_of(masked.body)
    else:
        arguments = message.arguments
    text = b"\0".join((method.encode(), (name or "").encode(), arguments))
    return hmac.digest(world.fingerprint.key, text, "sha256").hex()[:32]


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


def _id_text(message: Message, suspicious: bool) -> str | None:
    if isinstance(message, Notification):
        return None
    text = message.id.decode("utf-8", "replace")
    return (mask_text(text)[0] if suspicious else text)[:ID_CHARS]


def new_call_id(world: World) -> str:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time."""
    return uuid7(world.clock.now().unix_us // 1000, world.random(10))


def _header_findings(headers: Headers) -> tuple[Finding, ...]:
    """`Mcp-Name`, `Mcp-Param-*` and `Last-Event-ID` are inspected like arguments: they reach the server too."""
    texts = [text for _, text in mirrored.param_values(headers)]
    texts += [value.decode("latin-1") for name, value in headers if name in (b"mcp-name", b"last-event-id")]
    return tuple(finding for text in texts for finding in mask_text(text)[1])


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


def authorize(question: Question, world: World) -> Permitted:
    """Every element judged alone; one that may not pass refuses the whole question. Default deny.

    Raises Denied (with the first element refused) for policy and for a tool that is not as it was pinned, StepUp where it asks for a fresh login, Refused for cardholder data and for our
    own masks in arguments."""
    permits = permits_of(question, question.caller)
    for element in question.elements:
        _demand_proof(question.caller, element, world)
        _demand_pinned(question.caller, element, world)
    return Permitted(question=question, permits=permits, body=_body_to_send(question))


def permits_of(question: Question, caller: Caller) -> tuple[Permit, ...]:
    """What policy says of each element: that of `caller`, who is the question's, maybe by another standing. Raises Denied."""
    if not question.elements:
        return (_stream_permit(caller, "GET" if question.verb == "GET" else "DELETE"),)
    return tuple([_permit(caller, element) for element in question.elements])


def by_standing(caller: Caller, standing: Standing, server: Server) -> Caller:
    """The caller as another standing sees him, in which `server` is the one he calls."""
    permits = view(caller.principal, server.name, standing.snapshot.deployment)
    return msgspec.structs.replace(caller, standing=standing, server=server, permits=permits)


def _demand_proof(caller: Caller, element: Element, world: World) -> None:
    """What a role permits may still want a fresh login by several factors. Raises StepUp."""
    rule = element.rule
    if rule is None or rule.mfa is None:
        return
    if unproven(rule, caller.principal, world.clock.now().unix_s) is not None:
        raise StepUp(element, caller.server, rule)


def _demand_pinned(caller: Caller, element: Element, world: World) -> None:
    """What a role permits must still be what somebody looked at, where the server's tools are pinned. Raises Denied."""
    if caller.server.pins is None or element.target.kind != "tool" or element.target.name is None:
        return
    if world.quarantine.holds(caller.server, element.target.name):
        raise Denied(Reason.TOOL_QUARANTINED, element, f"server:{caller.server.name}/pins")


class Denied(Refused):
    """Refused by policy; `element` is None for a stream; `rule` names what decided."""

    def __init__(self, reason: Reason, element: Element | None, rule: str) -> None:
        super().__init__(reason)
        self.element = element
        self.rule = rule


class StepUp(Denied):
    """Permitted, and the login is not fresh enough, or not proven to be by several factors. `scope`: all that the call needs."""

    def __init__(self, element: Element, server: Server, rule: ToolRule) -> None:
        super().__init__(
            Reason.INSUFFICIENT_SCOPE, element, f"server:{server.name}/tool[{server.tool_rules.index(rule)}]/mfa"
        )
        self.scope = f"{scope_of(server)} {mfa_scope_of(server)}"
        self.max_age_s = rule.mfa_max_age_s


def _permit(caller: Caller, element: Element) -> Permit:
    if isinstance(element.message, Response):
        return _stream_permit(caller, "response")
    target = element.target
    if target.kind == "other" and element.message.method in methods.METHODS:
        raise Denied(Reason.METHOD_UNKNOWN, element, "protocol")
    kind: TargetKind = "method" if target.kind == "other" else target.kind
    permit = _decide(caller, element, element.message.method, kind, target.name)
    for name in target.names:
        _decide(caller, element, element.message.method, kind, name)
    if target.tasks:
        _decide(caller, element, "tasks/get", "task", None)
    return permit


def _decide(caller: Caller, element: Element | None, method: str, kind: TargetKind, name: str | None) -> Permit:
    decision = caller.permits.answer(kind, method, name)
    if isinstance(decision, Deny):
        raise Denied(decision.reason, element, decision.rule)
    return decision


def _stream_permit(caller: Caller, what: Literal["GET", "DELETE", "response"]) -> Permit:
    """GET, DELETE and answers to the server's own requests belong to the session's life: any grant on the server implies them."""
    return _decide(caller, None, what, "lifecycle", None)


def _body_to_send(question: Question) -> bytes:
    """The original bytes, or what the tool's rule makes of them where they hold cardholder data."""
    if not question.findings:
        return question.arrival.body
    pointers = sorted({finding.pointer for finding in question.findings})
    if any(finding.detector == "own_mask" for finding in question.findings):
        raise Refused(Reason.MASK_IN_ARGUMENTS, data={"at": pointers})
    policy = _card_numbers(question)
    if policy == "allow":
        return question.arrival.body
    if policy == "mask" and not question.arrival.once(_header_findings):
        return question.masked.body
    raise Refused(Reason.CARD_NUMBER_IN_ARGUMENTS, data={"at": pointers})


def _card_numbers(question: Question) -> CardNumbers:
    if len(question.elements) != 1:
        return "refuse"
    rule = question.elements[0].rule
    return rule.card_numbers if rule and rule.card_numbers else question.caller.server.card_numbers
