"""Tables in text (CSV, TSV, markdown): a cell is judged by the header of its column, as a value is by its key."""

import re
from collections.abc import Iterator

from gatebook.masking.trigger import names_card_data
from gatebook.masking.words import Kind, kinds

_LINE = re.compile(rb"[^\r\n]+")
_CELLS = {
    mark: re.compile(rb'\s*"(?:[^"]|"")*"\s*(?=%b|$)|[^%b]*' % (re.escape(mark), re.escape(mark)))
    for mark in (b"|", b"\t", b";", b",")
}
_DECORATION = b" \t\"'*`"
_MOST_COLUMNS = 256

Cell = tuple[int, int]
TELLING: frozenset[Kind] = frozenset({"cvv", "pin", "pin_block", "pan", "track"})


def cells(text: bytes) -> Iterator[tuple[Cell, frozenset[Kind]]]:
    """Every cell below a header that names card data, as a span without quotes and padding, with what the header names.

    A table begins at a line of two cells or more of which one is such a name, and ends at the first line with another
    number of cells. LIMIT: a quoted cell that holds a line break ends it, too.
    """
    if not names_card_data(text):
        return
    named: dict[int, frozenset[Kind]] = {}
    width, mark = 0, b","
    for line in _LINE.finditer(text):
        if named:
            row = _split(text, *line.span(), mark)
            if len(row) == width:
                yield from ((row[column], kind) for column, kind in named.items())
                continue
        mark = _mark(line.group()) if names_card_data(line.group()) else b""
        row = _split(text, *line.span(), mark) if mark else []
        width = len(row)
        named = _header(text, row) if width > 1 else {}


def _mark(line: bytes) -> bytes:
    return next((mark for mark in _CELLS if mark in line), b"")


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


def _header(text: bytes, row: list[Cell]) -> dict[int, frozenset[Kind]]:
    found = {}
    for column, (start, end) in enumerate(row):
        if 0 < end - start <= 64 and not text[start:end].isdigit():
            named = kinds(text[start:end]) & TELLING
            if named:
                found[column] = named
    return found
