"""[desk], [[idp]] and [[client]]: what they come to, and what is refused."""

import re
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.config import Examined, examine_bytes
from gatebook.config.checking.certificates import shown_certificates
from gatebook.config.checking.probe import Probe
from gatebook.config.reading import read
from gatebook.model.deployment import DESK_ISSUER, Evidences, SecretReference
from tests.unit.config.test_check import FixedClock, certificate

ROOT = Path(__file__).parents[3]

PCI = """
profile    = "pci"
public_url = "https://mcp.example.com"
listen     = ["0.0.0.0:8443"]
data_dir   = "data"
tls        = { certificate = "cert.pem", key = "key.pem" }
[log]
origin = "mcp.example.com/prod"
key = "log.skey"
[payloads]
public_key = "payloads.pub"
[desk]
listen = ["0.0.0.0:8444"]
public_url = "https://login.example.com"
tls = { certificate = "cert.pem", key = "key.pem" }
signing_key = "desk.jwk"
[[idp]]
name = "okta"
preset = "okta"
url = "https://example.okta.com"
client_id = "0oa1"
client_secret = "env:OKTA"
mfa = { amr = ["otp"] }
[[client]]
client_id = "inspector"
name = "Inspector"
redirect_uris = ["http://localhost/cb"]
[[server]]
name = "payments"
url = "https://payments.internal/mcp"
[[role]]
name = "support"
match = [{ issuer = "okta", group = "support" }]
allow = [{ server = "payments", tools = ["get_order"] }]
"""
FILES = ("cert.pem", "key.pem", "log.skey", "payloads.pub", "desk.jwk")


def examined(text: str, directory: Path) -> Examined:
    for name in FILES:
        (directory / name).write_bytes(b"")
    return examine_bytes(text.encode(), directory / "gatebook.toml")


def problems(text: str, directory: Path) -> list[str]:
    return [str(problem) for problem in examined(text, directory).problems]


def test_a_desk_is_one_more_issuer_of_every_server(tmp_path: Path) -> None:
    found = examined(PCI, tmp_path)
    assert found.problems == ()
    deployment = found.deployment
    assert deployment is not None and deployment.desk is not None
    [issuer] = deployment.issuers
    assert (issuer.name, issuer.kind, issuer.url, issuer.algorithms) == (
        DESK_ISSUER,
        "desk",
        "https://login.example.com",
        ("ES256",),
    )
    assert issuer.jwks_file == str(tmp_path / "data" / "published" / "desk.jwks") == deployment.desk.public_keys
    [server] = deployment.servers
    assert server.audiences == {DESK_ISSUER: "https://mcp.example.com/payments/mcp"}
    [idp] = deployment.idps
    assert idp.scopes == ("openid", "profile", "email", "groups", "offline_access"), "the preset's"
    assert not idp.scopes_written
    assert (idp.client_secret, idp.mfa) == (SecretReference(scheme="env", locator="OKTA"), Evidences(amr=("otp",)))
    assert deployment.desk.registration is False
    assert msgspec.json.decode(msgspec.json.encode(deployment), type=type(deployment)) == deployment


