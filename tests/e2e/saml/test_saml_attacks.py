"""Attacks on the login by SAML at the running desk, each with its refusal and its entry. Numbers are those of the list in docs/attacks.md.

The provider is one whose key the test has, so that it can sign what no honest one would."""

import base64
import contextlib
import signal
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from lxml import etree

from gatebook.federation.saml import names as n
from tests.asserting import Maker
from tests.e2e.desk import CLIENT_ID, Page
from tests.e2e.desk.test_login import claims_of
from tests.e2e.saml.browsing import SamlBrowser
from tests.e2e.saml.conftest import MFA, PAPER, SamlPlace
from tests.saml_variants import VARIANTS, Scene

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Begun:
    """A login under way: `browser` was sent to the provider with this request."""

    def __init__(self, ground: SamlPlace, name: str = "alice", **changed: str | None) -> None:
        self.ground = ground
        self.browser: SamlBrowser = ground.browser(name, idp="paper")
        page = self.browser.visit(ground.here.request(**changed), pause_at="localhost:1/sso")
        assert page.location is not None
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(page.location).query).items()}
        self.xml = etree.fromstring(zlib.decompress(base64.b64decode(self.query["SAMLRequest"]), -15))
        self.relay_state = self.query["RelayState"]
        self.scene = Scene(maker=ground.paper, request_id=self.xml.get("ID"), now_s=time.time())

    def post(self, xml: bytes | None = None, *, idp: str = "paper", **fields: str) -> httpx2.Response:
        """The provider's answer, posted from its site; good unless something else is said."""
        xml = self.scene.response(assertion=self.scene.assertion(id=f"_{time.monotonic_ns()}")) if xml is None else xml
        form = {"SAMLResponse": base64.b64encode(xml).decode(), "RelayState": self.relay_state, **fields}
        response: httpx2.Response = self.browser.post_from_elsewhere(
            f"{self.ground.here.issuer}/login/saml/{idp}/acs", form
        )
        return response

    def goes_on(self, response: httpx2.Response) -> Page:
        return self.browser.page_after(response)


def refused(response: Any, cause: str) -> None:
    status = response.status_code if isinstance(response, httpx2.Response) else response.status
    assert (status, cause in response.text) == (400, True), response.text[:500]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "<script" not in response.text and "location" not in response.headers


def test_the_good_answer_logs_in(ground: SamlPlace) -> None:
    begun = Begun(ground, verifier="v" * 64)
    page = begun.goes_on(begun.post())
    form = {
        "grant_type": "authorization_code",
        "code": page.answer["code"],
        "redirect_uri": "http://127.0.0.1:7777/callback",
    }
    tokens = ground.here.token(**form, code_verifier="v" * 64).json()
    claims = claims_of(tokens["access_token"])
    assert claims["idp"] == {"iss": PAPER, "sub": "00u1alice"} and claims["mfa"] == "none"
    assert ground.here.call(tokens["access_token"]) == 200


def test_our_request_is_signed_and_names_nothing_but_our_acs(ground: SamlPlace) -> None:
    begun = Begun(ground)
    assert begun.xml.get("AssertionConsumerServiceURL") == ground.paper.acs
    assert begun.query["SigAlg"].endswith("rsa-sha256") and begun.query["Signature"]
    assert len(begun.relay_state) == 43, "a handle, and no address"
    assert begun.xml.get("ID").startswith("_") and begun.relay_state not in begun.xml.get("ID")


@pytest.mark.parametrize(
    ("changed", "anew", "classes"),
    [
        ({}, "true", []),
        ({"scope": "mcp:desk mcp:desk:mfa"}, "true", [MFA]),
        ({"client_id": CLIENT_ID, "resource": "payments"}, None, []),
    ],
    ids=["gatebook login", "gatebook login --fresh", "a program at a server"],
)
def test_the_provider_is_asked_for_a_proof_where_one_is_demanded(
    ground: SamlPlace, changed: dict[str, str], anew: str | None, classes: list[str]
) -> None:
    """Before it is known who comes, only a new login: a class that is named must be met (SAML core 3.3.2.2.1), and not everybody must."""
    at = {"client_id": "gatebook-cli", "resource": f"{ground.here.issuer}/api"} | changed
    if at["resource"] == "payments":
        at["resource"] = ground.here.resource("payments")
    begun = Begun(ground, **at)
    assert begun.xml.get("ForceAuthn") == anew
    assert [each.text for each in begun.xml.iter(f"{{{n.SAML}}}AuthnContextClassRef")] == classes


