"""What a client is told: RFC 6750 §3 and RFC 9728."""

import json
import re

import msgspec
import pytest

from gatebook.identity.challenge import challenge, metadata_paths, metadata_url, protected_resource_metadata
from gatebook.model.errors import Reason
from tests import issuing
from tests.issuing import Issuer

SERVER = issuing.server("payments", "corp", "ci")
METADATA = "https://gate.example/.well-known/oauth-protected-resource/payments/mcp"
ONE_CHALLENGE = re.compile(
    rb'Bearer [a-z_]+="[\x20-\x21\x23-\x5b\x5d-\x7e]*"(, [a-z_]+="[\x20-\x21\x23-\x5b\x5d-\x7e]*")*'
)


def test_a_client_without_a_token_is_told_where_to_look_and_of_no_error() -> None:
    assert challenge(SERVER, Reason.CREDENTIAL_MISSING, "x") == f'Bearer resource_metadata="{METADATA}"'.encode()


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.CREDENTIAL_MALFORMED, b"invalid_request"),
        (Reason.TOKEN_EXPIRED, b"invalid_token"),
        (Reason.TOKEN_AUDIENCE, b"invalid_token"),
        (Reason.INSUFFICIENT_SCOPE, b"insufficient_scope"),
    ],
)
def test_the_error_is_one_of_rfc_6750(reason: Reason, error: bytes) -> None:
    assert challenge(SERVER, reason, "Why.").startswith(b'Bearer error="%b", error_description="Why.", ' % error)


def test_a_missing_scope_is_named_whole() -> None:
    assert b', scope="mcp:read mcp:write", ' in challenge(
        SERVER, Reason.INSUFFICIENT_SCOPE, "More.", "mcp:read mcp:write"
    )


@pytest.mark.parametrize("description", ['a" , error="x', "a\r\nSet-Cookie: x=y", "a\\", "né", "\x00"])
def test_no_description_breaks_out_of_the_header(description: str) -> None:
    assert ONE_CHALLENGE.fullmatch(challenge(SERVER, Reason.TOKEN_INVALID, description, "a b"))


@pytest.mark.parametrize("scope", ['a"', "a\\", "", "a  b", "a\n"])
def test_a_scope_that_is_none_is_our_mistake(scope: str) -> None:
    with pytest.raises(ValueError, match="not a scope"):
        challenge(SERVER, Reason.INSUFFICIENT_SCOPE, "x", scope)


def test_the_metadata_lies_between_host_and_path() -> None:
    assert metadata_url(SERVER) == METADATA
    assert metadata_paths("https://gate.example", SERVER) == ("/.well-known/oauth-protected-resource/payments/mcp",)


@pytest.mark.parametrize("public_url", ["https://gate.example/gate", "https://gate.example/gate/"])
def test_below_a_path_the_metadata_is_found_with_the_path_and_without(public_url: str) -> None:
    server = msgspec.structs.replace(SERVER, resource="https://gate.example/gate/payments/mcp")
    paths = metadata_paths(public_url, server)
    assert paths == (
        "/.well-known/oauth-protected-resource/gate/payments/mcp",
        "/.well-known/oauth-protected-resource/payments/mcp",
    )
    assert metadata_url(server) == "https://gate.example" + paths[0]


def test_the_document_names_the_resource_to_the_byte_and_the_issuers_of_people() -> None:
    people, slashed, ci = (
        Issuer(),
        Issuer("https://t.example/", name="elsewhere"),
        Issuer("https://ci.example", name="ci", kind="job"),
    )
    document = json.loads(protected_resource_metadata(SERVER, [issuer.model for issuer in (people, slashed, ci)]))
    assert document == {
        "resource": "https://gate.example/payments/mcp",
        "authorization_servers": ["https://idp.example"],
        "bearer_methods_supported": ["header"],
        "resource_name": "payments",
    }


def test_an_issuers_slash_stays() -> None:
    document = protected_resource_metadata(SERVER, [Issuer("https://t.example/").model])
    assert b'"https://t.example/"' in document


def test_where_only_jobs_are_accepted_no_authorization_server_is_named() -> None:
    document = json.loads(protected_resource_metadata(SERVER, [Issuer(name="ci", kind="job").model]))
    assert "authorization_servers" not in document
