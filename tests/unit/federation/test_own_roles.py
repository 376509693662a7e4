"""Which roles a person holds and why: the same answer as the gate's at a call, and no more told than the person may know."""

import msgspec
import pytest

from gatebook.federation.errors import Cause
from gatebook.federation.mending import MENDS, mend_of
from gatebook.federation.own_roles import allowed_at, own_roles, principal_of_login
from gatebook.federation.records import LoggedIn, Login, Person
from gatebook.model.deployment import Allow, Deployment, IdentityProvider, Match, Role
from gatebook.policy.roles import holds
from tests import world

CORP = "https://corp.example"


def login(*groups: str, subject: str = "00u1", issuer: str = CORP, mfa: str = "none") -> Login:
    seen = LoggedIn(
        person=Person(issuer=issuer, subject=subject, label="a@example.com"), idp="corp", groups=groups, mfa=mfa
    )
    return Login(id="1" * 32, seen=seen, browser_hash="x", created_at=0.0, expires_at=100.0)


ROLES = (
    Role(name="support", match=(Match(issuer="corp", group="support"),), allow=(Allow(server="payments", tools=("get_*",)),)),
    Role(name="finance", match=(Match(issuer="corp", group="finance"), Match(issuer="corp", subject="00u9")), allow=()),
    Role(name="strong", match=(Match(issuer="corp", group="support", claims={"mfa": "proven"}),), allow=()),
    Role(name="named", match=(Match(issuer="corp", subject="00u1"),), allow=(Allow(server="orders"),)),
    Role(name="elsewhere", match=(Match(issuer="partner", group="support"),), allow=()),
    Role(name="jobs", match=(Match(issuer="ci", claims={"repository_id": "7"}),), allow=()),
    Role(name="nobody", match=(), allow=()),
)  # fmt: skip


@pytest.fixture
def deployment() -> Deployment:
    return world.deployment(idps=(IdentityProvider(name="corp", url=CORP, client_id="gatebook"),), roles=ROLES)


def test_held_roles_come_first_with_what_they_allow_and_the_others_say_what_is_missing(deployment: Deployment) -> None:
    told = {role.role: role for role in own_roles(login("support"), deployment)}
    assert [role.role for role in told.values()] == ["support", "named", "finance", "strong"]
    assert told["support"].why == ("you are in the group support",)
    assert [(each.server, each.words) for each in told["support"].allows] == [("payments", "tools get_*")]
    assert told["named"].why == ("it is given to you by name",)
    assert told["finance"].why == (
        "it takes the group finance, which your login does not name",
        "it is given to other people by name",
    )
    assert told["strong"].why == ("it takes mfa = proven",)
    assert told["finance"].allows == ()


def test_roles_for_jobs_and_for_people_of_others_are_not_told_of_and_no_other_person_is_named(
    deployment: Deployment,
) -> None:
    told = msgspec.json.encode(own_roles(login(), deployment)).decode()
    assert not any(hidden in told for hidden in ("jobs", "elsewhere", "nobody", "00u9"))


@pytest.mark.parametrize(
    "groups", [(), ("support",), ("finance",), ("support", "finance"), ("Support",), ("support ",)]
)
@pytest.mark.parametrize("subject", ["00u1", "00u9", "00U1"])
@pytest.mark.parametrize("mfa", ["none", "proven", "declared"])
def test_what_is_told_is_what_the_gate_decides(
    deployment: Deployment, groups: tuple[str, ...], subject: str, mfa: str
) -> None:
    who = login(*groups, subject=subject, mfa=mfa)
    principal = principal_of_login(who, "corp")
    held = {role.role for role in own_roles(who, deployment) if role.held}
    assert held == {role.name for role in ROLES if holds(role, principal)}


def test_a_provider_that_was_taken_away_gives_nothing(deployment: Deployment) -> None:
    assert own_roles(login("support", issuer="https://gone.example"), deployment) == ()


def test_what_is_allowed_at_a_server_is_that_of_held_roles(deployment: Deployment) -> None:
    roles = own_roles(login("support"), deployment)
    assert allowed_at("payments", roles) == ("tools get_*",)
    assert allowed_at("orders", roles) == ("to connect, nothing more",)
    assert allowed_at("ledger", roles) == ()


def test_every_cause_has_something_to_do_and_none_quotes_the_request() -> None:
    assert all(mend_of(cause).endswith(".") for cause in Cause)
    assert mend_of(Cause.CODE_REUSED) == mend_of(Cause.ID_TOKEN_INVALID), "what no page shows needs no words of its own"
    assert len(set(MENDS.values())) > 10
