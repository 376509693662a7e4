"""The checks after the verifier: what an assertion whose signature was verified must say, so that it is about this login, here and now.

SAML profiles §4.1.4.2 and §4.1.4.3; stricter where a library was seen to be lenient: an audience, a recipient, a destination and an InResponseTo
must be there *and* equal. One thing stays open: whether InResponseTo is the request of *this browser*. The browser's cookie does not come
with a post from another site, so that is asked at /login/saml/finish.
"""

import re
from datetime import UTC, datetime
from typing import NoReturn

import msgspec

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.saml import names as n
from gatebook.federation.saml.gate import Element, demand_success

SKEW_S = 60.0
ACCEPTED_S = 300.0
"""An assertion is taken for five minutes after it was issued, whatever longer validity it claims: real ones claim an hour."""
LONGEST_S = 86_400.0
"""Who claims more than a day is misconfigured, or somebody else."""
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z")
_CONDITIONS = frozenset({f"{{{n.SAML}}}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")})


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must stand in it. `issuer`: the provider's entity id; `audience`: ours."""

    issuer: str
    audience: str
    acs_url: str
    now_s: float


class Asserted(msgspec.Struct, frozen=True, kw_only=True):
    """What a good assertion says. `attributes`: name → its values, one tuple for each time the name stands there; `taken_until`: no later is the
    assertion accepted, so that long its id must be remembered; `session_until`: when the provider's session ends, None where it does not say."""

    assertion_id: str
    in_response_to: str
    name_id: str
    name_id_format: str
    attributes: dict[str, tuple[tuple[str, ...], ...]]
    context: str | None
    authenticated_at: int
    taken_until: float
    session_until: float | None


def asserted(response: Element, assertion: Element, expected: Expected) -> Asserted:
    """What `assertion` says, of which `response` is the envelope. The order of the steps is the proof.

    Raises LoginRefused: PROVIDER_REFUSED, SAML_ISSUER, SAML_UNASKED, SAML_FOR_OTHER, SAML_TIME, SAML_MALFORMED."""
    # 1. The provider says yes.
    demand_success(response)
    # 2. It is the configured one who says so, in the envelope where it says it, and in the assertion.
    _demand_issuer(assertion, expected.issuer, required=True)
    _demand_issuer(response, expected.issuer, required=False)
    # 3. It answers a request.
    request_id = response.get("InResponseTo")
    if not request_id:
        raise LoginRefused(
            Cause.SAML_UNASKED, "Logins begin at your program, not at the identity provider.", hint="no InResponseTo"
        )
    # 4. It was sent here, and is for us.
    if response.get("Destination") != expected.acs_url:
        _for_other("Destination is not our ACS, or is missing")
    name_id, confirmed_until = _subject(assertion, request_id, expected)
    conditions_from, conditions_until = _conditions(assertion, expected)
    # 5. It is good now.
    taken_until = _demand_now(assertion, conditions_from, min(confirmed_until, conditions_until), expected.now_s)
    # 6. Somebody logged in.
    context, authenticated_at, session_until = _authentication(assertion, expected.now_s)
    return Asserted(
        assertion_id=_attribute(assertion, "ID"),
        in_response_to=request_id,
        name_id=text_of(name_id),
        name_id_format=name_id.get("Format", n.UNSPECIFIED),
        attributes=_attributes(assertion),
        context=context,
        authenticated_at=int(authenticated_at),
        taken_until=taken_until,
        session_until=session_until,
    )


def text_of(element: Element) -> str:
    """The whole text of an element that holds nothing else."""
    if len(element):
        _malformed("an element that should hold text holds elements")
    return element.text or ""


def instant(text: str) -> float:
    """Seconds since the epoch of an xs:dateTime in UTC, as SAML demands (core §1.3.3)."""
    found = _INSTANT.fullmatch(text)
    try:
        if found is None:
            raise ValueError("no instant")
        return datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise LoginRefused(Cause.SAML_MALFORMED, _UNREADABLE, hint="a time is not written in UTC") from error


def _demand_issuer(element: Element, issuer: str, *, required: bool) -> None:
    found = element.findall(f"{{{n.SAML}}}Issuer")
    good = len(found) == 1 and text_of(found[0]) == issuer and found[0].get("Format", n.ENTITY) == n.ENTITY
    if not good and (found or required):
        raise LoginRefused(
            Cause.SAML_ISSUER,
            "The answer came from another identity provider than was asked.",
            hint="Issuer is not idp.url",
        )


