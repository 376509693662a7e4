"""One JSON document, walked as bytes: every key and every leaf that a hit lies in, with its span, its place and its frame.

A token is a whole member (`"key": value,`), so that what is not looked at costs one step. The document must be valid JSON;
that is checked before, because these patterns would make something of anything.
"""

import re

import msgspec

from gatebook.masking import trigger
from gatebook.masking.edits import Edit, applied, moved, unescaped
from gatebook.masking.frames import COLUMNS, LABELS, NOTHING, Frame, Names, Segment
from gatebook.masking.leaves import Decoder, Judge, Place, number_edits, string_edits
from gatebook.masking.results import MaskingFailed
from gatebook.masking.words import LONGEST_KEY, SAD_KINDS, Kind, about_places
from gatebook.model import possessive

DEEPEST = 64
_SPACE = rb"[ \t\n\r]*+"
_STRING = rb'"((?:[^"\\]++|\\.)*+)"'
_MEMBER = possessive.compiled(
    _SPACE + b"(?:" + _STRING + _SPACE + b":" + _SPACE + b")?+"
    b"(?:" + _STRING + rb"|([-0-9tfn][^\s,\]}]*+)|([{\[])|([}\]]))" + _SPACE + b",?+",
    re.DOTALL,
)  # fmt: skip
_TEXT, _SCALAR, _OPEN = 2, 3, 4
# Elements of an array, skipped without a look: scalars, and objects and arrays that hold at most one further level.
_PLAIN = rb'[^{}\[\]"]*+(?:"(?:[^"\\]++|\\.)*+"[^{}\[\]"]*+)*+'
_FLAT = rb"[{\[]" + _PLAIN + rb"[}\]]"
_FLATTISH = rb"[{\[]" + _PLAIN + b"(?:" + _FLAT + _PLAIN + rb")*+[}\]]"
_ELEMENT = possessive.compiled(
    _SPACE + b"(?:" + _FLATTISH + rb'|"(?:[^"\\]++|\\.)*+"|[-0-9tfn][^\s,\]}]*+)' + _SPACE + b",", re.DOTALL
)
_FAR = 256
_LONGEST_RAW_NAME = 6 * LONGEST_KEY
_OF_NEIGHBOURS: frozenset[Kind] = frozenset(("pin", "cid"))


class Found(msgspec.Struct, frozen=True):
    """An edit of the document, and the leaf it lies in; `segment` None: in a key of `frame`."""

    edit: Edit
    frame: Frame
    segment: Segment


