"""One JSON text that every parser reads alike, or a refusal (RFC 8259; I-JSON, RFC 7493 §2.1–2.3).

Two parsers that disagree about one text are a way around the gate: we would judge one reading, the server would act on the
other. So two unlike parsers must both accept, must find the same value, and what parsers are known to differ on is refused.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import msgspec

from gatebook.model import possessive
from gatebook.model.errors import Malformed, Reason
from gatebook.wire.native import in_use

MAX_DEPTH: Final = 64
MAX_INTEGER_CHARS: Final = 308
"""An integer of this many characters is still finite where a parser reads every number as a double."""

_STRING = possessive.compiled(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string, or an unterminated one to the end of the text: it always succeeds, so a search never starts over (linear time)."""
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TOO_DEEP = b"[" * (MAX_DEPTH + 1)
_KEY = possessive.compiled(rb'[ \t\r\n]*+"((?:[^"\\]|\\.)*+)"[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_COMMA = re.compile(rb"[ \t\r\n]*+,")
_CLOSE = re.compile(rb"[ \t\r\n]*+\}[ \t\r\n]*+\Z")
_OPEN = re.compile(rb"[ \t\r\n]*+\{")


def refuse(reason: Reason, words: str) -> NoReturn:
    """Never returns. `words` are fixed sentences: a refusal repeats nothing of what was sent."""
    raise Malformed(reason, words)


def decode(body: bytes) -> Any:
    """The value of `body`, the same in every parser: valid UTF-8 without BOM, no trailing bytes, no duplicate keys at any depth,
    no lone surrogates, no NaN, no number beyond a double, at most 64 levels. Integers are exact.

    Raises Malformed(PARSE_ERROR). Nothing of the body is kept in the exception.
    """
    native = in_use()
    if native is not None and (plain := native.read(body)) is not NotImplemented:
        return plain
    if not within_depth(body):
        refuse(Reason.PARSE_ERROR, "The message is nested too deeply.")
    try:
        value = _MSGSPEC.decode(body)
        if _is_shortest(value, body) and _TOO_LONG not in body.translate(_DIGITS_ALIKE):
            # No key was dropped, and nothing is spelt in a way that another parser could take for something else. Most clients write so,
            # and the second parser costs four times the first.
            return value
        other = _JSON.decode(body.decode())
    except (ValueError, RecursionError, msgspec.DecodeError):
        # `from None`: the parsers' own errors hold the whole text.
        raise Malformed(Reason.PARSE_ERROR, "The message is not valid JSON.") from None
    if value != other:
        refuse(Reason.PARSE_ERROR, "The message can be read in two ways.")
    return value


def _is_shortest(value: Any, body: bytes) -> bool:
    """Whether `body` is the one shortest way to write `value`, white space between the tokens aside, which no two parsers read differently.

    `format` copies every token as it stands. Raises msgspec.DecodeError."""
    shortest = _COMPACT.encode(value)
    return shortest == body or shortest == msgspec.json.format(body, indent=-1)


def within_depth(body: bytes) -> bool:
    """Whether no bracket of `body` lies deeper than 64. Linear, without recursion; exact for valid JSON, and true of no text
    whose valid beginning goes deeper."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return True
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        # Each round takes the innermost level away; a long run of openers ends it before the rounds become a burden.
        if not brackets:
            return True
        if _TOO_DEEP in brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return not brackets


def spans(text: bytes, members: dict[str, msgspec.Raw]) -> dict[str, tuple[int, int]]:
    """Where each member's value stands in `text`, a JSON object whose `members` msgspec found: key → (start, end).

    Raises ValueError where a key stands twice (msgspec keeps the last; others keep the first). `text` is valid JSON.
    """
    found: dict[str, tuple[int, int]] = {}
    place = _expect(_OPEN, text, 0)
    for index in range(len(members)):
        if index:
            place = _expect(_COMMA, text, place)
        key = _KEY.match(text, place)
        if key is None:
            raise ValueError("no key")
        name = key[1].decode() if b"\\" not in key[1] else str(json.loads(b'"' + key[1] + b'"'))
        value = members.get(name)
        # A first occurrence with another value does not stand here, or is not followed by what must follow.
        if value is None or name in found or not text.startswith(value, key.end()):
            raise ValueError("duplicate key")
        place = key.end() + memoryview(value).nbytes
        found[name] = (key.end(), place)
    _expect(_CLOSE, text, place)
    return found


def slack(text: bytes, members: dict[str, msgspec.Raw]) -> int:
    """How many bytes of `text`, a JSON object, its `members` do not account for: whitespace, escapes in keys, or a second key.

    Below the length of `,"KEY":0` no KEY stands twice, and the walk of `spans` can be spared.
    """
    filled = 1
    for name, value in members.items():
        filled += len(name) + 4 + memoryview(value).nbytes
    return len(text) - filled


def folded(name: str) -> str:
    """`name` as a parser sees it that ignores case, be it by lower, upper or Unicode folding (`ſ` is `s`, `K` is `k`)."""
    return name.upper().casefold()


def refuse_lookalikes(names: Iterable[str], reserved: "Reserved") -> None:
    """No name differs from a reserved one only in case. Some parsers (Go's among them) would take one for the other.

    Raises Malformed(PARSE_ERROR).
    """
    if reserved.exact.issuperset(names):
        return
    for name in names:
        if name not in reserved.exact and (folded(name) in reserved.folded or "\x00" in name):
            refuse(Reason.PARSE_ERROR, "A key differs from a reserved one only in case or by a null character.")


class Reserved(msgspec.Struct, frozen=True):
    """Names with a meaning at one level of a message, and their folded forms."""

    exact: frozenset[str]
    folded: frozenset[str]


def reserved(*names: str) -> Reserved:
    """The reserved names of one level."""
    return Reserved(exact=frozenset(names), folded=frozenset(map(folded, names)))


def _expect(pattern: re.Pattern[bytes], text: bytes, place: int) -> int:
    match = pattern.match(text, place)
    if match is None:
        raise ValueError("duplicate key")
    return match.end()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        refuse(Reason.PARSE_ERROR, "A key stands twice in one object.")
    return members


def _integer(token: str) -> int:
    if len(token) > MAX_INTEGER_CHARS:
        refuse(Reason.PARSE_ERROR, "A number is too large.")
    return int(token)


_MSGSPEC: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
_COMPACT: Final = msgspec.json.Encoder()
_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"0" * 9)
_TOO_LONG: Final = b"0" * MAX_INTEGER_CHARS
"""So many digits in a row may be a number that is refused; in a string they only cost the second parser."""
_JSON: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)
