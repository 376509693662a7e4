"""The gate as an OAuth resource server: RFC 6750, RFC 9728 and MCP 2025-06-18 and later, basic/authorization. The suite tests no resource server."""

import http.client
import json
from contextlib import closing

import httpx2
import pytest
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
)
from mcp.shared.auth import ProtectedResourceMetadata

from tests.e2e.attacks.ground import CALL, Received
from tests.e2e.gate import ISSUER_URL
from tests.e2e.wire.place import Place, answer, kept

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def fetch(place: Place, path: str, method: str = "GET", **headers: str) -> Received:
    with closing(http.client.HTTPConnection("127.0.0.1", place.gate.port, timeout=20)) as connection:
        connection.request(method, path, headers=headers)
        got = connection.getresponse()
        return Received(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())


def challenge(got: Received) -> httpx2.Response:
    """The answer as the SDK's own reader of challenges wants it."""
    return httpx2.Response(got.status, headers={"WWW-Authenticate": got.headers["www-authenticate"]})


def metadata_url(place: Place, server: str = "payments") -> str:
    return f"{place.gate.base}{WELL_KNOWN}/{server}/mcp"


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_who_shows_no_token_is_told_where_to_get_one_and_nothing_else(place: Place, method: str) -> None:
    with place.nothing_arrives():
        got = place.ask(method=method)
    assert got.status == 401
    # RFC 6750 §3.1: no error code where no credentials were shown.
    assert got.headers["www-authenticate"] == f'Bearer resource_metadata="{metadata_url(place)}"'
    assert extract_resource_metadata_from_www_auth(challenge(got)) == metadata_url(place)


@pytest.mark.parametrize("wrong", ["expired", "for another server", "no token at all"])
def test_a_token_that_does_not_count_is_called_invalid_and_the_way_to_another_one_is_told(
    place: Place, wrong: str
) -> None:
    bearers = {
        "expired": place.token(exp=1),
        "for another server": place.token(server="others"),
        "no token at all": "x.y.z",
    }
    with place.nothing_arrives():
        got = place.ask(bearer=bearers[wrong])
    assert got.status == 401
    assert extract_field_from_www_auth(challenge(got), "error") == "invalid_token"
    assert extract_resource_metadata_from_www_auth(challenge(got)) == metadata_url(place)


def test_another_scheme_is_no_credential(place: Place) -> None:
    with place.nothing_arrives():
        got = place.ask(headers={"Authorization": "Basic YTpi"})
    assert (got.status, got.reason) == (401, "credential_missing")
    assert got.headers["www-authenticate"] == f'Bearer resource_metadata="{metadata_url(place)}"'


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Bearer =="])
def test_a_malformed_credential_is_a_bad_request_with_a_challenge(place: Place, value: str) -> None:
    """RFC 6750 §3: a request without a token that enables access is answered with a challenge, whatever its status."""
    with place.nothing_arrives():
        got = place.ask(headers={"Authorization": value})
    assert got.status == 400
    assert extract_field_from_www_auth(challenge(got), "error") == "invalid_request"
    assert extract_field_from_www_auth(challenge(got), "resource_metadata") == metadata_url(place)


def test_the_metadata_is_where_the_challenge_and_the_well_known_rule_both_say(place: Place) -> None:
    got = place.ask()
    told = extract_resource_metadata_from_www_auth(challenge(got))
    guessed = build_protected_resource_metadata_discovery_urls(None, place.gate.url("payments"))
    assert guessed[0] == told
    document = fetch(place, WELL_KNOWN + "/payments/mcp")
    assert document.headers["content-type"] == "application/json"
    metadata = ProtectedResourceMetadata.model_validate_json(document.body)
    # RFC 9728 §3.3: equal to the URL that the client asked, to the byte.
    assert json.loads(document.body)["resource"] == place.gate.url("payments")
    assert [str(server) for server in metadata.authorization_servers] == [ISSUER_URL]
    assert metadata.bearer_methods_supported == ["header"]


