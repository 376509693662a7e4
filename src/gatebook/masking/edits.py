"""Changes to bytes, as spans: what is not inside a span passes byte for byte, whatever encloses it.

Replacements are ASCII without quotes, backslashes or control characters. So one edit stays valid at every level of
escaping: an edit inside JSON inside a string is carried outward by moving its span, and nothing is ever re-serialised.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable

import msgspec

from gatebook.masking.results import MaskingFailed
from gatebook.model.finding import Action, Detector

Piece = tuple[int, int, bytes]

_RANK = {"secret": 0, "track": 1, "pin_block": 2, "pan": 3, "cvv": 4, "pin": 5, "own_mask": 6}


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One finding's span [start, end), and the pieces of it to be replaced, in order. A `found` edit has no pieces."""

    start: int
    end: int
    pieces: tuple[Piece, ...]
    detector: Detector
    action: Action


def replaced(start: int, end: int, text: bytes, detector: Detector, action: Action = "removed") -> Edit:
    """The whole span gives way to `text`."""
    return Edit(start=start, end=end, pieces=((start, end, text),), detector=detector, action=action)


def moved(edit: Edit, by: int) -> Edit:
    """The same edit, `by` bytes further on."""
    pieces = tuple((start + by, end + by, text) for start, end, text in edit.pieces)
    return msgspec.structs.replace(edit, start=edit.start + by, end=edit.end + by, pieces=pieces)


