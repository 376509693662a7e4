"""One gate with its desk for all of these tests, and behind it SimpleSAMLphp (`sso`) and a provider whose answers a test writes (`paper`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatebook.federation.saml.asking import acs_url, entity_id
from tests.asserting import Maker, key_pair
from tests.e2e.desk import SERVERS, Place, place
from tests.e2e.gate import free_port
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.saml import lemonldap
from tests.e2e.saml.browsing import SamlBrowser
from tests.e2e.saml.simplesaml import SimpleSaml, missing, simplesaml

PAPER = "https://paper.example/idp"
MFA = "https://refeds.org/profile/mfa"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"


class SamlPlace:
    """Everything that runs. `sso`: SimpleSAMLphp, None where it is not installed; `paper`: the provider of which the test has the key;
    `lemon`: the port where LemonLDAP::NG is expected, and runs while a test needs it."""

    def __init__(self, here: Place, sso: SimpleSaml | None, paper: Maker, lemon: int) -> None:
        self.lemon = lemon
        self.here = here
        self.sso = sso
        self.paper = paper
        self._browsers: list[SamlBrowser] = []

    def browser(self, name: str = "alice", **options: Any) -> SamlBrowser:
        self._browsers.append(SamlBrowser(name, trusts=self.here.trusts, **options))
        return self._browsers[-1]

    def close(self) -> None:
        for each in self._browsers:
            each.http.close()

    def introduce(self, signed_by: bytes | None = None, **options: object) -> None:
        """SimpleSAMLphp knows the desk, with these options."""
        assert self.sso is not None
        self.sso.serve(entity_id(self.here.issuer, "sso"), acs_url(self.here.issuer, "sso"), signed_by, **options)


def configuration(folder: Path, sso: SimpleSaml | None, paper: Maker, lemon: int) -> str:
    private, certificate = key_pair("gatebook")
    files = {
        "sp.key": private,
        "sp.pem": certificate,
        "paper.pem": paper.certificate,
        "lemon.pem": key_pair("lemonldap")[1],
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    allows = ", ".join(f'{{ server = "{name}", tools = ["get_*"] }}' for name in SERVERS)
    text = f"""[[idp]]
name = "paper"
kind = "saml"
url = "{PAPER}"
mfa = {{ acr = ["{MFA}"] }}
saml = {{ sso_url = "http://localhost:1/sso", certificates = ["paper.pem"], key = "sp.key", certificate = "sp.pem" }}
[[desk_role]]
role = "admin"
mfa = "proven"
match = [ {{ issuer = "paper", group = "on-call" }} ]
[[role]]
name = "support-paper"
match = [ {{ issuer = "paper", group = "support" }} ]
allow = [ {allows} ]
[[idp]]
name = "lemon"
kind = "saml"
url = "{lemonldap.entity(lemon)}"
[idp.saml]
sso_url = "{lemonldap.sso_url(lemon)}"
certificates = ["lemon.pem"]
key = "sp.key"
certificate = "sp.pem"
name_id = "persistent"
subject = "uid"
[[role]]
name = "support-lemon"
match = [ {{ issuer = "lemon", group = "timelords" }} ]
allow = [ {allows} ]
"""
    if sso is not None:
        (folder / "sso.xml").write_bytes(sso.metadata())
        text += f"""[[idp]]
name = "sso"
kind = "saml"
url = "{sso.entity}"
mfa = {{ acr = ["{PASSWORD}"] }}
[idp.saml]
metadata = "sso.xml"
key = "sp.key"
certificate = "sp.pem"
name_id = "persistent"
[[role]]
name = "support-sso"
match = [ {{ issuer = "sso", group = "support" }} ]
allow = [ {allows} ]
"""
    return text


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlPlace]:
    if not npm_packages_installed():
        pytest.skip(HOW_TO_INSTALL)
    folder = tmp_path_factory.mktemp("saml")
    paper = Maker(PAPER, desk="", name="paper", key="paper")
    if missing() is None:
        with simplesaml(tmp_path_factory.mktemp("simplesaml")) as sso:
            yield from _running(folder, sso, paper)
    else:
        yield from _running(folder, None, paper)


def _running(folder: Path, sso: SimpleSaml | None, paper: Maker) -> Iterator[SamlPlace]:
    lemon = free_port()
    with place(folder, configuration(folder, sso, paper, lemon)) as here:
        paper.desk = here.issuer
        found = SamlPlace(here, sso, paper, lemon)
        try:
            yield found
        finally:
            found.close()
