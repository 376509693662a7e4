"""How long logins live, what a provider cannot give, who may not log in, and tools that demand a fresh login: what the file comes to."""

from pathlib import Path

import pytest

from gatebook.model.deployment import SharedMarks, ToolRule
from tests.unit.config.test_desk import PCI, examined, problems

IDP = 'client_secret = "env:OKTA"'
TOOL = 'url = "https://payments.internal/mcp"\n'


def test_without_a_word_a_login_is_as_short_as_pci_wants(tmp_path: Path) -> None:
    found = examined(PCI, tmp_path).deployment
    assert found is not None and found.desk is not None
    desk = found.desk
    assert (desk.login_s, desk.idle_s, desk.provider_grace_s, desk.shared) == (28_800, 900, 3_600, "refuse")
    assert found.idps[0].shared == SharedMarks()


def test_in_dev_shared_accounts_are_marked_unless_said_otherwise(tmp_path: Path) -> None:
    dev = 'profile = "dev"\n[desk]\nlisten = ["127.0.0.1:9000"]\npublic_url = "http://127.0.0.1:9000"\nidle_s = 3600\n'
    for more, shared in (("", "mark"), ('shared_accounts = "refuse"\n', "refuse")):
        found = examined(dev + more, tmp_path).deployment
        assert found is not None and found.desk is not None
        assert (found.desk.shared, found.desk.idle_s) == (shared, 3600)


def test_rules_and_marks_arrive_as_they_are_written(tmp_path: Path) -> None:
    marks = 'shared = { names = ["kiosk-*"], groups = ["mailboxes"], claims = { is_shared = "true" } }'
    text = PCI.replace(IDP, f"{IDP}\n{marks}")
    text = text.replace(TOOL, TOOL + '[[server.tool]]\nmatch = ["refund"]\nmfa = "proven"\nmfa_max_age_s = 300\n')
    found = examined(text, tmp_path)
    assert found.problems == () and found.deployment is not None
    assert found.deployment.idps[0].shared == SharedMarks(
        names=("kiosk-*",), groups=("mailboxes",), claims={"is_shared": "true"}
    )
    assert found.deployment.servers[0].tool_rules == (ToolRule(tools=("refund",), mfa="proven", mfa_max_age_s=300),)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('signing_key = "desk.jwk"', 'signing_key = "desk.jwk"\nidle_s = 901', "is more than 900"),
        ('signing_key = "desk.jwk"', 'signing_key = "desk.jwk"\nidle_s = 59', "desk.idle_s"),
        ('signing_key = "desk.jwk"', 'signing_key = "desk.jwk"\nprovider_grace_s = 86401', "desk.provider_grace_s"),
        ('signing_key = "desk.jwk"', 'signing_key = "desk.jwk"\nshared_accounts = "mark"', "are not one person's"),
        (IDP, IDP + '\nscopes = ["openid", "groups"]', "cannot be asked again"),
        ('preset = "okta"', 'preset = "keycloak"\nscopes = ["openid", "offline_access"]', "needs not"),
        (TOOL, TOOL + '[[server.tool]]\nmatch = ["x"]\nmfa_max_age_s = 300\n', "has mfa_max_age_s without mfa"),
        (TOOL, TOOL + '[[server.tool]]\nmatch = ["x"]\nmfa = "declared"\n', "mfa"),
        (TOOL, TOOL + '[[server.tool]]\nmatch = ["x"]\nmfa = "proven"\nmfa_max_age_s = 5\n', "mfa_max_age_s"),
        (TOOL, TOOL + '[[server.tool]]\nmatch = ["x"]\n', "makes no exception"),
    ],
)  # fmt: skip
def test_what_would_not_do_what_it_says_is_told(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in PCI
    found = problems(PCI.replace(old, new, 1), tmp_path)
    assert any(said in problem for problem in found), found


def test_a_proof_that_nobody_can_give_is_told(tmp_path: Path) -> None:
    rule = TOOL + '[[server.tool]]\nmatch = ["x"]\nmfa = "proven"\n'
    for evidence in ("mfa = { declared = true }", ""):
        text = PCI.replace(TOOL, rule).replace('mfa = { amr = ["otp"] }', evidence)
        assert any("so nobody can call" in problem for problem in problems(text, tmp_path))
    dev = 'profile = "dev"\n[[server]]\nname = "payments"\n' + rule
    assert any("only a login at the desk can prove" in problem for problem in problems(dev, tmp_path))
