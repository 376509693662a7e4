"""What is composed is the entry that its members make: for every draft that an entry can hold as it is, and for those that are cut."""

import json
from typing import Any, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gatebook.ledger import entry
from gatebook.ledger.entry import Clocked, Entry, Out, Pay, Written
from gatebook.model.finding import Action, Detector, Finding
from gatebook.model.record import Asked, Draft, Event, Origin, PolicyRef, Resource, Who

texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ['"\\/\b\f\n\r\t', "\x00\x1f\x7f\x80", "é", "€😀", "\u2028"]
)
said = texts.filter(bool)
digits = st.text("0123456789abcdef", min_size=16, max_size=64)
ascii_keys = st.text(st.characters(max_codepoint=127), min_size=1, max_size=12)
exact = st.integers(-entry.MAX_INTEGER, entry.MAX_INTEGER)
maybe = st.none() | texts

whos = st.builds(
    Who, acr=maybe, acting_for=maybe, agent=maybe, amr=st.lists(texts, max_size=3).map(tuple), auth_time=st.none() | exact, declared=st.booleans(),
    iss=said, kind=st.sampled_from(["person", "job", "service", "operator", "unknown"]), login=maybe, sub=said,
)  # fmt: skip
policies = st.builds(
    PolicyRef, config=digits, decision=st.sampled_from(["permit", "deny"]), rule=texts, snapshot=st.integers(0, 10**6)
)
findings = st.builds(
    Finding, detector=st.sampled_from(get_args(Detector)), action=st.sampled_from(get_args(Action)), pointer=texts
)
drafts = st.builds(
    Draft, event=st.sampled_from(get_args(Event)), ok=st.booleans(), reason=said, who=whos, origin=st.builds(Origin, client=maybe, ip=said),
    resource=st.builds(Resource, kind=said, method=maybe, name=maybe, server=maybe), call=maybe, session=st.none() | digits,
    policy=st.none() | policies, credential=maybe,
    asked=st.none() | st.builds(Asked, fp=maybe, id=maybe, kid=maybe, shape=st.dictionaries(ascii_keys, texts, max_size=4)),
    findings=st.lists(findings, max_size=4).map(tuple), detail=st.dictionaries(ascii_keys, texts | st.booleans() | exact, max_size=4),
)  # fmt: skip
pays = st.builds(
    Pay, part=st.sampled_from(["request", "response"]), c=digits, x=digits, bytes=st.integers(0, 2**30), key=digits
)
numbered = st.fixed_dictionaries(
    {
        "unix_us": st.integers(0, 4_102_444_800_000_000),
        "clock": st.builds(Clocked, src=texts, off=exact, ok=st.booleans()),
        "identifier": st.builds(entry.uuid7, st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10)),
        "written": st.builds(Written, n=said, e=digits, s=st.integers(1, entry.MAX_INTEGER)),
        "count": st.none() | st.integers(1, 2**40),
        "pay": st.lists(pays, max_size=2).map(tuple),
        "development": st.booleans(),
    }
)


def by_name(draft: Draft, given_: dict[str, Any]) -> Entry:
    """The entry as its members say, not as it is composed."""
    told = [f"{finding.detector}:{finding.action}" for finding in draft.findings]
    return Entry(
        v=1, id=given_["identifier"], t=entry.rfc3339(given_["unix_us"]), clk=given_["clock"], w=given_["written"], ev=draft.event,
        out=Out(ok=draft.ok, reason=draft.reason), who=draft.who, from_=draft.origin, res=draft.resource, pol=draft.policy,
        cred=draft.credential, q=draft.asked, dlp={name: told.count(name) for name in told}, call=draft.call, sess=draft.session,
        n=given_["count"], pay=given_["pay"], prof="dev" if given_["development"] else None, x=draft.detail,
    )  # fmt: skip


@given(drafts, numbered)
def test_a_leaf_holds_every_member_of_its_draft_in_canonical_form(draft: Draft, given_: dict[str, Any]) -> None:
    leaf = entry.compose(draft, **given_)
    made = by_name(draft, given_)
    assert entry.decode(leaf) == made
    assert leaf == msgspec.json.encode(made, order="sorted")
    assert leaf == canonical(json.loads(leaf))


@given(drafts, numbered, st.dictionaries(st.text(max_size=12), st.integers() | st.text(max_size=9000), max_size=4))
def test_what_an_entry_cannot_hold_as_it_is_is_cut_and_canonical(
    draft: Draft, given_: dict[str, Any], detail: dict[str, str | int | bool]
) -> None:
    leaf = entry.compose(msgspec.structs.replace(draft, detail=detail), **given_)
    assert len(leaf) <= entry.MAX_ENTRY_BYTES
    assert leaf == canonical(json.loads(leaf))
    read = entry.decode(leaf)
    assert (read.call, read.id, read.w) == (draft.call, given_["identifier"], given_["written"])


def canonical(value: Any) -> bytes:
    """RFC 8785 for ASCII keys, which sort as they are, and integers."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
