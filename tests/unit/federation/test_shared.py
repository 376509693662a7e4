"""[74] Accounts that are not one person's, by name, group and claim; and [71] [72] what can be mistaken for another person or group."""

from typing import Any

import msgspec
import pytest

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.people import logged_in
from gatebook.federation.shared import demand_one_person, looks_shared
from gatebook.model.deployment import Desk, IdentityProvider, Match, Role, SharedMarks
from gatebook.model.principal import Evidence, Principal
from gatebook.policy.roles import holds

DESK = Desk(listen=(), public_url="https://login.example.com", signing_key="", public_keys="")
MARKS = SharedMarks(groups=("mailboxes",), claims={"is_shared": "true", "account_type": "2"})


def idp(**changed: Any) -> IdentityProvider:
    base = IdentityProvider(name="corp", url="https://idp.example", client_id="gatebook", shared=MARKS)
    return msgspec.structs.replace(base, **changed)


def claims(**changed: Any) -> dict[str, Any]:
    return {"sub": "00u1alice", "groups": ["support"], "email": "alice@example.com", **changed}


@pytest.mark.parametrize(
    "told",
    [
        {"email": "ops@example.com"},
        {"email": "OPS@example.com"},
        {"email": "ops+card@example.com"},
        {"preferred_username": "root"},
        {"upn": "svc-backup@corp.example"},
        {"preferred_username": "Service-Ledger"},
        {"groups": ["support", "mailboxes"]},
        {"is_shared": True},
        {"is_shared": "true"},
        {"account_type": 2},
    ],
    ids=str,
)
def test_an_account_that_bears_a_mark_is_refused_or_marked(told: dict[str, Any]) -> None:
    seen = logged_in(claims(**told), None, idp())
    assert seen.shared
    with pytest.raises(LoginRefused) as refused:
        demand_one_person(seen, DESK)
    assert refused.value.cause is Cause.SHARED_ACCOUNT and refused.value.hint == seen.shared
    demand_one_person(seen, msgspec.structs.replace(DESK, shared="mark"))


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"email": "opsahl@example.com"},
        {"email": "alice@ops.example.com"},
        {"email": "rooty@example.com"},
        {"preferred_username": "svcalice"},
        {"name": "ops"},
        {"groups": ["mailbox", "Mailboxes"]},
        {"is_shared": False},
        {"is_shared": ["true"]},
        {"account_type": 2.0},
        {"email": None},
        {"email": ["ops@example.com"]},
    ],
    ids=str,
)
def test_an_account_that_only_sounds_like_one_is_a_persons(told: dict[str, Any]) -> None:
    assert logged_in(claims(**told), None, idp()).shared == ""


def test_marks_count_in_userinfo_too() -> None:
    assert logged_in(claims(), {"sub": "00u1alice", "preferred_username": "ops"}, idp()).shared


def test_without_marks_nobody_is_shared() -> None:
    none = SharedMarks(names=(), groups=(), claims={})
    assert looks_shared([{"email": "root@example.com"}], ["mailboxes"], none) == ""


# [71] Who is who


def person_of(told: dict[str, Any], provider: IdentityProvider) -> tuple[str, str]:
    seen = logged_in(told, None, provider)
    return seen.person.issuer, seen.person.subject


def test_one_address_is_two_people_and_another_address_is_the_same_one() -> None:
    alice = person_of(claims(), idp())
    assert person_of(claims(sub="00u2mallory"), idp()) != alice
    assert person_of(claims(email="alice.married@example.com", name="Alice M."), idp()) == alice
    assert person_of(claims(email="alice@example.com", email_verified=False), idp()) == alice, (
        "an address counts for nothing"
    )


def test_an_id_reused_by_another_issuer_is_another_person() -> None:
    assert person_of(claims(), idp()) != person_of(claims(), idp(name="other", url="https://other.example"))
    assert person_of(claims(), idp()) != person_of(claims(), idp(url="https://idp.example/")), (
        "a slash is another issuer"
    )


def test_case_and_spaces_of_an_id_are_the_ids() -> None:
    assert (
        len({person_of(claims(sub=sub), idp()) for sub in ("00u1alice", "00U1ALICE", "00u1alice ", " 00u1alice")}) == 4
    )


# [72] Which group is which


def held_by(groups: list[str], group: str) -> bool:
    """Whether a role that matches `group` is held by who has `groups` at the provider."""
    seen = logged_in(claims(groups=groups), None, idp())
    caller = Principal(
        kind="person", issuer=seen.person.issuer, issuer_name="corp", subject=seen.person.subject, agent=None, login="l",
        groups=frozenset(seen.groups), claims={}, evidence=Evidence(), expires_at=1.0,
    )  # fmt: skip
    return holds(Role(name="r", match=(Match(issuer="corp", group=group),), allow=()), caller)


GUID = "0a1b2c3d-1111-2222-3333-444455556666"


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ("*", "support"), ("support", "*"), ("supp*", "support"), ("support", "supp*"), ("**", "support"),
        ("/support", "support"), ("support", "/support"), ("/a/support", "/a"), ("/a", "/a/support"), ("/support/", "/support"),
        ("support\nadmin", "admin"), ("support\nadmin", "support"), ("admin\n", "admin"), ("admin\x00", "admin"),
        ("Support", "support"), ("support ", "support"), ("ſupport", "support"), ("suppоrt", "support"),
        (GUID.upper(), GUID), (f"{{{GUID}}}", GUID), (GUID.replace("-", ""), GUID), (GUID[:-1] + "7", GUID),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_group_is_its_name_character_by_character(has: str, wanted: str) -> None:
    assert not held_by([has], wanted)
    assert held_by([has], has)


def test_a_renamed_group_gives_nothing() -> None:
    assert not held_by(["support-2026"], "support")