def test_without_a_desk_everything_is_as_before(tmp_path: Path) -> None:
    text = re.sub(r"(?s)\[desk\].*?(?=\[\[server)", "", PCI).replace('issuer = "okta"', 'issuer = "corp"')
    text += '[[issuer]]\nname = "corp"\nurl = "https://idp.example"\nkind = "person"\n'
    deployment = examined(text, tmp_path).deployment
    assert deployment is not None and deployment.desk is None
    assert [issuer.name for issuer in deployment.issuers] == ["corp"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('public_url = "https://login.example.com"', 'public_url = "http://login.example.com"', "desk.public_url (line 14): is not https"),
        ('public_url = "https://login.example.com"', 'public_url = "https://mcp.example.com"', "is the gate's own"),
        ('public_url = "https://login.example.com"', 'public_url = "https://login.example.com/"', "desk.public_url"),
        ('listen = ["0.0.0.0:8444"]', 'listen = ["0.0.0.0:8443"]', "desk.listen (line 13): is an address of the gate"),
        ('listen = ["0.0.0.0:8444"]', 'listen = ["unix:/run/desk.sock"]', "is a unix socket"),
        ('signing_key = "desk.jwk"', "registration = true", "lets any program register itself"),
        ('signing_key = "desk.jwk"', "", "desk-signing.jwk; make it with `gatebook init`"),
        ('signing_key = "desk.jwk"', 'signing_key = "desk.jwk"\nlogin_s = 10', "desk.login_s (line 17): is out of range"),
        ('url = "https://example.okta.com"', 'url = "http://example.okta.com"', "idp[0].url (line 20): is not https"),
        ('name = "okta"', 'name = "gatebook"', "is the desk's own name"),
        ('client_secret = "env:OKTA"', 'client_secret = "literal:s3cret"', "the secret itself stands in the configuration"),
        ('client_secret = "env:OKTA"', 'client_secret = "s3cret"', "is no reference to a secret"),
        ('preset = "okta"', 'preset = "google"', "every Google account in the world"),
        ('preset = "okta"\nurl = "https://example.okta.com"', 'preset = "entra"\nurl = "https://login.microsoftonline.com/common/v2.0"', "lets every tenant in"),
        ('issuer = "okta"', 'issuer = "otka"', "did you mean okta?"),
        ('"http://localhost/cb"', '"http://evil.example/cb"', "is no redirect URI to rely on"),
        ('"http://localhost/cb"', '"javascript:alert(1)"', "is no redirect URI to rely on"),
        ('client_id = "inspector"', 'client_id = "https://x.example/m"', "is no client id"),
        ('tls = { certificate = "cert.pem", key = "key.pem" }\nsigning', "signing", "listens without TLS"),
    ],
)  # fmt: skip
def test_what_would_let_somebody_in_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in PCI
    found = problems(PCI.replace(old, new, 1), tmp_path)
    assert any(said in problem for problem in found), found
    assert not any("s3cret" in problem for problem in found)


def test_two_of_one_name_or_url_are_refused(tmp_path: Path) -> None:
    twice = PCI + '[[idp]]\nname = "okta"\nurl = "https://example.okta.com"\nclient_id = "x"\n'
    found = problems(twice, tmp_path)
    assert any("is the name of another idp too" in problem for problem in found)
    assert any("is the url of another idp too" in problem for problem in found)
    both = PCI + '[[issuer]]\nname = "okta"\nurl = "https://login.example.com"\nkind = "person"\n'
    found = problems(both, tmp_path)
    assert any("is the name of an issuer too" in problem for problem in found)
    assert any("is the url of an issuer too" in problem for problem in found)


def test_an_idp_without_a_desk_is_said_to_do_nothing(tmp_path: Path) -> None:
    text = re.sub(r"(?s)\[desk\].*?(?=\[\[idp)", "", PCI)
    assert any("has no effect without [desk]" in problem for problem in problems(text, tmp_path))


def test_in_dev_on_loopback_any_program_may_register_itself(tmp_path: Path) -> None:
    dev = 'profile = "dev"\n[desk]\nlisten = ["127.0.0.1:9000"]\npublic_url = "http://127.0.0.1:9000"\n'
    found = examined(dev, tmp_path).deployment
    assert found is not None and found.desk is not None and found.desk.registration
    wide = dev.replace('["127.0.0.1:9000"]', '["0.0.0.0:9000"]')
    found = examined(wide, tmp_path).deployment
    assert found is not None and found.desk is not None and not found.desk.registration
    assert any("without TLS" in problem for problem in problems(wide, tmp_path))


def test_the_examples_of_the_guide_are_accepted() -> None:
    page = (ROOT / "docs/howto/login.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        assert read(example.encode()).problems == ()


def test_its_certificate_is_renewed_without_a_restart_and_check_says_so(tmp_path: Path) -> None:
    deployment = examined(PCI, tmp_path).deployment
    assert deployment is not None
    certificate(tmp_path / "cert.pem", tmp_path / "key.pem", "mcp.example.com", "login.example.com", days=9)
    probe = Probe(clock=FixedClock(), credentials=FileOrEnvironment(), reach=lambda *_: None)
    said = {found.where: found.mend for found in shown_certificates(deployment, probe)}
    assert said["desk.tls.certificate"] == "renew it; the desk reads the new one by itself"
