"""Every pattern with possessive groups matches the same with greedy ones: what older Pythons get instead."""

import json
import random
import re
import weakref

import pytest

from gatebook.masking import NO_SECRETS, Secrets, candidates, leaves, mask, patterns, trigger, walk
from gatebook.model import possessive
from gatebook.wire import strict_json

PATTERNS = {
    "member": walk._MEMBER,
    "element": walk._ELEMENT,
    "region": candidates._REGION,
    "our masks": leaves._OURS,
    "string": strict_json._STRING,
    "key": strict_json._KEY,
}


def value(chance: random.Random, depth: int = 0) -> object:
    kind = chance.randrange(8 if depth < 4 else 4)
    if kind == 0:
        return "".join(chance.choice(['a"', "\\", "{", "]", ",", ":", "4111 ", "1-1", "\n", "é"]) for _ in range(6))
    if kind == 1:
        return chance.randrange(10**16)
    if kind == 2:
        return chance.choice([True, None, 1.5, "4111 1111 1111 1111"])
    if kind == 3:
        return json.dumps({"n": 4111111111111111, 'y"': ["a"]})
    if kind < 6:
        keys = ("".join(chance.choice('ab"\\{,: ') for _ in range(3)) for _ in range(chance.randrange(4)))
        return {key: value(chance, depth + 1) for key in keys}
    return [value(chance, depth + 1) for _ in range(chance.randrange(5))]


def found(pattern: "re.Pattern[bytes]", document: bytes) -> list[object]:
    at = [match and (match.span(), match.groups()) for start in range(3) for match in [pattern.match(document, start)]]
    return at + [match.span() for match in pattern.finditer(document)]


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_greedy_groups_match_what_possessive_ones_do(pattern: "re.Pattern[bytes]") -> None:
    chance = random.Random(11)
    other = re.compile(possessive.greedy(pattern.pattern), pattern.flags)
    if possessive.SOUND:
        assert other.pattern != pattern.pattern
    for _ in range(1500):
        document = json.dumps(value(chance), indent=chance.choice([None, 1])).encode()
        assert found(other, document) == found(pattern, document)


@pytest.mark.parametrize("text", ["4111 1111 1111 1111", '{"n": 4111111111111111}', "1 2  4111-1111-1111-1111 x"])
def test_where_older_pythons_failed_this_one_finds_the_number(text: str) -> None:
    assert len(mask(json.dumps({"rows": [text], "more": 1}).encode()).findings) == 1


def test_the_number_that_says_how_far_the_patterns_go_comes_always() -> None:
    several = patterns.Several((b"a", b"b+"))
    seen = [sorted(several.seen(text)) for text in (b"", b"xa", b"bb", b"\xff ab")]
    assert seen == [[2], [0, 2], [1, 2], [0, 1, 2]]


def test_patterns_that_hold_no_secrets_say_that_secrets_are_still_to_be_looked_for() -> None:
    assert trigger._LOOK.seen(b"nothing") == [trigger._OF_SECRETS]


def test_nothing_occurs_only_where_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Secrets((b"plain-token-1234",))
    monkeypatch.setattr(trigger, "_joined", weakref.WeakSet())
    for secrets, texts in (
        (NO_SECRETS, (b"clean", b"card", b"4111111111111111")),
        (known, (b"clean", b"plain-token-1234")),
    ):
        for text in texts:
            found = trigger.hits(text, secrets, own_masks=True)
            assert found == trigger.hits(text, secrets, seen=trigger.occurring(text, secrets), own_masks=True)
            assert bool(trigger.occurring(text, secrets)) == (text != b"clean")
    monkeypatch.setattr(trigger, "_MOST_JOINED", 0)
    apart = Secrets((b"plain-token-1234",))
    assert trigger.occurring(b"clean", apart) and trigger.hits(b"clean", apart) is trigger.NOTHING
    assert trigger.hits(
        b"a plain-token-1234", apart, seen=trigger.occurring(b"a plain-token-1234", apart)
    ).positions == [3]
