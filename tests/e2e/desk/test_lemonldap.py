"""A second, independent OpenID provider: people log in at LemonLDAP::NG, which says their groups in its UserInfo response and is asked again later."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.desk import CLIENT_ID, SERVERS, Place, place
from tests.e2e.desk.test_lifecycle import denied
from tests.e2e.desk.test_login import claims_of
from tests.e2e.gate import free_port
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.saml import lemonldap
from tests.e2e.saml.browsing import SamlBrowser

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(lemonldap.missing() is not None, reason=lemonldap.missing() or ""),
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

READ_AGAIN_S = 301
SUPPORT = {"support": "dwho rtyler"}


class Lemon:
    """A place where people log in at LemonLDAP::NG. `here`: everything else that runs."""

    def __init__(self, folder: Path, port: int, callback: str) -> None:
        self.here: Place
        self.issuer = lemonldap.issuer(port)
        self._folder, self._port, self._callback = folder, port, callback
        self._running = contextlib.ExitStack()
        self._browsers: list[SamlBrowser] = []

    def begins(self, groups: dict[str, str], *left: str) -> None:
        """The provider runs with these groups beside those of its directory, and without the people who have left."""
        self._running.close()
        self._running.enter_context(
            lemonldap.lemonldap(self._folder, self._port, oidc=self._callback, groups=groups, left=left)
        )

    def ends(self) -> None:
        """The provider runs no more, and no browser is open."""
        self._running.close()
        for each in self._browsers:
            each.http.close()

    def browser(self, name: str) -> SamlBrowser:
        """A browser that chooses this provider at the desk and fills in its password form."""
        self._browsers.append(SamlBrowser(name, idp="lemon"))
        return self._browsers[-1]


def table(port: int) -> str:
    allows = ", ".join(f'{{ server = "{name}", tools = ["get_*"] }}' for name in SERVERS)
    return f"""[[idp]]
name = "lemon"
url = "{lemonldap.issuer(port)}"
client_id = "{lemonldap.CLIENT_ID}"
client_secret = "literal:{lemonldap.CLIENT_SECRET}"
scopes = ["openid", "profile", "email", "offline_access"]
mfa = {{ acr = ["loa-5"] }}
[[role]]
name = "support-lemon"
match = [ {{ issuer = "lemon", group = "support" }} ]
allow = [ {allows} ]
"""


@pytest.fixture(scope="module")
def lemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lemon]:
    port, desk_port = free_port(), free_port()
    found = Lemon(tmp_path_factory.mktemp("lemon"), port, f"http://127.0.0.1:{desk_port}/login/oidc/lemon/callback")
    found.begins(SUPPORT)
    try:
        with place(tmp_path_factory.mktemp("desk"), table(port), desk_port=desk_port) as here:
            found.here = here
            yield found
    finally:
        found.ends()


async def test_the_python_sdk_logs_in_calls_a_tool_is_revoked_and_then_refused(lemon: Lemon) -> None:
    browser = lemon.browser("dwho")
    client = lemon.here.client(browser)
    result = await client.call("payments", "get_order", order_id="ord_5001")
    assert "ord_5001" in json.dumps(result)
    assert (browser.logins, browser.clicks) == (1, 1)
    tokens = client.kept["payments"].tokens
    assert tokens is not None
    claims = claims_of(tokens.access_token)
    assert claims["idp"] == {"iss": lemon.issuer, "sub": "dwho"}
    assert claims["groups"] == ["support"], "each group is a value of its own, and only those that a role matches on"
    assert (claims["acr"], claims["mfa"]) == ("loa-1", "none"), "a password is one factor, and it says so"
    revoke = {"client_id": CLIENT_ID, "token": tokens.refresh_token}
    assert lemon.here.http.post(f"{lemon.here.issuer}/oauth/revoke", data=revoke).status_code == 200
    assert [lemon.here.call(tokens.access_token) for _ in range(4)] == [401] * 4


def test_at_a_refresh_it_is_asked_again_and_a_lost_group_or_a_lost_person_is_noticed(lemon: Lemon) -> None:
    here = lemon.here
    tokens = here.log_in(lemon.browser("rtyler"))
    [login] = [e for e in here.entries() if e["ev"] == "login.completed" and e["who"]["sub"] == "rtyler"]
    assert login["x"]["rereadable"] is True
    assert here.call(tokens["access_token"]) == 200

    lemon.begins({"support": "dwho"})
    here.age_reading("rtyler", READ_AGAIN_S)
    tokens = here.refresh(tokens["refresh_token"]).json()
    assert claims_of(tokens["access_token"])["groups"] == []
    assert denied(here, tokens["access_token"])

    lemon.begins({"support": "dwho"}, "rtyler")
    here.age_reading("rtyler", READ_AGAIN_S)
    refused = here.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert here.call(tokens["access_token"]) == 401
    over = [e for e in here.entries() if e["ev"] == "login.ended" and e["who"]["sub"] == "rtyler"]
    assert [e["x"]["why"] for e in over] == ["provider_ended"]


def test_what_its_discovery_offers_beside_is_not_taken(lemon: Lemon) -> None:
    """It offers unsigned ID tokens, HS256 and PKCE without a hash; none of it is asked for, and an answer of that kind would be refused."""
    document = lemon.here.http.get(lemon.issuer + ".well-known/openid-configuration").json()
    assert {"none", "HS256"} <= set(document["id_token_signing_alg_values_supported"])
    assert "plain" in document["code_challenge_methods_supported"]
    assert "offline_access" not in document["scopes_supported"], "which it has: written down, it is asked for"
    page = lemon.browser("dwho").visit(lemon.here.request(), pause_at="/oauth2/authorize")
    assert page.location is not None
    asked = {name: values[0] for name, values in parse_qs(urlsplit(page.location).query).items()}
    assert asked["code_challenge_method"] == "S256" and "offline_access" in asked["scope"].split()