def test_the_metadata_is_public_and_readable_from_any_origin(place: Place) -> None:
    got = fetch(place, WELL_KNOWN + "/payments/mcp", Origin="https://elsewhere.example")
    assert (got.status, got.headers["access-control-allow-origin"]) == (200, "*")
    asked = fetch(place, WELL_KNOWN + "/payments/mcp", "OPTIONS", Origin="https://elsewhere.example")
    assert asked.status in (200, 204) and asked.headers["access-control-allow-origin"] == "*"
    head = fetch(place, WELL_KNOWN + "/payments/mcp", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", got.headers["content-length"])


@pytest.mark.parametrize("path", ["/nosuch/mcp", "/payments", "", "/payments/mcp/"])
def test_there_is_metadata_for_endpoints_and_for_nothing_else(place: Place, path: str) -> None:
    assert fetch(place, WELL_KNOWN + path).status == 404


def test_every_request_of_a_connection_needs_its_own_token(place: Place) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", place.gate.port, timeout=20)) as connection:
        statuses = []
        for bearer in (place.token(), None, place.token("bob")):
            headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
            if bearer is not None:
                headers["Authorization"] = f"Bearer {bearer}"
            with place.playing(lambda asked: iter([kept(answer(asked))])):
                connection.request("POST", "/payments/mcp", body=json.dumps(CALL), headers=headers)
                got = connection.getresponse()
                got.read()
            statuses.append(got.status)
    assert statuses == [200, 401, 200]


def test_no_token_reaches_the_server(place: Place) -> None:
    bearer = place.token()
    before = len(place.payments.received)
    with place.playing(lambda asked: iter([kept(answer(asked))])):
        assert place.ask(bearer=bearer).status == 200
    arrived = bytes(place.payments.received[before:]).lower()
    assert b"authorization" not in arrived and bearer.split(".")[1].lower().encode() not in arrived


def test_a_servers_own_challenge_is_not_passed_on(place: Place) -> None:
    """It would send the client to log in at a server that it never talks to, and its token there."""
    evil = b'www-authenticate: Bearer resource_metadata="http://evil.example/.well-known/oauth-protected-resource"'
    for status in (b"401 Unauthorized", b"403 Forbidden"):
        with place.playing(lambda asked, status=status: iter([kept(b"{}", evil, status=status)])):
            got = place.ask(bearer=place.token())
        assert (got.status, got.reason) == (502, "upstream_refused_credential")
        assert "evil" not in got.whole


@pytest.mark.parametrize(("era", "allowed"), [("legacy", {"GET", "POST", "DELETE"}), ("modern", {"POST"})])
def test_a_method_that_is_not_used_is_answered_with_those_that_are(place: Place, era: str, allowed: set[str]) -> None:
    """RFC 9110 §15.5.6: a 405 lists the methods in Allow."""
    version = {"MCP-Protocol-Version": "2026-07-28" if era == "modern" else "2025-11-25"}
    with place.nothing_arrives():
        got = place.ask(bearer=place.token(), method="PUT", headers=version)
    assert got.status == 405
    assert {method.strip() for method in got.headers.get("allow", "").split(",")} == allowed


def test_a_stream_by_get_is_not_used_in_the_modern_era(place: Place) -> None:
    headers = {"MCP-Protocol-Version": "2026-07-28", "Accept": "text/event-stream"}
    for method in ("GET", "DELETE"):
        with place.nothing_arrives():
            got = place.ask(bearer=place.token(), method=method, headers=headers)
        assert (got.status, got.headers.get("allow")) == (405, "POST")


def test_metadata_is_read_and_nothing_else(place: Place) -> None:
    got = fetch(place, WELL_KNOWN + "/payments/mcp", "POST")
    assert (got.status, got.headers.get("allow")) == (405, "GET, HEAD, OPTIONS")
