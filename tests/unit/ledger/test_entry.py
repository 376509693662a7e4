"""Entries: canonical form, the six fields, identifiers."""

import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.ledger import entry
from gatebook.ledger.entry import Clocked, Written
from gatebook.model.record import Draft, Finding, Resource
from tests.world_ledger import START_US, a_draft

CLOCK = Clocked(src="kernel", off=-3, ok=True)


def compose(draft: Draft, **changes: object) -> bytes:
    given_ = {
        "unix_us": START_US,
        "clock": CLOCK,
        "identifier": entry.uuid7(START_US // 1000, b"\xff" * 10),
        "written": Written(n="gate-0", e="0" * 20, s=1),
        "count": 1,
        "pay": (),
        "development": False,
    } | changes
    return entry.compose(draft, **given_)  # type: ignore[arg-type]


def rfc8785(value: object) -> bytes:
    """RFC 8785 for what entries hold: members sorted by UTF-16, shortest escapes, integers in decimal."""
    match value:
        case dict():
            members = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
            return b"{" + b",".join(rfc8785(key) + b":" + rfc8785(item) for key, item in members) + b"}"
        case list():
            return b"[" + b",".join(map(rfc8785, value)) + b"]"
        case _:
            return json.dumps(value, ensure_ascii=False).encode()


texts = st.text(st.characters(codec="utf-8"), max_size=60)
keys = st.text(st.characters(max_codepoint=127), min_size=1, max_size=20)
details = st.dictionaries(keys, st.one_of(texts, st.booleans(), st.integers()), max_size=8)


@given(details, texts.filter(bool), st.dictionaries(texts, texts, max_size=8))
def test_an_entry_is_canonical_json(detail: dict[str, str | int | bool], name: str, shape: dict[str, str]) -> None:
    import msgspec

    asked = a_draft().asked
    assert asked is not None
    draft = a_draft(
        detail=detail,
        resource=Resource(kind="server", name=name),
        asked=msgspec.structs.replace(asked, shape=shape),
    )
    leaf = compose(draft)
    assert leaf == rfc8785(json.loads(leaf))
    assert len(leaf) <= entry.MAX_ENTRY_BYTES
    assert entry.decode(leaf).res.name == name


@given(details, st.text(max_size=20_000), st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=60))
def test_no_draft_is_too_long_to_be_recorded(
    detail: dict[str, str | int | bool], name: str, shape: dict[str, str]
) -> None:
    import msgspec

    asked = a_draft().asked
    assert asked is not None
    draft = a_draft(
        detail=detail, resource=Resource(kind="server", name=name), asked=msgspec.structs.replace(asked, shape=shape)
    )
    leaf = compose(draft)
    assert len(leaf) <= entry.MAX_ENTRY_BYTES
    assert entry.decode(leaf).call == draft.call


def test_findings_are_counted_and_never_shown() -> None:
    found = Finding(detector="pan", action="masked", pointer="/a/secret place")
    decoded = entry.decode(compose(a_draft(findings=(found, found))))
    assert decoded.dlp == {"pan:masked": 2}
    assert b"secret place" not in compose(a_draft(findings=(found,)))


@pytest.mark.parametrize(
    "change",
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v": 1'),
        (b'"v":1', b'"v":1.0'),
        (b'"v":1', b'"v":1,"v":1'),
        (b'"v":1', b'"v":1,"zz":1'),
        (b'"off":-3', b'"off":-3e0'),
        (b'"ev":"call.intent"', b'"ev":"call\\u002eintent"'),
    ],
)
def test_another_spelling_is_no_entry(change: tuple[bytes, bytes]) -> None:
    leaf = compose(a_draft())
    assert change[0] in leaf
    with pytest.raises(ValueError, match=r"canonical|entry|version"):
        entry.decode(leaf.replace(*change))


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_read_back(unix_us: int) -> None:
    text = entry.rfc3339(unix_us)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert entry.instant_us(text) == unix_us


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T16:31:28.000001", "2026-11-22T16:31:28.00001Z", "2026-11-22T16:31:28.0000001Z", "2026-11-22 16:31:28.000001Z",
        "2026-11-22T16:31:28,000001Z", "2026-11-22T16:31:28.+00001Z", "2026-11-22T16:31:28.00000١Z", "2026-11-22T16:31:28.000001z",
        "2026-W47-7T16:31:28.000001Z", "2026-11-22T16:31:60.000001Z", "2026-11-22T16:31:28.000001+", "20261122T163128.00.000001Z", "",
    ],
)  # fmt: skip
def test_a_time_in_another_spelling_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|Invalid|second"):
        entry.instant_us(text)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_identifier_is_a_uuid_version_7(unix_ms: int, chance: bytes) -> None:
    made = uuid.UUID(entry.uuid7(unix_ms, chance))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, unix_ms)


def test_the_dev_profile_marks_every_entry() -> None:
    assert entry.decode(compose(a_draft(), development=True)).prof == "dev"
    assert b'"prof"' not in compose(a_draft())
