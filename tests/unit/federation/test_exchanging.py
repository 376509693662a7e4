"""What a job may ask at the token endpoint, and what an assertion must say."""

from typing import Any

import pytest

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.exchanging import (
    ACCESS_TOKEN_TYPE,
    ASSERTION_TYPE,
    demand_assertion,
    read_assertion,
    read_exchange,
)
from gatebook.identity.errors import TokenRefused
from gatebook.model.errors import Reason

JWT = "urn:ietf:params:oauth:token-type:jwt"
GOOD = {"subject_token": "a.b.c", "subject_token_type": JWT, "resource": "https://g/payments/mcp"}
NOW = 1_795_000_000.0
AUDIENCES = frozenset({"https://desk.example", "https://desk.example/oauth/token"})


def test_a_token_of_a_ci_system_and_one_of_ours_are_told_apart_by_their_type() -> None:
    assert read_exchange(GOOD).renewal is False
    assert read_exchange({**GOOD, "subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}).renewal is False
    assert read_exchange({**GOOD, "subject_token_type": ACCESS_TOKEN_TYPE}).renewal is True
    assert read_exchange({**GOOD, "requested_token_type": ACCESS_TOKEN_TYPE}).resource == "https://g/payments/mcp"


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"subject_token": ""}, Cause.REQUEST_INVALID),
        ({"subject_token": None}, Cause.REQUEST_INVALID),
        ({"subject_token_type": None}, Cause.SUBJECT_TOKEN_TYPE),
        ({"subject_token_type": "jwt"}, Cause.SUBJECT_TOKEN_TYPE),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, Cause.SUBJECT_TOKEN_TYPE),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, Cause.SUBJECT_TOKEN_TYPE),
        ({"actor_token": "a.b.c"}, Cause.REQUEST_INVALID),
        ({"actor_token_type": JWT}, Cause.REQUEST_INVALID),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, Cause.REQUEST_INVALID),
        ({"client_secret": "x"}, Cause.REQUEST_INVALID),
        ({"resource": None}, Cause.RESOURCE_INVALID),
        ({"resource": ""}, Cause.RESOURCE_INVALID),
        ({"audience": "payments"}, Cause.RESOURCE_INVALID),
    ],
    ids=str,
)
def test_an_exchange_that_asks_for_something_else_is_refused(changed: dict[str, str | None], cause: Cause) -> None:
    asked = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    with pytest.raises(LoginRefused) as refused:
        read_exchange(asked)
    assert refused.value.cause is cause


@pytest.mark.parametrize(
    "asked",
    [
        {"client_id": "nightly", "client_secret": "s3cret"},
        {"client_assertion": "a.b.c"},
        {"client_assertion_type": ASSERTION_TYPE},
        {
            "client_assertion": "a.b.c",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        },
    ],
    ids=str,
)
def test_client_credentials_are_a_key_and_never_a_secret(asked: dict[str, str]) -> None:
    with pytest.raises(LoginRefused) as refused:
        read_assertion({**asked, "resource": "https://g/payments/mcp"})
    assert refused.value.cause is Cause.CLIENT_UNKNOWN


def assertion(**changed: Any) -> dict[str, Any]:
    base = {
        "iss": "nightly",
        "sub": "nightly",
        "aud": "https://desk.example",
        "exp": int(NOW) + 60,
        "iat": int(NOW),
        "jti": "1",
    }
    return {name: value for name, value in {**base, **changed}.items() if value is not None}


def test_a_good_assertion_names_its_run() -> None:
    assert demand_assertion(assertion(), "nightly", AUDIENCES, NOW) == ("1", "jti:1", NOW + 90)
    for audience in ("https://desk.example/oauth/token", ["https://desk.example"]):
        assert demand_assertion(assertion(aud=audience), "nightly", AUDIENCES, NOW)
    assert (
        demand_assertion(assertion(run_id="jenkins-report-17"), "nightly", AUDIENCES, NOW)[1]
        == "run_id:jenkins-report-17"
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sub": "other"}, Reason.TOKEN_CLAIMS),
        ({"sub": None}, Reason.TOKEN_CLAIMS),
        ({"aud": "https://desk.example/"}, Reason.TOKEN_AUDIENCE),
        ({"aud": "https://other.example"}, Reason.TOKEN_AUDIENCE),
        ({"aud": ["https://desk.example", "https://other.example"]}, Reason.TOKEN_AUDIENCE),
        ({"aud": []}, Reason.TOKEN_AUDIENCE),
        ({"aud": [["https://desk.example"]]}, Reason.TOKEN_AUDIENCE),
        ({"aud": None}, Reason.TOKEN_AUDIENCE),
        ({"exp": None}, Reason.TOKEN_CLAIMS),
        ({"exp": int(NOW) - 31}, Reason.TOKEN_EXPIRED),
        ({"exp": int(NOW) + 331}, Reason.TOKEN_CLAIMS),
        ({"exp": True}, Reason.TOKEN_CLAIMS),
        ({"exp": "1e9"}, Reason.TOKEN_CLAIMS),
        ({"iat": int(NOW) + 60}, Reason.TOKEN_NOT_YET_VALID),
        ({"jti": None}, Reason.TOKEN_CLAIMS),
        ({"jti": ""}, Reason.TOKEN_CLAIMS),
        ({"jti": 7}, Reason.TOKEN_CLAIMS),
        ({"jti": "x" * 256}, Reason.TOKEN_CLAIMS),
        ({"run_id": 7}, Reason.TOKEN_CLAIMS),
        ({"run_id": "x" * 201}, Reason.TOKEN_CLAIMS),
        ({"run_id": "a\u202eb"}, Reason.TOKEN_CLAIMS),
    ],
    ids=str,
)
def test_an_assertion_that_says_anything_else_is_refused(changed: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(TokenRefused) as refused:
        demand_assertion(assertion(**changed), "nightly", AUDIENCES, NOW)
    assert refused.value.reason is reason
