"""Whatever is posted as a SAML response ends in a refusal, or is the provider's own assertion: nothing else is raised, nobody else comes in."""

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatebook.adapters.assertions_saml import SamlAssertions
from gatebook.federation.errors import LoginRefused
from gatebook.federation.saml import checks, gate, people
from gatebook.federation.saml import names as n
from gatebook.model.deployment import Deployment, IdentityProvider
from tests.asserting import NOW_S, Maker
from tests.examples import up_to

DEPLOYMENT = Deployment(
    profile="dev", public_url="", listen=(), workers=1, data_dir="", origin="", log_key="", payload_public_key=""
)
MAKER = Maker("https://idp.example/saml", desk="https://login.example")
PIECES = [
    *(b"<saml:Assertion", b"</saml:Assertion>", b"<samlp:Response", b"<ds:Signature", b"<saml:NameID>admin</saml:NameID>", b"admin"),
    *(b"<!-- -->", b"<?x?>", b"<!DOCTYPE x>", b"<![CDATA[x]]>", b"&#x0;", b"&amp;", b"&x;", b"\x00", b"\xff", b"<", b">", b'"', b"/", b"#_r1", b"#_a1"),
    *(b'ID="_a1"', b'ID="_r1"', b"xmlns:saml='urn:x'", b"\xe2\x80\xae", b" ", b"\n"),
]  # fmt: skip


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> IdentityProvider:
    return MAKER.idp(tmp_path_factory.mktemp("idp"))


@pytest.fixture(scope="module")
def assertions() -> SamlAssertions:
    return SamlAssertions(DEPLOYMENT)


def person(field: str, idp: IdentityProvider, assertions: SamlAssertions) -> tuple[str, tuple[str, ...]] | None:
    """Who is let in; None where it is refused. Anything else that is raised fails the test."""
    try:
        verified = assertions.verify(idp, gate.admit(field), acs_url=MAKER.acs, audience=MAKER.audience)
        expected = checks.Expected(issuer=idp.url, audience=MAKER.audience, acs_url=MAKER.acs, now_s=NOW_S)
        seen = people.logged_in(checks.asserted(verified.response, verified.assertion, expected), idp)
    except LoginRefused:
        return None
    return seen.person.subject, seen.groups


@given(st.text(max_size=200) | st.binary(max_size=400).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_text_is_refused(field: str) -> None:
    with pytest.raises(LoginRefused):
        gate.admit(field)


@st.composite
def changed(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[int, int, bytes]]]:
    """How a good response is made, and what is then done to its bytes: (place, how many go, what comes), places in thousandths."""
    made = draw(
        st.sampled_from(
            [
                {},
                {"sign": "response"},
                {"sign": "both"},
                {"encrypt": f"{n.XENC11}aes128-gcm"},
                {"encrypt": f"{n.XENC11}aes128-gcm", "sign": "both"},
            ]
        )
    )
    edit = st.tuples(st.integers(0, 9_999), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=4))
    return made, draw(st.lists(edit, min_size=1, max_size=4))


MADE: dict[str, bytes] = {}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=up_to(80),
)
@given(change=changed())
def test_a_changed_response_is_refused_or_says_the_same(
    change: tuple[dict[str, Any], list[tuple[int, int, bytes]]], idp: IdentityProvider, assertions: SamlAssertions
) -> None:
    made, edits = change
    xml = MADE.setdefault(repr(made), MAKER.response(**made))
    for place, gone, comes in edits:
        at = len(xml) * place // 10_000
        xml = xml[:at] + comes + xml[at + gone :]
    found = person(base64.b64encode(xml).decode(), idp, assertions)
    assert found in (None, ("00u1alice", ("support", "everybody")))


def test_the_unchanged_one_is_let_in(idp: IdentityProvider, assertions: SamlAssertions, tmp_path: Path) -> None:
    assert person(base64.b64encode(MAKER.response()).decode(), idp, assertions) == (
        "00u1alice",
        ("support", "everybody"),
    )
