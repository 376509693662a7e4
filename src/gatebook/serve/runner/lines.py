"""Messages as lines (MCP, stdio transport) and as events. Pure: fed bytes, gives bytes."""

_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class LineTooLong(Exception):
    """A program writes without end: nobody can know what it was answering."""


class LineSplitter:
    """Splits one stream into lines, without their ends. Feed it every piece in order; after LineTooLong it is of no more use."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._begun = (
            bytearray()
        )  # not the pieces: a program that writes two bytes at a time would have us hold fifty for them

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that `piece` completes; blank ones among them. Raises LineTooLong."""
        *ended, rest = piece.split(b"\n")
        lines = []
        for line in ended:
            lines.append(self._whole(line).removesuffix(b"\r"))
        self._begin(rest)
        return lines

    def _whole(self, end: bytes) -> bytes:
        self._begin(end)
        line = bytes(self._begun)
        self._begun.clear()
        return line

    def _begin(self, part: bytes) -> None:
        if len(self._begun) + len(part) > self._max_line_bytes:
            raise LineTooLong
        self._begun += part


def line_of(message: bytes) -> bytes:
    """`message`, one JSON text, as a line with its end. A raw line end in valid JSON is white space between tokens, and becomes a blank;
    every other byte stays."""
    if b"\n" in message or b"\r" in message:
        message = message.translate(_LINE_ENDS)
    return message + b"\n"


def event_of(message: bytes) -> bytes:
    """`message`, one line of a program, as a server-sent event. A CR alone would end the event's line in the eyes of its reader."""
    return b"event: message\ndata: " + message.replace(b"\r", b" ") + b"\n\n"
