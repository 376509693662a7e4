"""The head of an answer as bytes: status line, the answer's own fields, and what is the shell's business (Date, framing, Connection)."""

import time
from email.utils import formatdate
from http import HTTPStatus

from gatebook.model.http import Headers

_BODILESS = frozenset({204, 304})
_OURS = frozenset({b"connection", b"content-length", b"date", b"keep-alive", b"server", b"transfer-encoding"})
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self.second = 0
        self.line = b""

    def renew(self, second: int) -> None:
        self.second = second
        self.line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")


_date = _Date()


def as_sent(
    status: int,
    headers: Headers,
    body: bytes = b"",
    *,
    closes: bool,
    framing: bytes | None = None,
    to_head: bool = False,
) -> bytes:
    """Status line, header block with its empty line, and `body`, which is left out `to_head`. Raises ValueError where a header would begin
    another one.

    `framing`: the fields that say where the answer ends; None: the length of `body` says it. RFC 9110 §8.6: no Content-Length with 204; none
    with 304, whose length would be another answer's."""
    lines = []
    for field in headers:  # A comprehension would be a call.
        if field[0] not in _OURS:
            lines.append(b": ".join(field))
    lines.append(b"")
    fields = b"\r\n".join(lines)
    # No line ends but those that were set here.
    if len(fields.splitlines()) != len(lines) - 1 or b"\0" in fields:
        raise ValueError("a header field of the answer holds a line break")
    if framing is None:
        if status in _BODILESS:
            framing = body = b""
        else:
            framing = b"content-length: %d\r\n" % len(body)
    second = int(time.time())
    if second != _date.second:
        _date.renew(second)
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    end = b"connection: close\r\n\r\n" if closes else b"\r\n"
    return b"".join((line, fields, _date.line, framing, end, b"" if to_head else body))
