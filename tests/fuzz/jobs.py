"""What a CI system's issuer signs, whatever it is: a job that matches in full and whose token the gate takes, or a documented refusal."""

import json

from gatebook.config.desk import desk_issuer
from gatebook.federation.errors import LoginRefused
from gatebook.federation.exchanging import demand_assertion
from gatebook.federation.minting import Minter, new_key
from gatebook.federation.minting_jobs import job_claims_of
from gatebook.federation.records import Grant, LoggedIn, Person
from gatebook.federation.workloads import WAYS, attempt_of, job_of, once_key, workload_issuer
from gatebook.identity.claims import demand_access_token, demand_audience, demand_within_lifetime, subject_in
from gatebook.identity.errors import TokenRefused
from gatebook.identity.own_jobs import Vouching, own_job
from gatebook.identity.tokens import verified_claims
from gatebook.model.deployment import Desk
from gatebook.model.workload import Workload
from tests import issuing

_DESK = Desk(listen=(), public_url="https://login.example", signing_key="", public_keys="")
_SERVER = issuing.server("payments", desk_issuer(_DESK).name)
_MINTER = Minter.of(new_key())
_CI = issuing.Issuer("https://ci.example", name="ci", kind="job")
MATCH = {"repository_id": "1001", "repository_owner_id": "17", "ref": "refs/heads/main", "ref_protected": "true"}
WORKLOAD = Workload(
    name="ci", url=_CI.url, preset="github", audience=_DESK.public_url, match=(MATCH,), events=WAYS["github"].events
)
_VOUCHING = Vouching(workloads={_CI.url: "ci"}, desk_url=_DESK.public_url, registered=frozenset())


def job_token(data: bytes) -> None:
    """The claims, signed by the workload's issuer, go the whole way of an exchange."""
    signing_input = f"{issuing.base64url(json.dumps(_CI.header()).encode())}.{issuing.base64url(data)}"
    token = f"{signing_input}.{issuing.base64url(issuing.sign(_CI.key, 'ES256', signing_input.encode()))}"
    try:
        claims = verified_claims(token, workload_issuer(WORKLOAD), _CI.key_set(), issuing.NOW_S)
        demand_audience(claims, WORKLOAD.audience)
        demand_within_lifetime(claims, WORKLOAD.leeway_s, issuing.NOW_S)
        demand_access_token(claims, declared=False, kind="job")
        subject = subject_in(claims.get("sub"))
        job = job_of(claims, WORKLOAD)
        once_key(token, claims, WORKLOAD)
        attempt_of(job, WORKLOAD)
    except (TokenRefused, LoginRefused):
        return
    said = json.loads(data)
    assert {name: said[name] for name in MATCH} == MATCH, "with strings in a string's place: True is not 'true'"
    assert said["aud"] in (WORKLOAD.audience, [WORKLOAD.audience]) and said["event_name"] in WORKLOAD.events
    assert job.acting_for == said["actor_id"] and not said.get("actor", "").endswith("[bot]")
    assert said["exp"] + WORKLOAD.leeway_s > issuing.NOW_S
    seen = LoggedIn(person=Person(issuer=WORKLOAD.url, subject=subject), idp="ci", job=job)
    grant = Grant(
        sid="a" * 32, login_id="1" * 32, client_id="ci", client_name="ci", server="payments", resource=_SERVER.resource,
        scope="mcp:payments", created_at=issuing.NOW_S, expires_at=issuing.NOW_S + 3600,
    )  # fmt: skip
    made = job_claims_of(grant, seen, job, issuer=_DESK.public_url, turn=0, now_s=issuing.NOW_S, jti="j")
    keys = issuing.KeySet(jwks=_MINTER.public_keys().decode(), fetched_at=issuing.NOW_S)
    read = verified_claims(_MINTER.sign(made), desk_issuer(_DESK), keys, issuing.NOW_S)
    try:
        principal = own_job(read, _VOUCHING, issuing.NOW_S + 300)
    except TokenRefused:
        return  # a name that no entry may hold: the desk asks before it issues
    assert (principal.kind, principal.subject, principal.acting_for) == ("job", said["sub"], said["actor_id"])


def job_assertion(data: bytes) -> None:
    """The claims, signed by a registered job's own key: once, for five minutes, for us, about itself; or refused."""
    signing_input = f"{issuing.base64url(json.dumps(_CI.header()).encode())}.{issuing.base64url(data)}"
    token = f"{signing_input}.{issuing.base64url(issuing.sign(_CI.key, 'ES256', signing_input.encode()))}"
    audiences = frozenset({_DESK.public_url, f"{_DESK.public_url}/oauth/token"})
    try:
        claims = verified_claims(token, _CI.model, _CI.key_set(), issuing.NOW_S)
        jti, run, until = demand_assertion(claims, _CI.url, audiences, issuing.NOW_S)
    except TokenRefused:
        return
    said = json.loads(data)
    assert said["sub"] == said["iss"] == _CI.url and jti == said["jti"] and run
    assert said["aud"] in [*audiences, *([each] for each in audiences)]
    assert issuing.NOW_S < until <= issuing.NOW_S + 360
