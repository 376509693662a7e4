"""Which revision a request is written in: no request is judged by one era's rules and served by the other's."""

import json

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.wire.jsonrpc import Batch, Message, parse_client
from gatebook.wire.revisions import ASSUMED, MODERN, REVISIONS, declares_modern, era_of, requested_version, revision_of

META = "io.modelcontextprotocol/protocolVersion"


def header(version: str | None) -> Headers:
    return () if version is None else ((b"mcp-protocol-version", version.encode()),)


def request(stated: object = None) -> Message | Batch:
    params = {} if stated is None else {"_meta": {META: stated}}
    return parse_client(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}).encode())


@pytest.mark.parametrize(
    ("named", "stated", "expected"),
    [
        (None, None, "2025-03-26"),
        ("2024-11-05", None, "2024-11-05"),
        ("2025-03-26", None, "2025-03-26"),
        ("2025-06-18", None, "2025-06-18"),
        ("2025-11-25", None, "2025-11-25"),
        ("2026-07-28", None, "2026-07-28"),
        ("2026-07-28", "2026-07-28", "2026-07-28"),
        # The pairs that do not agree are modern, so that the mirrored headers are compared and the pair refused.
        (None, "2026-07-28", "2026-07-28"),
        ("2025-11-25", "2026-07-28", "2026-07-28"),
        ("2027-01-01", "2026-07-28", "2026-07-28"),
        ("2026-07-28", "2025-11-25", "2026-07-28"),
        ("2026-07-28", "v999.0.0", "2026-07-28"),
        # A legacy client may put what it likes there, as long as it is a version.
        ("2025-06-18", "2025-11-25", "2025-06-18"),
    ],
)
def test_modern_is_what_header_or_body_calls_modern(named: str | None, stated: str | None, expected: str) -> None:
    assert revision_of(header(named), request(stated)).name == expected
    assert era_of(header(named), request(stated)) == REVISIONS[expected].era


@pytest.mark.parametrize(
    ("named", "stated"),
    [
        ("2027-01-01", None),
        ("2027-01-01", "2027-01-01"),
        ("v999.0.0", "v999.0.0"),
        ("", None),
        ("2026-07-28, 2025-11-25", None),
        ("2026-7-28", None),
        ("２０２６-07-28", None),
        (None, "v999.0.0"),
        ("2025-11-25", "2027-01-01"),
    ],
)
def test_a_version_nobody_knows_is_not_served(named: str | None, stated: str | None) -> None:
    with pytest.raises(Malformed) as caught:
        revision_of(header(named), request(stated))
    assert caught.value.reason is Reason.UNSUPPORTED_VERSION


def test_whitespace_around_the_version_is_not_part_of_it() -> None:
    assert revision_of(header(" 2025-11-25\t"), None).name == "2025-11-25"


@pytest.mark.parametrize("other", [b"2025-11-25", b"2026-07-28"])
def test_two_versions_are_none(other: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        revision_of((*header("2025-11-25"), (b"mcp-protocol-version", other)), None)
    assert caught.value.reason is Reason.HEADER_MISMATCH


@pytest.mark.parametrize("stated", [1, True, [], {}, ["2026-07-28"]])
def test_a_version_that_is_no_string_is_refused(stated: object) -> None:
    with pytest.raises(Malformed) as caught:
        revision_of((), request(stated))
    assert caught.value.reason is Reason.INVALID_PARAMS


def test_a_modern_request_hides_in_no_batch() -> None:
    modern = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping", "params": {"_meta": {META: "2026-07-28"}}})
    batch = parse_client(b'[{"jsonrpc":"2.0","id":1,"method":"ping"},%b]' % modern.encode())
    assert revision_of((), batch).batches is False


def test_batches_are_for_one_revision_and_for_those_that_name_none() -> None:
    assert [name for name, revision in REVISIONS.items() if revision.batches] == ["2025-03-26"]
    assert ASSUMED.batches


def test_one_revision_is_modern() -> None:
    assert MODERN == ("2026-07-28",)


@pytest.mark.parametrize(
    ("named", "stated", "shown"),
    [
        ("2027-01-01", None, "2027-01-01"),
        ("2027-01-01", "v999.0.0", "v999.0.0"),
        (None, None, None),
        (None, "4111111111111111", None),
        (None, "4111-1111-1111-1111", None),
        (None, "x" * 41, None),
        (None, "a b", None),
        (None, "é", None),
    ],
)
def test_the_version_asked_for_is_shown_only_where_it_looks_like_one(
    named: str | None, stated: str | None, shown: str | None
) -> None:
    assert requested_version(header(named), request(stated)) == shown


def test_a_body_with_a_version_of_its_own_asks_as_modern_clients_do() -> None:
    assert declares_modern(request("v999.0.0"))
    assert not declares_modern(request())
    assert not declares_modern(None)
    assert not declares_modern(parse_client(b'{"jsonrpc":"2.0","id":1,"result":{}}'))
