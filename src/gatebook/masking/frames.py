"""Where a leaf lies in its document: the open objects and arrays above it, and what their names say about it."""

from gatebook.masking.edits import unescaped
from gatebook.masking.leaves import Place
from gatebook.masking.words import SAD_KINDS, Kind, kinds

NOTHING: frozenset[Kind] = frozenset()
# {"columns": ["id", "cvv"], "rows": [[1, "123"]]} and {"name": "cvv", "value": "123"}: the name stands beside the value,
# before it or behind: the members of an object have no order.
COLUMNS = frozenset((b"columns", b"headers", b"header", b"fields", b"column_names", b"columnNames", b"cols"))
LABELS = frozenset((b"name", b"label", b"field", b"key", b"title", b"column", b"id", b"parameter"))
_VALUES = frozenset((b"value", b"val", b"values", b"content", b"text", b"stringValue", b"string_value"))
Segment = bytes | int | None


class Frame:
    """An open object or array; the root is an array around the document. `segment`: what leads here from the parent.

    `start` is the offset of its bracket. `place` holds what the names down to here say; arrays hand their kinds on. `label`: what
    the names beside its values say, as far as they are known; `label_is_used`: a value was judged by it.
    """

    index = -1
    label = NOTHING
    label_is_used = False
    cells = False
    has_rows = False
    columns: dict[int, frozenset[Kind]] | None = None
    renamed: dict[int, bytes] | None = None
    pointer: str | None = None

    def __init__(self, parent: "Frame | None", segment: Segment, start: int, place: Place, *, is_array: bool) -> None:
        self.parent = parent
        self.segment = segment
        self.start = start
        self.place = place
        self.is_array = is_array
        self.keys: list[tuple[int, int]] = []
        self.postponed: list[tuple[int, int, bytes, frozenset[Kind]]] | None = None


class Names:
    """Kinds of keys, remembered for one document (longer would keep keys, which may be card numbers, in memory)."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, frozenset[Kind]] = {}
        self._tell: dict[bytes, bool] = {}

    def tell(self, frame: Frame, raw_key: bytes | None) -> bool:
        """False only when no name above the next leaf of `frame` can say that it holds authentication data."""
        if raw_key is None:
            return not frame.place.kinds.isdisjoint(SAD_KINDS) or _column(frame) is not None
        known = self._tell.get(raw_key)
        if known is None:
            key = unescaped(raw_key)
            known = self._tell[raw_key] = key in _VALUES or not self.kinds(key).isdisjoint(SAD_KINDS)
        return known

    def kinds(self, key: bytes) -> frozenset[Kind]:
        known = self._kinds.get(key)
        if known is None:
            known = self._kinds[key] = kinds(key)
        return known

    def place(self, frame: Frame, key: bytes | None) -> Place:
        """What the names say about the next leaf, object or array of `frame`. `key`: decoded, None in an array."""
        above = frame.place
        if key is None:
            column = _column(frame)
            # With those above, not instead of them: a cell taken for a header must not unsay what the key above its rows says.
            named = above.kinds if column is None else column | (above.kinds - {"binary"})
        else:
            named = self.kinds(key)
            if key in _VALUES:
                frame.label_is_used = True
                named = named | frame.label | above.kinds
        if named is above.kinds:
            return above
        return above.below(named)


def _column(row: Frame) -> frozenset[Kind] | None:
    """What the header of this cell's column says, for a row (array) in an array of rows."""
    rows = row.parent
    if rows is None or rows.parent is None or not rows.is_array:
        return None
    columns = rows.columns or (None if rows.parent.is_array else rows.parent.columns)
    return columns.get(row.index) if columns else None
