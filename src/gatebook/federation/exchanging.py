"""What a job asks for at the token endpoint: RFC 8693 with a token of its CI system or cluster, or of ours; RFC 7523 with an assertion."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.identity.claims import demand_audience, demand_within_lifetime
from gatebook.identity.errors import TokenRefused
from gatebook.model.errors import Reason

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CLIENT_CREDENTIALS = "client_credentials"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
JOB_TOKEN_TYPES = frozenset({"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"})
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

ASSERTION_S = 300
ASSERTION_LEEWAY_S = 30
MAX_RUN_CHARACTERS = 200
_MAX_JTI_CHARACTERS = 255


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A token exchange. `renewal`: the subject token is an access token of ours, and the same run goes on."""

    subject_token: str
    renewal: bool
    resource: str
    scope: str | None


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a registered job, which proves itself by `token`."""

    token: str
    client_id: str | None
    resource: str
    scope: str | None


def read_exchange(parameters: Mapping[str, str]) -> Exchange:
    """RFC 8693 §2.1, as far as we offer it. Raises LoginRefused: REQUEST_INVALID, SUBJECT_TOKEN_TYPE, RESOURCE_INVALID."""
    subject_token, kind = parameters.get("subject_token", ""), parameters.get("subject_token_type", "")
    if not subject_token:
        raise LoginRefused(Cause.REQUEST_INVALID, "There is no subject_token.")
    if kind not in JOB_TOKEN_TYPES and kind != ACCESS_TOKEN_TYPE:
        raise LoginRefused(Cause.SUBJECT_TOKEN_TYPE, "A subject_token_type of this kind is not accepted.")
    if parameters.keys() & {"actor_token", "actor_token_type"}:
        raise LoginRefused(
            Cause.REQUEST_INVALID, "An actor_token is not accepted: who is behind a job, its token says."
        )
    if parameters.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
        raise LoginRefused(Cause.REQUEST_INVALID, "Only access tokens are given.")
    if parameters.keys() & {"client_assertion", "client_assertion_type", "client_secret"}:
        raise LoginRefused(Cause.REQUEST_INVALID, "A token exchange needs no client authentication.")
    return Exchange(
        subject_token=subject_token,
        renewal=kind == ACCESS_TOKEN_TYPE,
        resource=_resource(parameters),
        scope=parameters.get("scope"),
    )


def read_assertion(parameters: Mapping[str, str]) -> Assertion:
    """RFC 7523 §2.2. Raises LoginRefused: REQUEST_INVALID, CLIENT_UNKNOWN (a secret, or nothing at all), RESOURCE_INVALID."""
    if parameters.get("client_assertion_type") != ASSERTION_TYPE or not parameters.get("client_assertion"):
        raise LoginRefused(Cause.CLIENT_UNKNOWN, "A job proves itself by private_key_jwt; there are no client secrets.")
    return Assertion(
        token=parameters["client_assertion"],
        client_id=parameters.get("client_id"),
        resource=_resource(parameters),
        scope=parameters.get("scope"),
    )


def demand_assertion(
    claims: dict[str, Any], job: str, audiences: frozenset[str], now_s: float
) -> tuple[str, str, float]:
    """(jti, run, until when the jti must be remembered) of the assertion of `job`, whose signature and `iss` have been verified. RFC 7523 §3.

    Raises TokenRefused."""
    if claims.get("sub") != job:
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The assertion's sub is not its iss.")
    audience = claims.get("aud")
    single = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
    demand_audience(claims, single if isinstance(single, str) and single in audiences else min(audiences))
    expires_at = demand_within_lifetime(claims, ASSERTION_LEEWAY_S, now_s)
    if expires_at > now_s + ASSERTION_S + ASSERTION_LEEWAY_S:
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The assertion is good for more than five minutes.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_CHARACTERS or not jti.isprintable():
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The assertion has no usable jti.")
    run = claims.get("run_id")
    if run is not None and not (isinstance(run, str) and 0 < len(run) <= MAX_RUN_CHARACTERS and run.isprintable()):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The assertion's run_id is no short text.")
    return jti, f"jti:{jti}" if run is None else f"run_id:{run}", expires_at + ASSERTION_LEEWAY_S


def _resource(parameters: Mapping[str, str]) -> str:
    """Exactly one: a token is for one server (RFC 8707), and the form holds no parameter twice."""
    if "audience" in parameters:
        raise LoginRefused(Cause.RESOURCE_INVALID, "Name the server by `resource`, not by `audience`.")
    resource = parameters.get("resource", "")
    if not resource:
        raise LoginRefused(Cause.RESOURCE_INVALID, "Name the one server that the token is for by `resource`.")
    return resource
