"""Server-sent events: split as they arrive, and written again with other data (WHATWG HTML §9.2.5–9.2.6).

An event's bytes are kept: what no rule changes goes on exactly as it came. Where pieces are cut makes no difference.
"""

import re
from typing import Final

import msgspec

from gatebook.model.errors import Malformed, Reason

MAX_LINES: Final = 300_000
"""Of one event: each costs the reader a microsecond, however short it is."""
_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 0x0A
_COLON: Final = 0x3A
_NOWHERE: Final = 1 << 62
_LINE = re.compile(rb"([^\r\n]*+)(\r\n|\r|\n|\Z)")
_END = re.compile(rb"\r\n|\r|\n")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event with its terminator, or a comment or blank line that belongs to none: then `data` is None and it may pass at once.

    `data`: the data lines joined by LF; None where there is no data line, b"" where it is empty (a priming event). `id`, `event`
    and `retry` are the fields as they stood, the last of each; None where absent or where the standard ignores them.
    """

    raw: bytes
    data: bytes | None = None
    id: bytes | None = None
    event: bytes | None = None
    retry: bytes | None = None
    bom: bool = False
    """Whether `raw` begins with the stream's byte order mark; anywhere else the mark is part of a line."""


class EventSplitter:
    """Splits one stream. Feed it every piece in order, then call `finish`; after an exception it is of no more use.

    Time is linear in the bytes fed, however small the pieces or large the events.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        """From the first byte of the event that is not yet complete."""
        self._line = 0
        """Where the line that is not yet complete begins."""
        self._lines = 0
        """Complete lines of the event that is not."""
        self._next_lf = self._next_cr = _NOWHERE
        """The first LF and CR from `_line` on, as far as the buffer was searched."""
        self._bare_cr = False
        """Whether a CR alone has ended a line of this stream: then it ends every line, and LF after CR is refused."""
        self._after_cr = False
        self._first = True
        """Whether the buffer begins where the stream began."""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes, in order; comments and blank lines between events among them.

        A CR at the very end is decided by the next byte, unless the stream is known to end lines by CR alone.
        Raises Malformed: UPSTREAM_TOO_LARGE for an event above the limit or with more than MAX_LINES lines, UPSTREAM_INVALID for a stream that ends lines by CR
        and by CRLF (its events could be cut in two ways).
        """
        searched = len(self._buffer)
        self._buffer += piece
        if self._next_lf == _NOWHERE:
            self._next_lf = self._find(b"\n", searched)
        if self._next_cr == _NOWHERE:
            self._next_cr = self._find(b"\r", searched)
        return self._split(at_end=False)

    def finish(self) -> list[Event]:
        """The event, if any, that the end of the stream completes: one whose blank line is a CR with nothing behind it."""
        return self._split(at_end=True)

    def rest(self) -> bytes:
        """What is left without a terminator: an unfinished event, which a client discards (§9.2.6) and so must the gate."""
        return bytes(self._buffer)

    def _split(self, *, at_end: bool) -> list[Event]:
        buffer, events = self._buffer, []
        start = 0
        while (end := min(self._next_lf, self._next_cr)) != _NOWHERE:
            after = self._line_end(end, at_end=at_end)
            if after is None:
                break
            bom = self._first and buffer.startswith(_BOM)
            content = self._line + len(_BOM) if bom and self._line == 0 else self._line
            begins_event = self._line == start
            blank = content == end
            self._advance(after)
            self._lines += 1
            if blank or (begins_event and buffer[content] == _COLON):
                self._limit(after - start)
                events.append(_event(bytes(buffer[start:after]), bom=bom))
                start, self._lines = after, 0
                self._first = False
            elif self._lines > MAX_LINES:
                raise Malformed(Reason.UPSTREAM_TOO_LARGE, "An event of the server has too many lines.")
        self._limit(len(buffer) - start)
        if start:
            self._drop(start)
        return events

    def _line_end(self, end: int, *, at_end: bool) -> int | None:
        """Where the next line begins, given the line end at `end`; None where that takes one more byte to know."""
        buffer = self._buffer
        if buffer[end] == _LF:
            if self._after_cr and end == self._line:
                raise Malformed(Reason.UPSTREAM_INVALID, "The event stream ends lines by CR and by CRLF.")
            self._after_cr = False
            return end + 1
        if not self._bare_cr:
            if end + 1 == len(buffer) and not at_end:
                return None
            if buffer[end + 1 : end + 2] == b"\n":
                self._after_cr = False
                return end + 2
        self._bare_cr = self._after_cr = True
        return end + 1

    def _advance(self, line: int) -> None:
        """The current line begins at `line`. A sign that was not found up to the buffer's end is not looked for again."""
        self._line = line
        if self._next_lf < line:
            self._next_lf = self._find(b"\n", line)
        if self._next_cr < line:
            self._next_cr = self._find(b"\r", line)

    def _find(self, sign: bytes, place: int) -> int:
        found = self._buffer.find(sign, place)
        return _NOWHERE if found < 0 else found

    def _limit(self, length: int) -> None:
        if length > self._max_event_bytes:
            raise Malformed(Reason.UPSTREAM_TOO_LARGE, "An event of the server is too large.")

    def _drop(self, start: int) -> None:
        del self._buffer[:start]
        self._line -= start
        if self._next_lf != _NOWHERE:
            self._next_lf -= start
        if self._next_cr != _NOWHERE:
            self._next_cr -= start


def around_data(event: Event) -> bytes:
    """Every line of the event that is not data, as it stands: comments, ids, names, fields that the standard ignores. A client may see
    each of them."""
    raw = event.raw[len(_BOM) :] if event.bom else event.raw
    return b"\n".join(match[1] for match in _LINE.finditer(raw) if match[1].partition(b":")[0] != b"data")


def rewrite(event: Event, new_data: bytes) -> bytes:
    """The bytes of `event` with `new_data` in place of its data; every other line stands byte for byte where it stood.

    The new lines end as the first data line ended. `event.data` is not None. Line ends within `new_data` become LF for the
    reader, which changes nothing in JSON.
    """
    written: list[bytes] = []
    done = False
    for match in _LINE.finditer(event.raw):
        line, end = match[1], match[2]
        bom = _BOM if match.start() == 0 and event.bom else b""
        if line[len(bom) :].partition(b":")[0] != b"data":
            if line + end == b"\n" and written and written[-1].endswith(b"\r"):
                # A data line between them is gone: as CRLF they would be one line end, and the event would not end here.
                written[-1] = written[-1][:-1] + b"\n"
            written.append(line + end)
        elif not done:
            done = True
            written.append(bom + b"".join(b"data: " + part + end for part in _END.split(new_data)))
    if not done:
        raise ValueError("an event without data is not rewritten")
    return b"".join(written)


def _event(raw: bytes, *, bom: bool) -> Event:
    """The fields of one complete event. §9.2.6: a line without a colon is a name; one space after the colon is dropped."""
    data: list[bytes] = []
    fields: dict[bytes, bytes] = {}
    for line in _END.split(raw[len(_BOM) :] if bom else raw):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif (name == b"id" and b"\x00" not in value) or name == b"event" or (name == b"retry" and value.isdigit()):
            fields[name] = value
    return Event(
        raw=raw,
        data=b"\n".join(data) if data else None,
        id=fields.get(b"id"),
        event=fields.get(b"event"),
        retry=fields.get(b"retry"),
        bom=bom,
    )
