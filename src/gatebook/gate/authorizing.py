"""May it pass? A Question becomes a Permitted: every element judged alone, and one that may not pass refuses the whole. Default deny."""

from typing import Literal

import msgspec

from gatebook.federation.scopes import scope_of
from gatebook.federation.stepping_up import mfa_scope_of
from gatebook.gate.asking import Element, Question, header_findings
from gatebook.gate.identifying import Caller
from gatebook.gate.refusal import Refused
from gatebook.gate.world import World
from gatebook.model.decision import Deny, Permit, TargetKind
from gatebook.model.deployment import CardNumbers, Server, ToolRule
from gatebook.model.errors import Reason
from gatebook.policy.stepping_up import unproven
from gatebook.wire import methods
from gatebook.wire.jsonrpc import Response


class Permitted(msgspec.Struct, frozen=True, kw_only=True):
    """A question that policy lets pass. `body` is what is sent: the original bytes, unless a tool's rule says `mask`."""

    question: Question
    permits: tuple[Permit, ...]
    body: bytes


def authorize(question: Question, world: World) -> Permitted:
    """Every element judged alone; one that may not pass refuses the whole question. Default deny.

    Raises Denied (with the first element refused) for policy and for a tool that is not as it was pinned, StepUp where it asks for a fresh login, Refused for cardholder data and for our
    own masks in arguments."""
    caller = question.caller
    permits = permits_of(question, caller)
    for element in question.elements:
        if element.rule is not None:
            _demand_proof(caller, element, element.rule, world)
        if caller.server.pins is not None:
            _demand_pinned(caller, element, world)
    body = _body_to_send(question) if question.findings else question.arrival.body
    return Permitted(question=question, permits=permits, body=body)


def permits_of(question: Question, caller: Caller) -> tuple[Permit, ...]:
    """What policy says of each element: that of `caller`, who is the question's, maybe by another standing. Raises Denied."""
    if not question.elements:
        return (_stream_permit(caller, "GET" if question.verb == "GET" else "DELETE"),)
    if len(question.elements) == 1:
        return (_permit(caller, question.elements[0]),)
    return tuple([_permit(caller, element) for element in question.elements])


def _demand_proof(caller: Caller, element: Element, rule: ToolRule, world: World) -> None:
    """What a role permits may still want a fresh login by several factors. Raises StepUp."""
    if rule.mfa is None:
        return
    if unproven(rule, caller.principal, world.clock.now().unix_s) is not None:
        raise StepUp(element, caller.server, rule)


def _demand_pinned(caller: Caller, element: Element, world: World) -> None:
    """What a role permits must still be what somebody looked at: the server's tools are pinned. Raises Denied."""
    if element.target.kind != "tool" or element.target.name is None:
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
    """What the tool's rule makes of a body that holds cardholder data."""
    pointers = sorted({finding.pointer for finding in question.findings})
    if any(finding.detector == "own_mask" for finding in question.findings):
        raise Refused(Reason.MASK_IN_ARGUMENTS, data={"at": pointers})
    policy = _card_numbers(question)
    if policy == "allow":
        return question.arrival.body
    if policy == "mask" and not question.arrival.once(header_findings):
        return question.masked.body
    raise Refused(Reason.CARD_NUMBER_IN_ARGUMENTS, data={"at": pointers})


def _card_numbers(question: Question) -> CardNumbers:
    if len(question.elements) != 1:
        return "refuse"
    rule = question.elements[0].rule
    return rule.card_numbers if rule and rule.card_numbers else question.caller.server.card_numbers