def test_every_attack_on_a_response_is_refused_and_is_in_the_book(ground: SamlPlace) -> None:
    """42 to 51, 53 to 58: the same variants as over gate, verifier and checks."""
    begun = Begun(ground)
    before = len(ground.here.entries())
    expected = []
    for variant in VARIANTS:
        made = variant.make(begun.scene)
        field = made.decode() if variant.raw else base64.b64encode(made).decode()
        answer = begun.post(b"", SAMLResponse=field)
        assert (answer.status_code, variant.cause in answer.text) == (400, True), f"{variant}: {answer.text[:500]}"
        refused(answer, variant.cause)
        expected.append(variant.cause)
    entries = ground.here.entries()[before:]
    written = [each for each in entries if each["ev"] == "login.refused"]
    assert [each["x"]["cause"] for each in written] == expected
    assert all((each["res"]["name"], each["who"]["kind"]) == ("paper", "unknown") for each in written)
    assert all("hint" in each["x"] for each in written if each["x"]["cause"].startswith("saml_"))
    assert not [each for each in entries if each["ev"] == "login.completed"]
    page = begun.goes_on(begun.post())
    assert page.answer["code"], "the login under way was not disturbed"


def test_52_a_response_that_comes_twice_is_refused_the_second_time(ground: SamlPlace) -> None:
    begun = Begun(ground)
    xml = begun.scene.response(assertion=begun.scene.assertion(id="_twice"))
    assert begun.goes_on(begun.post(xml)).answer["code"]
    refused(begun.post(xml), "saml_replayed")
    again = Begun(ground)
    refused(again.post(xml), "saml_replayed")
    ground.here.caused("saml_replayed")


def test_52_of_two_at_once_one_goes_on(ground: SamlPlace) -> None:
    begun = Begun(ground)
    xml = begun.scene.response(assertion=begun.scene.assertion(id="_at_once"))
    form = {"SAMLResponse": base64.b64encode(xml).decode(), "RelayState": begun.relay_state}

    def post(_: int) -> httpx2.Response:
        with httpx2.Client(trust_env=False, timeout=15, follow_redirects=False) as http:
            return http.post(ground.paper.acs, data=form)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert sorted(answer.status_code for answer in answers) == [303, *[400] * 7]


def test_52_two_different_answers_to_one_request_log_in_once(ground: SamlPlace) -> None:
    begun = Begun(ground)
    first, second = begun.post(), begun.post()
    assert begun.goes_on(first).answer["code"]
    refused(begun.goes_on(second), "state_unknown")


def test_56_an_answer_made_for_the_attackers_browser_is_nothing_in_the_victims(ground: SamlPlace) -> None:
    """Login CSRF: the victim would go on as the attacker, and tell him everything."""
    attacker, victim = Begun(ground, "mallory"), Begun(ground, "alice")
    ticket = attacker.post().headers["location"]
    stolen = victim.browser.visit(ground.here.issuer + ticket)
    refused(stolen, "browser_other")
    ground.here.caused("browser_other")
    # With the victim's own RelayState beside the attacker's assertion, InResponseTo gives it away.
    mixed = attacker.post(
        attacker.scene.response(assertion=attacker.scene.assertion(id="_mixed")), RelayState=victim.relay_state
    )
    refused(victim.goes_on(mixed), "browser_other")
    assert victim.goes_on(victim.post()).answer["code"], "the victim's own login goes on"


def test_56_an_answer_to_another_request_of_the_same_browser_does_not_fit(ground: SamlPlace) -> None:
    begun = Begun(ground)
    page = begun.browser.visit(ground.here.request(), pause_at="localhost:1/sso")
    assert page.location is not None
    other = parse_qs(urlsplit(page.location).query)["RelayState"][0]
    refused(begun.goes_on(begun.post(RelayState=other)), "browser_other")


@pytest.mark.parametrize(
    "relay_state", ["https://evil.example/x", "//evil.example", "/consent?request=x", "javascript:alert(1)", "x" * 43]
)
def test_56_a_relay_state_is_never_an_address(ground: SamlPlace, relay_state: str) -> None:
    begun = Begun(ground)
    answer = begun.post(RelayState=relay_state)
    assert answer.headers["location"].startswith("/login/saml/finish?ticket=")
    page = begun.goes_on(answer)
    refused(page, "state_unknown")
    assert "evil.example" not in page.text


def test_56_without_a_relay_state_nobody_asked(ground: SamlPlace) -> None:
    begun = Begun(ground)
    refused(begun.post(RelayState=""), "saml_unasked")


def test_a_ticket_is_good_once_for_a_minute_and_for_nothing_else(ground: SamlPlace) -> None:
    begun = Begun(ground)
    where = ground.here.issuer + begun.post().headers["location"]
    ticket = parse_qs(urlsplit(where).query)["ticket"][0]
    for path in ("/consent?request=", "/login?request="):
        refused(begun.browser.visit(f"{ground.here.issuer}{path}{ticket}"), "browser_other")
    assert begun.browser.visit(where).answer["code"]
    refused(begun.browser.visit(where), "state_unknown")
    late = Begun(ground)
    where = ground.here.issuer + late.post().headers["location"]
    ground.here.sql("UPDATE transactions SET expires_at = expires_at - 61 WHERE expires_at < ?", time.time() + 61)
    refused(late.browser.visit(where), "state_unknown")
    for path in ("", "?ticket=", "?ticket=x", f"?ticket={late.relay_state}"):
        refused(late.browser.visit(f"{ground.here.issuer}/login/saml/finish{path}"), "state_unknown")