def settled(edits: Iterable[Edit]) -> list[Edit]:
    """The edits in order, without overlaps. The graver finding wins; a removal grows over what it touches, so nothing peeps out."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda e: (e.start, _RANK[e.detector])):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
            continue
        winner, loser = sorted((kept[-1], edit), key=lambda e: _RANK[e.detector])
        if winner.action in ("removed", "redacted") and (loser.start < winner.start or loser.end > winner.end):
            start, end = min(winner.start, loser.start), max(winner.end, loser.end)
            winner = replaced(start, end, winner.pieces[0][2], winner.detector, winner.action)
        kept[-1] = winner
    return kept


def applied(text: bytes, edits: Iterable[Edit]) -> bytes:
    """`text` with every piece replaced. The edits are settled."""
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        for start, end, replacement in edit.pieces:
            parts += (text[at:start], replacement)
            at = end
    parts.append(text[at:])
    return b"".join(parts)


def brought_back(later: Iterable[Edit], edits: list[Edit]) -> list[Edit]:
    """Edits of `applied(text, edits)` as edits of `text`; what lies in a replacement means all that it replaced."""
    pieces = [piece for edit in edits for piece in edit.pieces]
    starts: list[int] = []  # of each replacement, in the text after the edits
    shift = 0
    for start, end, replacement in pieces:
        starts.append(start + shift)
        shift += len(replacement) - (end - start)

    def before(position: int, *, end: bool) -> int:
        place = bisect_right(starts, position - end) - 1
        if place < 0:
            return position
        first, last, replacement = pieces[place]
        past = position - starts[place] - len(replacement)
        return last + past if past > 0 or (past == 0 and not end) else last if end else first

    def span(start: int, end: int) -> tuple[int, int]:
        return before(start, end=False), before(end, end=True)

    return [_respanned(edit, span) for edit in later]


def _respanned(edit: Edit, span: Callable[[int, int], tuple[int, int]]) -> Edit:
    start, end = span(edit.start, edit.end)
    pieces = tuple((*span(first, last), text) for first, last, text in edit.pieces)
    return msgspec.structs.replace(edit, start=start, end=end, pieces=pieces)


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([0-9a-fA-F]{4})|\\[^u]", re.DOTALL
)
# Some escapes and what is before them. A pair of surrogates counts as one: no other way to count may match, or it would be cut.
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_AN_ESCAPE = rb"(?:[^\\]*+(?:\\[^u]|" + _PAIR + b"|(?!" + _PAIR + rb")\\u[0-9a-fA-F]{4}))"
_FEW, _MANY, _LONG = 16, 64, 8 << 10
_STRETCHES = {count: re.compile(_AN_ESCAPE + b"{%d}" % count, re.DOTALL) for count in (_FEW, _MANY)}
"""So many escapes in one: to read one of a few costs less, and of a long text there would be many stretches to pass."""


def unescaped(raw: bytes) -> bytes:
    """The text of a JSON string as UTF-8, lone surrogates as they are. `raw`: what stands between the quotes."""
    if b"\\" not in raw:
        return raw
    try:
        text: str = json.loads(b'"%b"' % raw, strict=False)
    except ValueError:
        # From None: the decoder's exception holds the whole text.
        raise MaskingFailed("a string with an escape that JSON does not have") from None
    return text.encode("utf-8", "surrogatepass")


class _Escapes:
    """Which raw byte of a string stands for a byte of its decoded text.

    A text of JSON inside JSON has a hundred escapes per KB: they are passed in stretches, and only the stretch with an edit in it
    is read escape by escape."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._decoded, self._starts = [0], [0]  # where each stretch begins, decoded and raw; it ends behind an escape
        count = _FEW if len(raw) < _LONG else _MANY
        one_after_the_other = _STRETCHES[count].scanner(raw)  # type: ignore[attr-defined]  # as re.Scanner has it
        for stretch in iter(one_after_the_other.match, None):
            text = stretch.group()
            length = len(unescaped(text)) if b"\\u" in text else len(text) - count
            self._decoded.append(self._decoded[-1] + length)
            self._starts.append(stretch.end())
        self._read: dict[int, tuple[list[int], list[tuple[int, int, int]]]] = {}

    def raw(self, position: int, *, end: bool) -> int:
        """The raw position of a decoded one; inside an escape, that escape's own start or end."""
        stretch = bisect_right(self._decoded, position - end) - 1
        if stretch < 0:
            return position
        decoded, spans = self._escapes(stretch)
        place = bisect_right(decoded, position - end) - 1
        if place < 0:
            return self._starts[stretch] + position - self._decoded[stretch]
        raw_start, raw_end, decoded_end = spans[place]
        if position < decoded_end or (end and position == decoded_end):
            return raw_end if end else raw_start
        return raw_end + position - decoded_end

    def _escapes(self, stretch: int) -> tuple[list[int], list[tuple[int, int, int]]]:
        """The escapes of a stretch: where each begins in the decoded text; and its raw start, raw end and decoded end."""
        if stretch not in self._read:
            past = self._starts[stretch + 1] if stretch + 1 < len(self._starts) else len(self._raw)
            shift = self._starts[stretch] - self._decoded[stretch]
            decoded: list[int] = []
            spans: list[tuple[int, int, int]] = []
            for match in _ESCAPE.finditer(self._raw, self._starts[stretch], past):
                start, end = match.span()
                length = _decoded_length(match.group(1), end - start)
                decoded.append(start - shift)
                spans.append((start, end, start - shift + length))
                shift += end - start - length
            self._read[stretch] = decoded, spans
        return self._read[stretch]


def _decoded_length(code: bytes | None, raw_length: int) -> int:
    if code is None:
        return 4 if raw_length == 12 else 1
    point = int(code, 16)
    return 1 if point < 0x80 else 2 if point < 0x800 else 3


def carried_out(edits: list[Edit], raw: bytes, offset: int) -> list[Edit]:
    """Edits of a decoded string as edits of the document, in which the string's `raw` content begins at `offset`."""
    if not edits or b"\\" not in raw:
        return [moved(edit, offset) for edit in edits]
    escapes = _Escapes(raw)

    def span(start: int, end: int) -> tuple[int, int]:
        return offset + escapes.raw(start, end=False), offset + escapes.raw(end, end=True)

    return [_respanned(edit, span) for edit in edits]
