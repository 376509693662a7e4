"""[[desk_role]]: what it comes to, and what is refused."""

from pathlib import Path

import pytest

from gatebook.config import examine_bytes
from gatebook.federation.desk_api import roles_of, unproven_roles_of
from gatebook.model.deployment import DeskRole, Match
from gatebook.model.principal import Evidence, Principal
from tests.unit.config.test_desk import PCI, examined, problems

AUDITOR = '[[desk_role]]\nrole = "auditor"\nmatch = [{ issuer = "okta", group = "audit" }]\n'


def test_a_role_at_the_desk_comes_to_what_it_says(tmp_path: Path) -> None:
    deployment = examined(PCI + AUDITOR, tmp_path).deployment
    assert deployment is not None
    matches = (Match(issuer="okta", group="audit"),)
    assert deployment.desk_roles == (DeskRole(role="auditor", match=matches, mfa="proven"),), (
        "nobody need ask for it in pci"
    )


@pytest.mark.parametrize(
    ("profile", "line", "comes_to"),
    [
        ("pci", "", "proven"),
        ("pci", 'mfa = "proven"', "proven"),
        ("dev", "", None),
        ("dev", 'mfa = "proven"', "proven"),
    ],
)
def test_a_proof_is_demanded_in_pci_whatever_is_written_and_in_dev_on_demand(
    tmp_path: Path, profile: str, line: str, comes_to: str | None
) -> None:
    text = PCI.replace('profile    = "pci"', f'profile = "{profile}"') + AUDITOR + line
    deployment = examined(text, tmp_path).deployment
    assert deployment is not None
    assert [role.mfa for role in deployment.desk_roles] == [comes_to]


@pytest.mark.parametrize("word", ['"none"', '"declared"', '""', "false"])
def test_there_is_no_word_that_turns_it_off(tmp_path: Path, word: str) -> None:
    assert any("desk_role" in each for each in problems(f"{PCI}{AUDITOR}mfa = {word}\n", tmp_path))


def test_a_proof_that_nobody_can_give_is_said(tmp_path: Path) -> None:
    said = problems(PCI.replace('mfa = { amr = ["otp"] }', "") + AUDITOR, tmp_path)
    assert any("desk_role" in each and "has no evidence that would prove it" in each for each in said)
    assert not any("has no evidence that would prove it" in each for each in problems(PCI + AUDITOR, tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('issuer = "okta"', 'issuer = "nobody"', "names no idp of this file"),
        (', group = "audit"', "", "matches everybody who logs in"),
        ('group = "audit"', 'claims = { a = "b" }', "rests on claims"),
        ('"auditor"', '"owner"', "is none of the words allowed here"),
    ],
)
def test_a_role_at_the_desk_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = AUDITOR.replace(old, new)
    assert any(said in problem for problem in problems(PCI + text, tmp_path))


def test_no_server_is_called_as_the_desks_api_is(tmp_path: Path) -> None:
    assert any("reserved" in each for each in problems(PCI.replace('name = "payments"', 'name = "desk"'), tmp_path))


def test_without_a_desk_it_has_no_effect_and_that_is_said(tmp_path: Path) -> None:
    before, _, after = PCI.partition("[desk]")
    text = before + after[after.index("[[server]]") :].partition("[[role]]")[0] + AUDITOR
    said = [str(each) for each in examine_bytes(text.encode(), tmp_path / "gatebook.toml").problems]
    assert any("desk_role" in each and "has no effect without [desk]" in each for each in said)


def person(**changed: object) -> Principal:
    base: dict[str, object] = {
        "kind": "person", "issuer": "https://idp", "issuer_name": "okta", "subject": "00u1", "groups": frozenset({"audit"}),
        "agent": None, "login": "sid:x", "claims": {}, "evidence": Evidence(), "expires_at": 1.0,
    }  # fmt: skip
    return Principal(**{**base, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "held", "unproven"),
    [
        ("proven", ("admin", "auditor"), ()),
        ("declared", ("auditor",), ("admin",)),
        ("none", ("auditor",), ("admin",)),
        (None, ("auditor",), ("admin",)),
    ],
)
def test_a_role_that_demands_a_proof_is_not_held_without(
    said: str | None, held: tuple[str, ...], unproven: tuple[str, ...]
) -> None:
    match = (Match(issuer="okta", group="audit"),)
    roles = (DeskRole(role="admin", match=match, mfa="proven"), DeskRole(role="auditor", match=match))
    who = person(claims={} if said is None else {"mfa": said})
    assert (roles_of(who, roles), unproven_roles_of(who, roles)) == (held, unproven)
    assert unproven_roles_of(person(groups=frozenset()), roles) == unproven_roles_of(person(kind="job"), roles) == ()


def test_no_role_implies_another_and_only_people_hold_any() -> None:
    roles = (
        DeskRole(role="auditor", match=(Match(issuer="okta", group="audit"),)),
        DeskRole(role="admin", match=(Match(issuer="okta", subject="00u2"),)),
        DeskRole(role="recordings", match=(Match(issuer="okta"), Match(issuer="other", group="audit"))),
    )
    assert roles_of(person(), roles) == ("auditor",)
    assert roles_of(person(groups=frozenset(), subject="00u2"), roles) == ("admin",)
    assert roles_of(person(kind="job"), roles) == ()
    assert roles_of(person(issuer_name="other"), roles) == ("recordings",)


@pytest.mark.parametrize("claims", ['{ name = "cfo@example.com" }', '{ mfa = "proven", email = "a@b.example" }'])
def test_a_role_of_people_rests_on_nothing_that_they_call_themselves(tmp_path: Path, claims: str) -> None:
    said = problems(PCI.replace('group = "support"', f'group = "support", claims = {claims}'), tmp_path)
    assert any("role[0].match[0]" in each and "what they call themselves" in each for each in said)


def test_a_role_of_people_may_rest_on_how_they_logged_in(tmp_path: Path) -> None:
    text = PCI.replace('group = "support"', 'group = "support", claims = { mfa = "proven" }')
    assert problems(text, tmp_path) == problems(PCI, tmp_path)
