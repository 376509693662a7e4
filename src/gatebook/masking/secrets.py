"""Live secrets that must not come back to a caller: each in every spelling in which a server might echo it."""

import base64
import json
import re
from collections.abc import Iterator

from gatebook.masking.edits import Edit, replaced
from gatebook.masking.patterns import Pattern, Several, compiled
from gatebook.masking.prefilter import Prefilter

REDACTED = b"[secret redacted]"
_SHORTEST_FRAGMENT = 8
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
_FARTHEST = 4096
_SHORT, _MOST_REMEMBERED = 64, 256
_IN_SKETCH = 24


class Secrets:
    """A compiled set of live secret values (bytes, as they are used). Never printed, compared or pickled.

    Finds each one raw, JSON-escaped, percent-encoded (any of its bytes, either case of hex, a space as a plus) and inside base64
    (standard and URL alphabet, at all three alignments, without line breaks). Empty values are refused with ValueError.
    `trigger` is a pattern for a raw document or a decoded text that hits wherever one can stand, None without secrets; each of its hits holds one
    of `sketch`, which stays short however long the secrets are: for what costs much to be worked out of a pattern. `look` and `prefilter` are for the module `trigger`, which may keep its own patterns and that one in them, to be looked for in one pass.
    LIMIT: base64 is only looked for when eight characters of it are certain, which takes a secret of eight bytes.
    LIMIT: not as HTML entities, in hexadecimal, as `%u20AC`, encoded twice, nor as base64 with a `+` or `/` percent-encoded in it.
    """

    __slots__ = (
        "__weakref__",
        "_encoded",
        "_known_clean",
        "_plain",
        "_trigger",
        "look",
        "prefilter",
        "sketch",
        "trigger",
    )

    def __init__(self, values: tuple[bytes, ...] = ()) -> None:
        if any(not value for value in values):
            raise ValueError("an empty secret would match everywhere")
        plain = {form for value in values for form in _json_forms(value) if form != value}
        encoded = {form for value in values for form in _base64_forms(value)}
        spelled = set(map(_spelled, values))
        self._plain = _any_of(spelled | set(map(_quoted, plain)))
        self._encoded = _any_of(set(map(_quoted, encoded)))
        self.trigger = _raw_trigger(spelled | set(map(_quoted, plain | encoded)), values)
        middles = {_spelled(_middle(value)) for value in values} | {_quoted(_middle(form)) for form in plain | encoded}
        self.sketch = _raw_trigger(middles, values)
        self._trigger = compiled(self.trigger) if self.trigger else None
        self.look: Several | None = None
        self.prefilter: Prefilter | None = None
        self._known_clean: set[bytes] = set()

    def __bool__(self) -> bool:
        return self.trigger is not None

    def __repr__(self) -> str:
        return "Secrets(***)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("secrets are not pickled")

    def positions(self, text: bytes) -> list[int]:
        """Where one of them can stand in a raw document or a decoded text; a superset of what `edits` finds."""
        return [hit.start() + 1 for hit in self._trigger.finditer(text)] if self._trigger else []

    def known_clean(self, text: bytes) -> bool:
        """Whether these very bytes were lately found to hold nothing to mask, none of these secrets among it."""
        return text in self._known_clean

    def remember_clean(self, text: bytes) -> None:
        """Nothing was found in the text, which may thus stay in memory. Short ones only, and not many: header values come again."""
        if len(text) <= _SHORT:
            if len(self._known_clean) >= _MOST_REMEMBERED:
                self._known_clean.clear()
            self._known_clean.add(text)

    def edits(self, text: bytes) -> list[Edit]:
        """Redactions in decoded text; a secret inside base64 takes the whole token with it, since a cut one decodes to rubbish."""
        if self._plain is None:
            return []
        found = [replaced(hit.start(), hit.end(), REDACTED, "secret", "redacted") for hit in self._plain.finditer(text)]
        past = 0
        for hit in self._encoded.finditer(text) if self._encoded else ():
            if hit.start() >= past:
                start, past = _token(text, hit.start(), hit.end())
                found.append(replaced(start, past, REDACTED, "secret", "redacted"))
        return found


def _any_of(patterns: set[bytes]) -> Pattern | None:
    """The longest of what begins at one place, so that a secret which begins with another one is taken whole."""
    return compiled(b"|".join(sorted(patterns)), longest=True) if patterns else None


def _quoted(form: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in form)


def _middle(form: bytes) -> bytes:
    """What is most its own: tokens of one kind begin alike, and so do keys in PEM, which end alike, too."""
    start = max(0, (len(form) - _IN_SKETCH) // 2)
    return form[start : start + _IN_SKETCH]


def _spelled(value: bytes) -> bytes:
    """The value with any of its bytes percent-encoded, because each encoder leaves other ones as they are; a space may be a plus."""
    return b"".join([_SPELLINGS[byte] for byte in value])


def _spellings(byte: int) -> bytes:
    encoded = b"".join(b"[%c%c]" % (digit, digit - 32) if digit > 57 else b"%c" % digit for digit in b"%02x" % byte)
    return b"(?:\\x%02x|%%%b%b)" % (byte, encoded, rb"|\+" if byte == 32 else b"")


_SPELLINGS = tuple(map(_spellings, range(256)))
_OF_SPELLINGS = b"%+0123456789abcdefABCDEF"


def _raw_trigger(patterns: set[bytes], values: tuple[bytes, ...]) -> bytes | None:
    """A pattern for raw JSON: any form as it is, or an escape that could hide one (of a character that some form contains)."""
    if not patterns:
        return None
    used = {*_OF_SPELLINGS, *b"".join(values)}
    hiding = [rb"\\u00(?i:" + b"|".join(b"%02x" % byte for byte in sorted(used) if byte < 0x80) + b")"]
    short = bytes(escape for escape, byte in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True) if byte in used)
    if short:
        hiding.append(rb"\\[" + re.escape(short) + b"]")
    if any(byte >= 0x80 for byte in used):
        hiding.append(rb"\\u[0-9a-fA-F]{4}")
    return b"|".join([*sorted(patterns), *hiding])


def _json_forms(value: bytes) -> Iterator[bytes]:
    """As it stands in JSON that is read as plain text, once or twice escaped."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped.encode()
        yield escaped.replace("/", "\\/").encode()
        yield json.dumps(escaped)[1:-1].encode()


def _base64_forms(value: bytes) -> Iterator[bytes]:
    """What every base64 text that holds the value must contain, whatever stands before and behind it."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + value + bytes(-(before + len(value)) % 3))
        first = (before * 8 + 5) // 6
        last = (before + len(value)) * 8 // 6
        certain = whole[first:last]
        if len(certain) >= _SHORTEST_FRAGMENT:
            yield certain
            yield certain.translate(bytes.maketrans(b"+/", b"-_"))


def _token(text: bytes, start: int, end: int) -> tuple[int, int]:
    """The base64 token around [start, end), at most 4,096 characters either way."""
    before, after = text[max(0, start - _FARTHEST) : start], text[end : end + _FARTHEST]
    past = end + len(after) - len(after.lstrip(_BASE64))
    return start - (len(before) - len(before.rstrip(_BASE64))), past + len(text[past : past + 2]) - len(
        text[past : past + 2].lstrip(b"=")
    )


NO_SECRETS = Secrets()