def walk(body: bytes, place: Place, judge: Judge, hits: trigger.Hits) -> list[Found]:
    """The edits of a document in its order, not overlapping. MaskingFailed: not JSON, too deep, or two keys would become equal."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        # From None: what was decoded must not hang on the exception.
        raise MaskingFailed("not one JSON document, or nested too deep") from None
    walking = _Walk(body, judge)
    walking.members(Frame(None, None, 0, place, is_array=True), hits)
    if walking.late:
        # A header stood behind its rows, or a label behind its value: once more, knowing it.
        walking.found.clear()
        walking.members(Frame(None, None, 0, place, is_array=True), hits._replace(named=True))
    return sorted(walking.found, key=lambda found: found.edit.start)


class _Walk:
    """What one walk gathers. `columns`: by the offset of the object that holds header and rows; `labels`: of the object with a label
    that stands behind its value."""

    def __init__(self, body: bytes, judge: Judge) -> None:
        self.body = body
        self.judge = judge
        self.names = Names()
        self.found: list[Found] = []
        self.late = False
        self.columns: dict[int, dict[int, frozenset[Kind]]] = {}
        self.labels: dict[int, frozenset[Kind]] = {}

    def members(self, frame: Frame, hits: trigger.Hits) -> None:
        """One step per member: 1 count it, 2 judge its key, 3 open, close or judge the value, 4 go on to the next hit."""
        body, end, ahead, named = self.body, len(self.body), iter(hits.positions), hits.named
        every = self.judge.everywhere
        hit = next(ahead, end)
        depth = past = 0
        budget = self.judge.budget
        while past < end and (member := _MEMBER.match(body, past)):
            past = member.end()
            budget.spend(2)
            kind = member.lastindex or 0
            if kind > _OPEN:
                frame, depth = self._closed(frame), depth - 1
            else:
                key = None
                if frame.is_array:
                    frame.index += 1
                else:
                    key = member.group(1)
                    frame.keys.append(member.span(1))
                struck = hit < past or every
                if struck and key is not None:
                    self._key(frame, key, member.start(1))
                if kind == _OPEN:
                    frame, depth = self._opened(frame, key, member.start(_OPEN)), depth + 1
                    if depth > DEEPEST:
                        raise MaskingFailed("nested deeper than 64")
                elif struck or frame.cells or key in LABELS:
                    self._leaf(frame, key, kind, member.span(kind), judged=struck or named)
                elif named and self.names.tell(frame, key):
                    self._leaf(frame, key, kind, member.span(kind), judged=True)
                while hit < past:
                    hit = next(ahead, end)
            if hit - past > _FAR and frame.is_array and frame.index >= 0 and not (named or every or frame.cells):
                past = self._skipped(frame, past, hit)
        if past != end or depth:
            raise MaskingFailed("not one JSON document")

    def _skipped(self, frame: Frame, past: int, hit: int) -> int:
        """Past the elements that end before the hit; each ends with its comma, so none is cut."""
        one_after_the_other = _ELEMENT.scanner(self.body, past, hit)  # type: ignore[attr-defined]  # as re.Scanner has it
        for element in iter(one_after_the_other.match, None):
            frame.index += 1
            past = element.end()
        return past

    # ---- objects and arrays
    def _opened(self, parent: Frame, raw_key: bytes | None, start: int) -> Frame:
        key = None if raw_key is None else unescaped(raw_key)
        is_array = self.body[start] == 0x5B
        segment: Segment = None if parent.parent is None else parent.index if key is None else key
        frame = Frame(parent, segment, start, self.names.place(parent, key), is_array=is_array)
        if not is_array:
            frame.columns = self.columns.get(start)
            frame.label = self.labels.get(start, NOTHING)
        elif key in COLUMNS:
            frame.cells = True
        elif parent.is_array and parent.parent is not None:
            frame.cells = parent.index == 0
            if not parent.parent.is_array:
                parent.parent.has_rows = True
        return frame

    def _closed(self, frame: Frame) -> Frame:
        parent = frame.parent
        if parent is None:
            raise MaskingFailed("not one JSON document")
        for start, past, key, kinds in frame.postponed or ():
            self._of_neighbours(frame, start, past, key, kinds)
        if frame.renamed:
            self._refuse_equal_keys(frame, frame.renamed)
        if frame.label and parent.cells:
            self._column(parent, frame.label)
        return parent

    def _column(self, header: Frame, kinds: frozenset[Kind]) -> None:
        """The header's current cell names `kinds`: so do the cells below it."""
        holder = header.parent
        if holder is None:
            return
        known = self.columns.setdefault(holder.start, {})
        self.late = self.late or (holder.has_rows and not holder.is_array and header.index not in known)
        known[header.index] = kinds
        holder.columns = known

    def _label(self, frame: Frame, kinds: frozenset[Kind]) -> None:
        """The values of this object are named `kinds`, and those of them, too, that stand before the name."""
        if kinds <= frame.label:
            return
        frame.label = frame.label | kinds
        if frame.label_is_used:
            self.late = True
            self.labels[frame.start] = frame.label

    def _refuse_equal_keys(self, frame: Frame, renamed: dict[int, bytes]) -> None:
        before = [unescaped(self.body[start:end]) for start, end in frame.keys]
        after = {renamed.get(place, key) for place, key in enumerate(before)}
        if len(after) != len({*before}):
            raise MaskingFailed("two keys of one object would become equal")

    # ---- keys and leaves
    def _key(self, frame: Frame, raw: bytes, start: int) -> None:
        edits = key_edits(raw, start, frame, self.judge)
        if edits:
            frame.renamed = frame.renamed or {}
            frame.renamed[len(frame.keys) - 1] = unescaped(applied(raw, [moved(edit, -start) for edit in edits]))
            self.found += [Found(edit, frame, None) for edit in edits]

    def _leaf(self, frame: Frame, raw_key: bytes | None, kind: int, span: tuple[int, int], *, judged: bool) -> None:
        start, past = span
        key = None if raw_key is None else unescaped(raw_key)
        if kind == _TEXT and past - start <= _LONGEST_RAW_NAME and (frame.cells or key in LABELS):
            # By what it says, not by how it is written: a mask takes the place of escapes, and a second look would find a name.
            text = unescaped(self.body[start:past])
            named = self.names.kinds(text) - {"binary"} if len(text) <= LONGEST_KEY else NOTHING
            if named and key is not None:
                self._label(frame, named)
            elif named:
                self._column(frame, named)
        if not judged:
            return
        place = self.names.place(frame, key)
        if key is not None and not _OF_NEIGHBOURS.isdisjoint(place.kinds):
            frame.postponed = frame.postponed or []
            frame.postponed.append((start, past, key, place.kinds))
        else:
            self._judged(frame, frame.index if key is None else key, start, past, place)

    def _of_neighbours(self, frame: Frame, start: int, past: int, key: bytes, kinds: frozenset[Kind]) -> None:
        """A `pin` among boards or addresses is none; a `cid` is a card's code only where cards are the matter."""
        keys = [unescaped(self.body[first:last]) for first, last in frame.keys[:256]]
        card = frame.place.surroundings.card or any("card" in self.names.kinds(k) - {"cid"} for k in keys if k != key)
        if "pin" in kinds and about_places(keys):
            kinds = kinds - {"pin"}
        if "cid" in kinds:
            kinds = (kinds - {"cid"}) | ({"cvv"} if card else NOTHING)
        self._judged(frame, key, start, past, frame.place.below(kinds))

    def _judged(self, frame: Frame, segment: Segment, start: int, past: int, place: Place) -> None:
        body, judge = self.body, self.judge
        if body[start - 1 : start] == b'"' and body[past : past + 1] == b'"':
            edits = string_edits(body[start:past], start, place, judge, DECODERS)
        elif body[start] in b"tfn":
            return
        else:
            edits = number_edits(body[start:past], start, place, judge)
        self.found += [Found(edit, frame, segment) for edit in edits]


def key_edits(raw: bytes, start: int, frame: Frame, judge: Judge) -> list[Edit]:
    """Edits for an object key: text like any other, but nothing is decoded in it."""
    place = Place(NOTHING, frame.place.surroundings.card, frame.place.layer)
    return string_edits(raw, start, place, judge, ())


def json_in_string(text: bytes, place: Place, judge: Judge, hits: trigger.Hits) -> list[Edit] | None:
    """Decoder: a string that holds a JSON document, as rows of a database often do. Its numbers stay numbers."""
    if text.lstrip()[:1] not in (b"{", b"[", b'"'):
        return None
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    judge.budget.spend(20)
    named = bool(place.kinds & SAD_KINDS)
    if hits is trigger.NOTHING and not named and not judge.everywhere:
        return []
    return [found.edit for found in walk(text, place, judge, hits._replace(named=hits.named or named))]


DECODERS: tuple[Decoder, ...] = (json_in_string,)