def _subject(assertion: Element, request_id: str, expected: Expected) -> tuple[Element, float]:
    """The NameID, and until when it is confirmed that its bearer may come here with it."""
    subject = _only(assertion, "Subject")
    name_id = _only(subject, "NameID")
    confirmation = _only(subject, "SubjectConfirmation")
    if confirmation.get("Method") != n.BEARER:
        _malformed("the subject is not confirmed by bearer")
    data = _only(confirmation, "SubjectConfirmationData")
    if data.get("Recipient") != expected.acs_url:
        _for_other("Recipient is not our ACS, or is missing")
    if data.get("InResponseTo") != request_id:
        raise LoginRefused(
            Cause.SAML_UNASKED,
            "The identity provider's answer belongs to another login.",
            hint="InResponseTo of the confirmation is missing or another than the Response's",
        )
    if data.get("NotBefore") is not None:
        _malformed("the confirmation has a NotBefore")
    return name_id, instant(_attribute(data, "NotOnOrAfter"))


def _conditions(assertion: Element, expected: Expected) -> tuple[float, float]:
    conditions = _only(assertion, "Conditions")
    if any(child.tag not in _CONDITIONS for child in conditions):
        _malformed("it has a condition that is not understood")
    audiences = conditions.findall(f"{{{n.SAML}}}AudienceRestriction")
    named = [text_of(audience) for each in audiences for audience in each]
    if not audiences or not named or any(name != expected.audience for name in named):
        _for_other("Audience is not our entity id, is missing, or names others too")
    since, until = conditions.get("NotBefore"), conditions.get("NotOnOrAfter")
    return instant(since) if since else 0.0, instant(until) if until else float("inf")


def _demand_now(assertion: Element, since: float, until: float, now_s: float) -> float:
    issued = instant(_attribute(assertion, "IssueInstant"))
    if until - issued > LONGEST_S:
        _time("it claims to be valid for more than a day")
    if now_s < issued - SKEW_S or now_s < since - SKEW_S:
        _time("it is not valid yet; compare the clocks")
    taken_until = min(until, issued + ACCEPTED_S) + SKEW_S
    if now_s >= taken_until:
        _time("it has expired; compare the clocks")
    return taken_until


def _authentication(assertion: Element, now_s: float) -> tuple[str | None, float, float | None]:
    statement = _only(assertion, "AuthnStatement")
    authenticated_at = instant(_attribute(statement, "AuthnInstant"))
    if authenticated_at > now_s + SKEW_S:
        _time("the person logs in in the future; compare the clocks")
    ends = statement.get("SessionNotOnOrAfter")
    session_until = instant(ends) if ends is not None else None
    if session_until is not None and session_until <= now_s:
        _time("the provider's session has ended")
    classes = statement.findall(f"{{{n.SAML}}}AuthnContext/{{{n.SAML}}}AuthnContextClassRef")
    if len(classes) > 1:
        _malformed("it names more than one AuthnContextClassRef")
    return text_of(classes[0]) or None if classes else None, authenticated_at, session_until


def _attributes(assertion: Element) -> dict[str, tuple[tuple[str, ...], ...]]:
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for attribute in assertion.findall(f"{{{n.SAML}}}AttributeStatement/{{{n.SAML}}}Attribute"):
        # A value with elements inside (a NameID, an address) is none that we could compare.
        values = [each for each in attribute if not len(each)]
        texts = tuple(each.text or "" for each in values) if len(values) == len(attribute) else ()
        name = _attribute(attribute, "Name")
        found[name] = (*found.get(name, ()), texts)
    return found


def _only(element: Element, name: str) -> Element:
    found = element.findall(f"{{{n.SAML}}}{name}")
    if len(found) != 1:
        _malformed(f"there is not exactly one {name}")
    return found[0]


def _attribute(element: Element, name: str) -> str:
    value = element.get(name)
    if not isinstance(value, str) or not value:
        _malformed(f"there is no {name}")
    return value


_UNREADABLE = "The identity provider's answer cannot be read."


def _malformed(hint: str) -> NoReturn:
    raise LoginRefused(Cause.SAML_MALFORMED, _UNREADABLE, hint=hint)


def _for_other(hint: str) -> NoReturn:
    raise LoginRefused(Cause.SAML_FOR_OTHER, "The identity provider's answer is for somebody else.", hint=hint)


def _time(hint: str) -> NoReturn:
    raise LoginRefused(Cause.SAML_TIME, "The identity provider's answer is too old, or not valid yet.", hint=hint)
