"""A job's access token of the desk, as the gate judges it: never a person's, never without who answers for it."""

from typing import Any

import msgspec
import pytest

from gatebook.config.desk import desk_issuer
from gatebook.federation.minting import Minter, new_key
from gatebook.federation.minting_jobs import client_of, job_claims_of
from gatebook.federation.records import Grant, Job, LoggedIn, Person
from gatebook.identity.errors import TokenRefused
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import DESK_ISSUER, Deployment, Desk, IdentityProvider, KeySet, Match, Role
from gatebook.model.errors import Reason
from gatebook.model.principal import Evidence
from gatebook.model.workload import RegisteredJob, Workload
from gatebook.policy.roles import holds
from tests import issuing
from tests.issuing import NOW_S

DESK = Desk(listen=(), public_url="https://login.example", signing_key="", public_keys="")
SERVER = issuing.server("payments", DESK_ISSUER)
MINTER = Minter.of(new_key())
CI = "https://ci.example"
JOB = Job(run="run_id:9001/1", acting_for="58412", owned=False, claims={"repository_id": "1001"})
SEEN = LoggedIn(person=Person(issuer=CI, subject="repo:a/b:ref:x"), idp="github", job=JOB)


def claims(seen: LoggedIn = SEEN, run: Job = JOB, **changed: Any) -> dict[str, Any]:
    grant = Grant(
        sid="a" * 32, login_id="1" * 32, client_id=client_of(seen), client_name="", server="payments", resource=SERVER.resource,
        scope="mcp:payments", created_at=NOW_S, expires_at=NOW_S + 3600,
    )  # fmt: skip
    made = job_claims_of(grant, seen, run, issuer=DESK.public_url, turn=0, now_s=NOW_S, jti="j" * 32)
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def verifier(**changed: Any) -> Verifier:
    base = issuing.snapshot((), (SERVER,))
    settled: dict[str, Any] = {
        "issuers": (desk_issuer(DESK),),
        "desk": DESK,
        "workloads": (Workload(name="github", url=CI, preset="github", audience=DESK.public_url, match=({"a": "b"},)),),
        "jobs": (RegisteredJob(name="nightly", owner="Dana", public_key=""),),
        "idps": (IdentityProvider(name="corp", url="https://idp.example", client_id="gatebook"),),
        **changed,
    }
    deployment: Deployment = msgspec.structs.replace(base.deployment, **settled)
    keys = {DESK_ISSUER: KeySet(jwks=MINTER.public_keys().decode(), fetched_at=NOW_S)}
    return Verifier(msgspec.structs.replace(base, deployment=deployment, key_sets=keys))


def test_a_job_is_named_as_its_issuer_names_it_with_its_run_and_who_is_behind_it() -> None:
    principal = verifier().verify(MINTER.sign(claims()), SERVER, NOW_S)
    assert (principal.kind, principal.issuer, principal.issuer_name) == ("job", CI, "github")
    assert (principal.subject, principal.login, principal.agent) == ("repo:a/b:ref:x", "run_id:9001/1", "github")
    assert (principal.acting_for, principal.sid, principal.evidence) == ("58412", "a" * 32, Evidence())
    assert principal.groups == frozenset()
    role = Role(name="r", match=(Match(issuer="github", claims={"repository_id": "1001"}),), allow=())
    assert holds(role, principal)
    assert not holds(
        Role(name="r", match=(Match(issuer="corp", claims={"repository_id": "1001"}),), allow=()), principal
    )


def test_a_registered_job_is_the_desks_own() -> None:
    job = Job(run="jti:1", acting_for="Dana", owned=True, claims={"jti": "1"})
    seen = LoggedIn(person=Person(issuer=DESK.public_url, subject="nightly"), idp=DESK_ISSUER, job=job)
    made = claims(seen, job)
    assert made["act"] == {"sub": "Dana"}, "an owner is nobody whom an issuer vouches for"
    principal = verifier().verify(MINTER.sign(made), SERVER, NOW_S)
    assert (principal.issuer_name, principal.subject, principal.agent) == (DESK_ISSUER, "nightly", "nightly")
    with pytest.raises(TokenRefused) as refused:
        verifier(jobs=()).verify(MINTER.sign(made), SERVER, NOW_S)
    assert refused.value.reason is Reason.TOKEN_ISSUER


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"principal_type": "person"}, Reason.TOKEN_ISSUER),  # 17: a workload vouches for no person
        ({"principal_type": "service"}, Reason.TOKEN_CLAIMS),
        ({"principal_type": None}, Reason.TOKEN_CLAIMS),
        ({"idp": {"iss": "https://idp.example", "sub": "00u1"}}, Reason.TOKEN_ISSUER),  # and a provider for no job
        ({"idp": {"iss": None, "sub": "x"}}, Reason.TOKEN_ISSUER),
        ({"idp": {"iss": ["x"], "sub": "x"}}, Reason.TOKEN_ISSUER),
        ({"idp": {"iss": "https://login.example", "sub": "repo:a/b"}}, Reason.TOKEN_ISSUER),
        ({"idp": {"iss": CI, "sub": ""}}, Reason.TOKEN_CLAIMS),
        ({"idp": CI}, Reason.TOKEN_CLAIMS),
        ({"act": None}, Reason.TOKEN_CLAIMS),
        ({"act": {"sub": ""}}, Reason.TOKEN_CLAIMS),
        ({"act": {"sub": 58412}}, Reason.TOKEN_CLAIMS),
        ({"act": {"iss": CI}}, Reason.TOKEN_CLAIMS),
        ({"sid": None}, Reason.TOKEN_CLAIMS),
        ({"sid": "short"}, Reason.TOKEN_CLAIMS),
        ({"job": None}, Reason.TOKEN_CLAIMS),
        ({"job": {"run": "", "claims": {}}}, Reason.TOKEN_CLAIMS),
        ({"job": {"run": "x", "claims": {"ref_protected": True}}}, Reason.TOKEN_CLAIMS),
        ({"job": {"run": "x"}}, Reason.TOKEN_CLAIMS),
        ({"aud": "https://gate.example/orders/mcp"}, Reason.TOKEN_AUDIENCE),
        ({"exp": NOW_S - 6}, Reason.TOKEN_EXPIRED),
    ],
    ids=str,
)
def test_a_token_that_lacks_what_names_the_job_is_refused(changed: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(TokenRefused) as refused:
        verifier().verify(MINTER.sign(claims(**changed)), SERVER, NOW_S)
    assert refused.value.reason is reason


def test_a_workload_that_was_taken_away_vouches_for_nobody() -> None:
    with pytest.raises(TokenRefused) as refused:
        verifier(workloads=()).verify(MINTER.sign(claims()), SERVER, NOW_S)
    assert refused.value.reason is Reason.TOKEN_ISSUER


def test_the_last_token_of_a_run_ends_with_it() -> None:
    grant = Grant(
        sid="a" * 32, login_id="1" * 32, client_id="github", client_name="", server="payments", resource=SERVER.resource,
        scope="mcp:payments", created_at=NOW_S - 3500, expires_at=NOW_S + 100,
    )  # fmt: skip
    made = job_claims_of(grant, SEEN, JOB, issuer=DESK.public_url, turn=12, now_s=NOW_S, jti="j")
    assert made["exp"] == NOW_S + 100
