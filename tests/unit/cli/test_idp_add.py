"""`gatebook idp add`: what is asked becomes a table of a configuration that is still good, or nothing is changed."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatebook.cli.app import app
from gatebook.config import examine
from gatebook.model.deployment import Evidences, SecretReference

CONFIG = """# ours
profile = "dev"
[desk]
listen = ["127.0.0.1:8444"]
public_url = "http://127.0.0.1:8444"
[[server]]
name = "payments"
url = "http://127.0.0.1:9000/mcp"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gatebook.toml"
    path.write_text(CONFIG)
    path.chmod(0o640)
    return path


def added(config: Path, *answers: str, name: str = "corp") -> tuple[int, str]:
    result = CliRunner().invoke(
        app, ["idp", "add", name, "-c", str(config)], input="".join(f"{each}\n" for each in answers)
    )
    return result.exit_code, result.output


def test_what_is_answered_stands_in_the_file_and_all_else_as_it_was(config: Path) -> None:
    answers = ("okta", "https://example.okta.com", "0oa1", "secrets/okta", "groups", "otp hwk", "s3cr3t-of-okta")
    status, said = added(config, *answers)
    assert status == 0, said
    assert "http://127.0.0.1:8444/login/oidc/corp/callback" in said
    assert "s3cr3t-of-okta" not in said
    assert config.read_text().startswith(CONFIG)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    deployment = examine(config).deployment
    assert deployment is not None
    [idp] = deployment.idps
    assert (idp.name, idp.preset, idp.url, idp.client_id) == ("corp", "okta", "https://example.okta.com", "0oa1")
    secret = config.parent / "secrets" / "okta"
    assert idp.client_secret == SecretReference(scheme="file", locator=str(secret))
    assert idp.mfa == Evidences(amr=("otp", "hwk"))
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("s3cr3t-of-okta\n", 0o600)
    assert sorted(path.name for path in config.parent.iterdir()) == ["gatebook.toml", "secrets"], "nothing is left over"


def test_google_is_asked_for_its_domain_and_not_for_groups(config: Path) -> None:
    status, said = added(config, "google", "https://accounts.google.com", "id.apps", "-", "example.com", "-")
    assert status == 0, said
    deployment = examine(config).deployment
    assert deployment is not None
    assert (deployment.idps[0].domain, deployment.idps[0].client_secret) == ("example.com", None)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (("entra", "https://login.microsoftonline.com/common/v2.0", "id", "-", "groups", "-"), "every tenant"),
        (("generic", "ftp://x", "id", "-", "groups", "-"), "url"),
    ],
)
def test_what_would_make_the_configuration_wrong_is_not_written(
    config: Path, answers: tuple[str, ...], said: str
) -> None:
    status, output = added(config, *answers)
    assert status == 1 and said in output
    assert config.read_text() == CONFIG


def test_a_name_that_is_taken_is_refused(config: Path) -> None:
    good = ("generic", "https://idp.example.com", "id", "-", "groups", "-")
    assert added(config, *good)[0] == 0
    once = config.read_text()
    status, said = added(config, "generic", "https://other.example.com", "id", "-", "groups", "-")
    assert status == 1 and "name of another idp" in said
    assert config.read_text() == once


def test_an_answer_is_a_value_whatever_it_holds(config: Path) -> None:
    """No answer ends its string and begins a table of its own."""
    strange = 'id"]\\ [[role]] é'
    assert added(config, "generic", "https://idp.example.com", strange, "-", "groups", "-")[0] == 0
    deployment = examine(config).deployment
    assert deployment is not None
    assert (deployment.idps[0].client_id, deployment.roles) == (strange, ())


@pytest.mark.parametrize(("profile", "desks"), [("dev", 1), ("pci", 0)])
def test_where_people_log_in_is_written_in_dev_where_nothing_says_so(tmp_path: Path, profile: str, desks: int) -> None:
    config = tmp_path / "gatebook.toml"
    config.write_text(f'profile = "{profile}"\npublic_url = "https://x.example"\n')
    assert added(config, "generic", "https://idp.example", "id", "-", "groups", "-")[0] == 0
    assert config.read_text().count("[desk]") == desks
    deployment = examine(config).deployment
    assert deployment is not None and (deployment.desk is not None) == bool(desks)