def test_57_an_answer_of_one_provider_is_nothing_at_anothers_acs(ground: SamlPlace) -> None:
    begun = Begun(ground)
    for idp, cause in (("corp", "request_invalid"), ("nobody", "request_invalid")):
        refused(begun.post(idp=idp), cause)
    if ground.sso is not None:
        refused(begun.post(idp="sso"), "saml_signature")


def test_55_a_body_over_the_bound_is_not_read(ground: SamlPlace) -> None:
    begun = Begun(ground)
    assert begun.post(b"", SAMLResponse="A" * 300_000).status_code == 413
    url = ground.paper.acs
    headers = {"content-type": "application/x-www-form-urlencoded"}
    pieces = (b"SAMLResponse=", *([b"A" * 65_536] * 8))
    assert ground.here.http.post(url, content=iter(pieces), headers=headers).status_code == 413
    # 50 MB: refused after the head, and whoever goes on sending loses the connection.
    with contextlib.suppress(httpx2.WriteError, httpx2.ReadError):
        assert ground.here.http.post(url, content=b"A" * 50_000_000, headers=headers).status_code == 413


def test_parameters_twice_and_other_methods_are_refused(ground: SamlPlace) -> None:
    begun = Begun(ground)
    field = base64.b64encode(begun.scene.response()).decode()
    twice = urlencode([("SAMLResponse", field), ("SAMLResponse", field), ("RelayState", begun.relay_state)])
    headers = {"content-type": "application/x-www-form-urlencoded"}
    refused(ground.here.http.post(ground.paper.acs, content=twice, headers=headers), "request_invalid")
    query = urlencode({"SAMLResponse": field, "RelayState": begun.relay_state})
    assert ground.here.http.get(f"{ground.paper.acs}?{query}").status_code == 405, "HTTP-Redirect is not served"
    assert ground.here.http.post(f"{ground.here.issuer}/login/saml/finish").status_code == 405
    refused(
        begun.browser.visit(f"{ground.here.issuer}/login/oidc/paper/callback?state={begun.relay_state}&code=x"),
        "provider_mixed_up",
    )


def test_a_login_ends_with_the_providers_session(ground: SamlPlace) -> None:
    begun = Begun(ground)
    assertion = begun.scene.assertion(id="_short", session_until=120, name_id="00u7short")
    assert begun.goes_on(begun.post(begun.scene.response(assertion=assertion))).answer["code"]
    [cookie] = [each for each in begun.browser.http.cookies.jar if each.name.endswith("gatebook-session")]
    assert cookie.expires is not None and cookie.expires <= time.time() + 121


def test_groups_that_are_too_many_are_none_and_the_book_says_so(ground: SamlPlace) -> None:
    begun = Begun(ground)
    many = ("support", *(f"g{i}" for i in range(2_000)))
    assertion = begun.scene.assertion(id="_many", attributes={"groups": many}, name_id="00u8many")
    assert begun.goes_on(begun.post(begun.scene.response(assertion=assertion))).answer["code"]
    [login] = [
        each for each in ground.here.entries() if each["ev"] == "login.completed" and each["who"]["sub"] == "00u8many"
    ]
    assert (login["x"]["groups"], login["x"]["groups_left_out"]) == (0, True)


def test_a_certificate_that_is_rolled_over_counts_after_sighup_and_the_old_one_no_more(ground: SamlPlace) -> None:
    file = ground.here.gate.directory / "paper.pem"
    new = Maker(PAPER, desk=ground.here.issuer, name="paper", key="rolled over")

    def answered(maker: Maker) -> httpx2.Response:
        begun = Begun(ground)
        fresh = {"in_response_to": begun.scene.request_id, "now_s": time.time()}
        return begun.post(maker.response(assertion=maker.assertion(id=f"_{time.monotonic_ns()}", **fresh), **fresh))

    def reloaded() -> None:
        loads = len([each for each in ground.here.entries() if each["ev"] == "config.load"])
        ground.here.gate.process.send_signal(signal.SIGHUP)
        for _ in range(20):
            if len([each for each in ground.here.entries() if each["ev"] == "config.load"]) > loads:
                return
        raise AssertionError("the configuration was not loaded")

    try:
        file.write_bytes(ground.paper.certificate + new.certificate)
        refused(answered(new), "saml_signature")
        reloaded()
        assert [answered(maker).status_code for maker in (ground.paper, new)] == [303, 303], (
            "both, while they roll over"
        )
        file.write_bytes(new.certificate)
        reloaded()
        assert answered(new).status_code == 303
        refused(answered(ground.paper), "saml_signature")
        told = [
            each["x"]["certificates"].split(" ")
            for each in ground.here.entries()
            if each["ev"] == "idp.trusted" and each["res"]["name"] == "paper"
        ]
        assert [len(certificates) for certificates in told] == [1, 2, 1], "at the start, and when they changed"
        assert told[1] == [told[0][0], told[2][0]]
    finally:
        file.write_bytes(ground.paper.certificate)
        reloaded()
