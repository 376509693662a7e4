"""Tables in text (CSV, TSV, markdown): a cell is judged by the header of its column, as a value is by its key."""

import re
from collections.abc import Iterator

from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.trigger import names_card_data
from gatebook.masking.words import Kind, kinds

_LINE = re.compile(rb"[^\r\n]+")
_CELLS = {
    mark: re.compile(rb'\s*"(?:[^"]|"")*"\s*(?=%b|$)|[^%b]*' % (re.escape(mark), re.escape(mark)))
    for mark in (b"|", b"\t", b";", b",")
}
_NAME = re.compile(rb"[^,;|\t=:?!<>{}]{2,64}")
_DECORATION = b" \t\"'*`"
_MOST_COLUMNS = 256

Cell = tuple[int, int]
TELLING: frozenset[Kind] = frozenset({"cvv", "pin", "pin_block", "pan", "track"})


def cells(text: bytes, budget: Budget = UNBOUNDED) -> Iterator[tuple[Cell, frozenset[Kind]]]:
    """Every cell below a header that names card data, as a span without quotes and padding, with what the header names.

    A table begins at a line of two cells or more of which one is such a name, and ends at the first line with another
    number of cells. LIMIT: a quoted cell that holds a line break ends it, too.
    """
    if not names_card_data(text):
        return
    named: dict[int, frozenset[Kind]] = {}
    width, mark = 0, b","
    for line in budget.counted(_LINE.finditer(text), 3):
        if named:
            row = _split(text, *line.span(), mark)
            if len(row) == width:
                budget.spend(len(row) + 5 * len(named))
                yield from ((row[column], kind) for column, kind in named.items())
                continue
        width, mark, named = _header(text, *line.span())


def _split(text: bytes, start: int, end: int, mark: bytes) -> list[Cell]:
    row: list[Cell] = []
    at = start
    while at <= end and len(row) < _MOST_COLUMNS:
        found = _CELLS[mark].match(text, at, end)
        past = found.end() if found else end
        row.append(_bare(text, at, past))
        at = past + 1
    return row


def _bare(text: bytes, start: int, end: int) -> Cell:
    cell = text[start:end]
    start += len(cell) - len(cell.lstrip(_DECORATION))
    return start, max(start, end - (len(cell) - len(cell.rstrip(_DECORATION))))


def _header(text: bytes, start: int, end: int) -> tuple[int, bytes, dict[int, frozenset[Kind]]]:
    """Number of cells, what parts them, and column → what it names; nothing named when the line is no header."""
    line = text[start:end]
    for mark in _CELLS if names_card_data(line) else ():
        row = _split(text, start, end, mark) if mark in line else []
        named = {column: kind for column, cell in enumerate(row) if (kind := _named(text[slice(*cell)]))}
        if named:
            return len(row), mark, named
    return 0, b"", {}


def _named(cell: bytes) -> frozenset[Kind]:
    """Nothing for what is no name: a sentence, a record, a line split at the wrong mark."""
    return kinds(cell) & TELLING if _NAME.fullmatch(cell) else frozenset()
