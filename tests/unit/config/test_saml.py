"""[[idp]] of kind `saml`: what it comes to, what is refused, and what `gatebook check` finds in its files."""

from pathlib import Path

import msgspec
import pytest

from gatebook.config import Examined, examine_bytes
from gatebook.config.saml import saml_files_problems
from gatebook.model.deployment import SamlSide
from tests.asserting import key_pair
from tests.unit.config.test_desk import FILES, PCI
from tests.unit.federation.test_saml_metadata import ENTITY, key, metadata

OIDC = PCI[PCI.index("[[idp]]") : PCI.index("[[client]]")]
TABLE = f"""[[idp]]
name = "okta"
kind = "saml"
preset = "okta"
url = "{ENTITY}"
[idp.saml]
metadata = "okta.xml"
key = "sp.key"
certificate = "sp.pem"
"""
SAML = PCI.replace(OIDC, TABLE)


def examined(text: str, directory: Path) -> Examined:
    for name in FILES:
        (directory / name).write_bytes(b"")
    private, certificate = key_pair("gatebook")
    files = {
        "okta.xml": metadata(key("old") + key("new")).encode(),
        "sp.key": private,
        "sp.pem": certificate,
        "idp.pem": key_pair("old")[1],
    }
    for name, content in files.items():
        if not (directory / name).exists():
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)
    return examine_bytes(text.encode(), directory / "gatebook.toml")


def problems(text: str, directory: Path) -> list[str]:
    found = examined(text, directory)
    more = [] if found.deployment is None else list(saml_files_problems(found.deployment, None))
    return [str(problem) for problem in (*found.problems, *more)]


def test_a_provider_that_speaks_saml(tmp_path: Path) -> None:
    found = examined(SAML, tmp_path)
    assert found.problems == ()
    assert found.deployment is not None
    [idp] = found.deployment.idps
    assert (idp.name, idp.url, idp.preset, idp.client_id) == ("okta", ENTITY, "okta", "")
    assert idp.saml == SamlSide(
        metadata=str(tmp_path / "okta.xml"), key=str(tmp_path / "sp.key"), certificate=str(tmp_path / "sp.pem")
    )
    assert msgspec.json.decode(msgspec.json.encode(found.deployment), type=type(found.deployment)) == found.deployment
    assert problems(SAML, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "saml"', "", "idp[0].saml"),
        ('kind = "saml"', 'kind = "saml"\nclient_id = "x"', "idp[0].client_id (line 20): has no effect"),
        ('kind = "saml"', 'kind = "saml"\nscopes = ["openid"]', "has no effect in a provider of kind saml"),
        ('metadata = "okta.xml"', "", "does not say where people log in"),
        ('metadata = "okta.xml"', 'sso_url = "https://idp.example/sso"', "does not say where people log in"),
        ('metadata = "okta.xml"', 'sso_url = "http://idp.example/sso"\ncertificates = ["idp.pem"]', "is not https"),
        ('metadata = "okta.xml"', 'metadata = "okta.xml"\nmetadata_url = "http://idp.example/m"', "is no URL of the kind wanted"),
        ('metadata = "okta.xml"', 'metadata_url = "https://idp.example/m"\nsso_url = "https://idp.example/sso"\ncertificates = ["idp.pem"]', "has no file to be kept in"),
        ('metadata = "okta.xml"', 'metadata = "gone.xml"', "there is no file"),
        ('metadata = "okta.xml"', 'metadata = "idp.pem"', "saml.metadata: the file is no XML"),
        ('metadata = "okta.xml"', 'metadata = "okta.xml"\ncertificates = ["sp.key"]', "saml.certificates: the file holds no certificate"),
        ('certificate = "sp.pem"', "", "stands alone"),
        ('certificate = "sp.pem"', 'certificate = "idp.pem"', "is not the certificate of saml.key"),
        ('key = "sp.key"', 'key = "sp.pem"', "is no unencrypted private key in PEM"),
        (f'url = "{ENTITY}"', f'url = "{ENTITY}x"', "does not describe exactly one entity"),
        (f'url = "{ENTITY}"', 'url = "okta"', "is no URI"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SAML
    found = problems(SAML.replace(old, new, 1), tmp_path)
    assert any(said in problem for problem in found), found


def test_an_oidc_provider_still_needs_a_client_id_and_an_issuer_url(tmp_path: Path) -> None:
    assert any(
        "client_id" in each and "is missing" in each
        for each in problems(PCI.replace('client_id = "0oa1"', ""), tmp_path)
    )
    entity = PCI.replace('url = "https://example.okta.com"', 'url = "urn:example"')
    assert any("is no URL of the kind wanted" in each for each in problems(entity, tmp_path))


def test_entity_ids_as_providers_have_them_are_accepted(tmp_path: Path) -> None:
    for entity in (
        "urn:example.eu.auth0.com",
        "https://accounts.google.com/o/saml2?idpid=C01",
        "https://sts.windows.net/9122/",
    ):
        (tmp_path / "okta.xml").write_text(metadata(key("old"), entity=entity))
        assert problems(SAML.replace(ENTITY, entity), tmp_path) == []


def test_a_key_that_everybody_can_read_is_said(tmp_path: Path) -> None:
    examined(SAML, tmp_path)
    (tmp_path / "sp.key").chmod(0o644)
    assert any("can be read by everybody" in each for each in problems(SAML, tmp_path))
