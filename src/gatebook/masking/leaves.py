"""One leaf: a string, a number or an object key, judged decoded, by what stands in it and by the names above it."""

import re
from collections.abc import Callable

import msgspec

from gatebook.masking import glued, numbers, pans, sad, tables, trigger
from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.edits import Edit, applied, brought_back, carried_out, moved, replaced, settled, unescaped
from gatebook.masking.pans import Surroundings
from gatebook.masking.secrets import Secrets
from gatebook.masking.words import SAD_KINDS, Kind
from gatebook.model import possessive

NO_KINDS: frozenset[Kind] = frozenset()
MOST_LAYERS = 4
_MOST_ROUNDS = 4
_CLOSE = 12
_DIGITS = re.compile(rb"[0-9\x80-\xff]")
"""Digits of other scripts and white space beyond ASCII count as well."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*(={0,2})")
_BASE64_URL = re.compile(rb"[A-Za-z0-9_-]*(={0,2})")
_HEX_OR_NUMBERS = re.compile(rb"[0-9A-Fa-f]*|[0-9+/_=-]*")
_OURS = possessive.compiled(rb"[0-9*]++(?:[ \t._-]{1,3}+[0-9*]++)*+")
_OUR_TEXT = re.compile(rb"[0-9]{6}\*{4,9}[0-9]{4}|(?<!\*)\*{8,9}[0-9]{4}")
_OUR_NOTE = re.compile(rb"\[(?:track|cvv|pin|pin block) removed\]|\[secret redacted\]")


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """How a document is looked at: for which secrets, for our own masks or not, and (in tests only) without triggers."""

    secrets: Secrets
    own_masks: bool = False
    triggers: bool = True
    budget: Budget = UNBOUNDED

    @property
    def everywhere(self) -> bool:
        """Whether each key and leaf is looked at, not only those under a hit."""
        return not self.triggers


class Place(msgspec.Struct, frozen=True):
    """What the names above a leaf say: `kinds` its own key or column (arrays pass theirs on), `card` and `message` any of them."""

    kinds: frozenset[Kind] = NO_KINDS
    card: bool = False
    layer: int = 0
    message: bool = False

    def below(self, kinds: frozenset[Kind]) -> "Place":
        """The place of what lies in this one under a name of these kinds."""
        return Place(kinds, self.card or "card" in self.kinds, self.layer, self.message or "message" in self.kinds)

    @property
    def surroundings(self) -> Surroundings:
        card, message = self.card or "card" in self.kinds, self.message or "message" in self.kinds
        return Surroundings(card=card, strict="pan" in self.kinds, message=message)


# A decoder reads a leaf as something with leaves of its own: edits of the decoded text, or None when it is not that. What hits in the text as it
# stands is known to it. This is the seam for further encodings (percent, HTML entities, base64, gzip). LIMIT: today only JSON inside a string.
Decoder = Callable[[bytes, Place, Judge, trigger.Hits], "list[Edit] | None"]


def string_edits(raw: bytes, start: int, place: Place, judge: Judge, decoders: tuple[Decoder, ...]) -> list[Edit]:
    """Edits of the document for a string whose raw content (between the quotes) begins at `start`."""
    judge.budget.spend(15)
    text = unescaped(raw)
    if _is_binary(text, place):
        edits = judge.secrets.edits(text)
    else:
        edits = text_edits(text, place, judge, decoders)
    if edits:
        judge.budget.spend(10 * len(edits) + raw.count(b"\\") // 2)
    return carried_out(settled(edits), raw, start)


def text_edits(text: bytes, place: Place, judge: Judge, decoders: tuple[Decoder, ...] = ()) -> list[Edit]:
    """Edits of a decoded text. The first decoder that can read it judges its leaves instead."""
    named = sad.by_name(text, place.kinds)
    hits = trigger.hits(text, judge.secrets, place.surroundings, own_masks=judge.own_masks, budget=judge.budget)
    if named is None and not place.kinds & SAD_KINDS and judge.triggers and hits is trigger.NOTHING:
        return []
    if place.layer < MOST_LAYERS:
        inner = msgspec.structs.replace(place, layer=place.layer + 1)
        for decode in decoders:
            decoded = decode(text, inner, judge, hits)
            if decoded is not None:
                return decoded
    return _until_quiet(
        text, settled([*_plain_edits(text, place.surroundings, judge), *([named] if named else [])]), place, judge
    )


def _until_quiet(text: bytes, edits: list[Edit], place: Place, judge: Judge) -> list[Edit]:
    """The edits, and what they bring to light: where something is removed, its neighbours move together and may say more."""
    for _ in range(_MOST_ROUNDS):
        if all(edit.action == "found" or (edit.action == "masked" and not _among_digits(text, edit)) for edit in edits):
            break
        more = settled(
            _plain_edits(applied(text, edits), place.surroundings, msgspec.structs.replace(judge, own_masks=False))
        )
        if not more:
            break
        edits = settled(_joined([*edits, *brought_back(more, edits)]))
    return edits


def _joined(edits: list[Edit]) -> list[Edit]:
    """The edits, those that mask overlapping numbers as one: what is shown of one number may be the beginning of another."""
    joined: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: edit.start):
        last = joined[-1] if joined else None
        if last is None or edit.start >= last.end or {last.action, edit.action} != {"masked"}:
            joined.append(edit)
            continue
        pieces = [
            piece for piece in edit.pieces if all(piece[0] >= end or piece[1] <= start for start, end, _ in last.pieces)
        ]
        both = tuple(sorted((*last.pieces, *pieces)))
        joined[-1] = msgspec.structs.replace(last, end=max(last.end, edit.end), pieces=both)
    return joined


def _among_digits(text: bytes, edit: Edit) -> bool:
    """Whether further digits stand close to the edit: what is left of a longer row may read as a number by itself."""
    around = text[max(0, edit.start - _CLOSE) : edit.start] + text[edit.end : edit.end + _CLOSE]
    return _DIGITS.search(around) is not None


def _plain_edits(text: bytes, around: Surroundings, judge: Judge) -> list[Edit]:
    """Edits of text in which nothing further is encoded; they may overlap."""
    edits = pans.card_numbers(text, around, judge.budget)
    edits += sad.codes(text, edits, judge.budget)
    edits += glued.card_numbers(text, around, judge.budget)
    edits += sad.tracks(text, around, judge.budget)
    if b"\n" in text or b"\r" in text:
        edits += _cell_edits(text, judge.budget)
    redactions = judge.secrets.edits(text)
    judge.budget.spend(5 * len(redactions))
    edits += redactions
    if judge.own_masks:
        edits += _our_masks(text, judge.budget)
    return edits


def _cell_edits(text: bytes, budget: Budget) -> list[Edit]:
    edits = []
    for (start, end), kinds in tables.cells(text, budget):
        cell = text[start:end]
        named = None if pans.is_tail_of_mask(text, start) else sad.by_name(cell, kinds)
        found = [named] if named else pans.card_numbers(cell, Surroundings(card=True, strict="pan" in kinds), budget)
        edits += [moved(edit, start) for edit in found]
    return edits


def number_edits(token: bytes, start: int, place: Place, judge: Judge) -> list[Edit]:
    """The edit of the document for a number token that begins at `start`, if it needs one."""
    if judge.secrets and judge.secrets.edits(token):
        return [replaced(start, start + len(token), numbers.zero(token), "secret", "redacted")]
    edit = numbers.number_edit(token, start, place.kinds, place.surroundings)
    if edit is None and judge.own_masks and numbers.our_number(token):
        edit = Edit(start=start, end=start + len(token), pieces=(), detector="own_mask", action="found")
    return [edit] if edit else []


def _is_binary(text: bytes, place: Place) -> bool:
    """Base64 of an image or a file, by its key: digits in it mean nothing, and a changed one breaks it.

    In one alphabet and of a length that base64 has; the URL alphabet needs no padding (RFC 4648 §5). Hexadecimal digits alone are a
    message of a card terminal sooner than base64, and digits with signs between them a list of numbers."""
    if "binary" not in place.kinds or len(text) <= 64 or _HEX_OR_NUMBERS.fullmatch(text):
        return False
    if len(text) % 4 == 0:
        return (_BASE64.fullmatch(text) or _BASE64_URL.fullmatch(text)) is not None
    bare = _BASE64_URL.fullmatch(text)
    return bare is not None and not bare.group(1) and len(text) % 4 != 1


def _our_masks(text: bytes, budget: Budget) -> list[Edit]:
    """Masks as this package writes them, coming back in. They would overwrite good data on the server."""
    spans = [found.span() for found in _OUR_NOTE.finditer(text)]
    for found in budget.counted(_OURS.finditer(text), 3) if b"*" in text else ():
        packed = re.sub(rb"[ \t._-]", b"", found.group()[:128])
        if _OUR_TEXT.search(packed):
            spans.append(found.span())
    return [Edit(start=start, end=end, pieces=(), detector="own_mask", action="found") for start, end in spans]
