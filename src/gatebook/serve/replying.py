"""The head of an answer as bytes: status line, the answer's own fields, and what is the shell's business (Date, framing, Connection)."""

import time
from email.utils import formatdate
from http import HTTPStatus

from gatebook.model.http import Headers, Reply

_BODILESS = frozenset({204, 304})
_OURS = frozenset({b"connection", b"content-length", b"date", b"keep-alive", b"server", b"transfer-encoding"})
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
        return self._line


_date = _Date()


def whole_reply(reply: Reply, *, to_head: bool, closes: bool) -> bytes:
    """The answer's bytes, without its body where it answers HEAD. Raises ValueError where a header would begin another one.

    RFC 9110 §8.6: no Content-Length with 204; none with 304, whose length would be another answer's."""
    status, body = reply.status, reply.body
    if status in _BODILESS:
        framing = body = b""
    else:
        framing = b"content-length: %d\r\n" % len(body)
    return head_block(status, reply.headers, framing, closes=closes, body=b"" if to_head else body)


def head_block(status: int, headers: Headers, framing: bytes, *, closes: bool, body: bytes = b"") -> bytes:
    """Status line and header block, with its empty line, and `body`. Raises ValueError where a header would begin another one."""
    lines = [b": ".join(field) for field in headers if field[0] not in _OURS]
    fields = b"\r\n".join([*lines, b""])
    # One look for all three: nothing but the line ends that were set here.
    if len(fields.translate(None, b"\r\n\0")) != len(fields) - 2 * len(lines):
        raise ValueError("a header field of the answer holds a line break")
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    end = b"connection: close\r\n\r\n" if closes else b"\r\n"
    return b"".join((line, fields, _date.line(), framing, end, body))
