"""Attacks on a SAML response, over gate, verifier and checks: each is refused, and for the reason that it should be."""

import base64
from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from gatebook.adapters.assertions_saml import SamlAssertions
from gatebook.federation.errors import LoginRefused
from gatebook.federation.records import LoggedIn
from gatebook.federation.saml import checks, gate, people
from gatebook.federation.saml import names as n
from gatebook.model.deployment import Deployment, IdentityProvider
from tests.asserting import NOW_S, Maker, key_pair
from tests.saml_variants import VARIANTS, Scene, Variant

REQUEST = "_request"
DEPLOYMENT = Deployment(
    profile="dev", public_url="", listen=(), workers=1, data_dir="", origin="", log_key="", payload_public_key=""
)
OF_PROVIDERS: dict[str, SamlAssertions] = {}
"""As in a desk, one for all that comes from a provider: its files are read once, and to check a private key takes a while."""


@pytest.fixture(scope="module")
def scene() -> Scene:
    maker = Maker("https://idp.example/saml", desk="https://login.example")
    return Scene(maker=maker, request_id=REQUEST, now_s=NOW_S)


@pytest.fixture(scope="module")
def idp(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> IdentityProvider:
    return scene.maker.idp(tmp_path_factory.mktemp("idp"))


def logged_in(field: str, scene: Scene, idp: IdentityProvider) -> tuple[checks.Asserted, LoggedIn]:
    """As the desk's ACS does it, without store and browser."""
    admitted = gate.admit(field)
    maker = scene.maker
    verified = OF_PROVIDERS.setdefault(repr(idp), SamlAssertions(DEPLOYMENT)).verify(
        idp, admitted, acs_url=maker.acs, audience=maker.audience
    )
    expected = checks.Expected(issuer=idp.url, audience=maker.audience, acs_url=maker.acs, now_s=scene.now_s)
    asserted = checks.asserted(verified.response, verified.assertion, expected)
    return asserted, people.logged_in(asserted, idp)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_each_attack_is_refused_for_its_reason(variant: Variant, scene: Scene, idp: IdentityProvider) -> None:
    made = variant.make(scene)
    field = made.decode() if variant.raw else base64.b64encode(made).decode()
    with pytest.raises(LoginRefused) as refused:
        logged_in(field, scene, idp)
    assert refused.value.cause == variant.cause, refused.value.hint
    assert "00u" not in str(refused.value) + refused.value.hint, "a refusal tells nothing of the person"


def test_every_number_of_the_list_has_its_variants() -> None:
    # 52 (replays, two at once), 56 (login CSRF, RelayState) and 57 (posted to another's ACS) need a desk and browsers: tests/e2e/saml.
    assert {variant.number for variant in VARIANTS} == set(range(42, 59)) - {52}


GOOD = {
    "the assertion signed": {},
    "the response signed": {"sign": "response"},
    "both signed": {"sign": "both"},
    "encrypted with GCM": {"encrypt": f"{n.XENC11}aes256-gcm"},
    "encrypted with GCM, the response signed": {"encrypt": f"{n.XENC11}aes128-gcm", "sign": "response"},
    "encrypted with CBC, both signed": {"encrypt": f"{n.XENC}aes128-cbc", "sign": "both"},
    "good for an hour, as Entra ID says": {"until": 3600, "confirmed_until": 3600, "since": -300},
    "a clock 59 s behind": {"issued": 59, "since": 59},
    "no NotBefore": {"since": None},
    "no class": {"context": None},
    "no attributes": {"attributes": {}},
}


@pytest.mark.parametrize("options", GOOD.values(), ids=GOOD.keys())
def test_what_is_good_passes(options: dict[str, object], scene: Scene, idp: IdentityProvider) -> None:
    asserted, seen = logged_in(base64.b64encode(scene.response(**options)).decode(), scene, idp)
    assert (seen.person.issuer, seen.person.subject) == ("https://idp.example/saml", "00u1alice")
    assert seen.groups == (() if options.get("attributes") == {} else ("support", "everybody"))
    assert asserted.in_response_to == REQUEST
    assert asserted.taken_until <= NOW_S + 360, "five minutes after it was issued, and the skew"


@pytest.mark.parametrize("break_at", [64, 76])
def test_base64_in_lines_is_read(break_at: int, scene: Scene, idp: IdentityProvider) -> None:
    whole = base64.b64encode(scene.response()).decode()
    lines = "\r\n".join(whole[i : i + break_at] for i in range(0, len(whole), break_at))
    assert logged_in(lines, scene, idp)[1].person.subject == "00u1alice"


def test_an_elliptic_key_signs_as_well(tmp_path: Path) -> None:
    maker = Maker("https://idp.example/saml", desk="https://login.example", key="elliptic", kind="ec")
    scene = Scene(maker=maker, request_id=REQUEST, now_s=NOW_S)
    _, seen = logged_in(base64.b64encode(scene.response()).decode(), scene, maker.idp(tmp_path))
    assert seen.person.subject == "00u1alice"


def test_while_keys_roll_over_both_are_believed_and_no_third(scene: Scene, tmp_path: Path) -> None:
    old, new = (Maker(scene.maker.entity, desk=scene.maker.desk, key=key) for key in ("old", "new"))
    idp = old.idp(tmp_path)
    (tmp_path / "idp.pem").write_bytes(old.certificate + new.certificate)
    for maker in (old, new):
        assert logged_in(base64.b64encode(maker.response()).decode(), scene, idp)[1].person.subject == "00u1alice"
    with pytest.raises(LoginRefused, match="not valid"):
        logged_in(base64.b64encode(scene.maker.response()).decode(), scene, idp)


def test_another_certificate_counts_when_the_operator_says_so_and_not_when_a_file_changes(tmp_path: Path) -> None:
    old, new = (Maker("https://idp.example/saml", desk="https://login.example", key=key) for key in ("old", "new"))
    idp = old.idp(tmp_path)
    assertions = SamlAssertions(DEPLOYMENT)
    before = assertions.known(idp).certificates
    (tmp_path / "idp.pem").write_bytes(new.certificate)
    assert assertions.known(idp).certificates == before
    assert SamlAssertions(DEPLOYMENT).known(idp).certificates != before


def test_a_response_larger_than_the_bound_is_not_even_decoded() -> None:
    with pytest.raises(LoginRefused, match="cannot be read"):
        gate.admit("A" * 50_000_000)


def test_the_signature_that_counts_is_the_one_over_what_is_read(scene: Scene, idp: IdentityProvider) -> None:
    """A good signature over the response, and one by somebody else over the assertion: both must be good."""
    attacker = Maker(scene.maker.entity, desk=scene.maker.desk, key="attacker")
    root = gate._tree(attacker.response())
    scene.maker.sign(root)
    with pytest.raises(LoginRefused) as refused:
        logged_in(base64.b64encode(etree.tostring(root)).decode(), scene, idp)
    assert refused.value.cause == "saml_signature"


def test_the_two_wheels_load_together() -> None:
    """lxml and xmlsec each bring a libxml2: of two versions in one process, one would read the other's memory."""
    assert xmlsec.get_libxml_version() == etree.LIBXML_VERSION
    assert key_pair("corp")


@pytest.mark.parametrize(
    ("options", "later_s", "good"),
    [
        ({"since": 60}, 0, True),
        ({"since": 61}, 0, False),
        ({"issued": 60}, 0, True),
        ({"issued": 61}, 0, False),
        ({}, 299, True),  # until 240, and the skew
        ({}, 300, False),
        ({"until": 3600, "confirmed_until": 3600}, 359, True),  # five minutes after it was issued, and the skew
        ({"until": 3600, "confirmed_until": 3600}, 360, False),
        ({"until": 86_400, "confirmed_until": 86_400}, 0, True),
        ({"until": 86_401, "confirmed_until": 86_401}, 0, False),
        ({"session_until": 10}, 9, True),
        ({"session_until": 10}, 10, False),
    ],
)
def test_each_bound_of_time_to_the_second(
    options: dict[str, float], later_s: float, good: bool, scene: Scene, idp: IdentityProvider
) -> None:
    response = base64.b64encode(scene.response(**options)).decode()
    later = Scene(maker=scene.maker, request_id=REQUEST, now_s=NOW_S + later_s)
    if good:
        assert logged_in(response, later, idp)
    else:
        with pytest.raises(LoginRefused) as refused:
            logged_in(response, later, idp)
        assert refused.value.cause == "saml_time"
