"""Bytes from a client → whole HTTP/1.x requests, strictly. Sans-IO: it is fed bytes and gives requests; it never reads and has no clock.

llhttp (through httptools) does the parsing. Around it stands what llhttp leaves open: the head is collected whole before it is
parsed, so that a request ends exactly where its framing says, and what follows it stays unparsed until its turn.
"""

import re
from collections.abc import Callable

import httptools
import msgspec

from gatebook.model.bounded import Bounded
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.model.http import Headers

TARGET_BYTES = 8 << 10
HEADER_FIELDS = 128
_PIECE_BYTES = 16 << 10
_KEPT_BYTES = 4 << 10
HEADS_KEPT = 2048
_NEVER_AGAIN = frozenset({b"traceparent", b"last-event-id"})
"""Another value with each request: such heads would only push out the others."""
_END = b"\r\n\r\n"
_NO_HEAD = b"\n"
"""No request begins so."""

# One space, origin form (or "*"), no fragment, visible ASCII: two parsers cannot split this line differently. Absolute form and
# CONNECT's authority form do not match, nor does RTSP, which llhttp would accept.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (/[!\"$-~]*|\*) HTTP/1\.([01])\r\n")
_FIRST_BYTE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\r")

# Where one of these repeats, two readers may believe different ones.
_SINGULAR = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"origin",
        b"proxy-authorization",
        b"transfer-encoding",
        b"upgrade",
    }
)


class Unreadable(Exception):
    """The bytes are no request that we accept. After it the reader is useless: answer `status` and close."""

    def __init__(self, status: int, reason: Reason, words: str) -> None:
        super().__init__(f"{status} {words}")
        self.status = status
        self.reason = reason
        self.words = words


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request's head that passed every check. `length`: bytes of the body, None where it is chunked.

    `closes`: the client wants (or, with HTTP/1.0, must have) the connection closed after the answer.
    """

    method: str
    target: bytes
    headers: Headers
    length: int | None
    http_1_0: bool
    closes: bool
    expects_continue: bool
    said: dict[object, object] = {}
    """What is worked out from this head; it lives as long as the head does."""


class Heads:
    """Heads that passed every check, by their bytes: a client repeats itself, and its next request need not be taken apart anew.

    One for all connections of a worker. Who is given the same head gets the same objects. LIMIT: up to `capacity` heads stay in
    memory, with the tokens in them, until others take their place; and the last one of each connection."""

    def __init__(self, capacity: int = HEADS_KEPT) -> None:
        self._checked = Bounded[bytes, Head](capacity)
        self.known: Callable[[bytes], Head | None] = self._checked.get
        """What these bytes, blank line included, were found to be; None where that is not known."""

    def keep(self, raw: bytes, head: Head) -> None:
        """`head` is what a reader made of `raw` and of nothing else. Large ones are not kept, nor those that will not come again."""
        if len(raw) <= _KEPT_BYTES and not any(name in _NEVER_AGAIN for name, _ in head.headers):
            self._checked.keep(raw, head)


class _Collected:
    """What llhttp calls back with. A fresh one per request: nothing of one request can be left for the next."""

    __slots__ = ("body_bytes", "complete", "headers", "pieces")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.body_bytes = 0
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves white space at a value's end; RFC 9110 §5.5 says that it is no part of the value.
        self.headers.append((name.lower(), value.strip(b" \t")))
        if len(self.headers) > HEADER_FIELDS:
            raise Unreadable(431, Reason.TOO_LARGE, "too many header fields")

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.body_bytes += len(piece)

    def on_message_complete(self) -> None:
        self.complete = True


class RequestReader:
    """Requests of one connection, in order. `feed` keeps bytes and looks at none; `advance` goes on as far as one request.

    The caller bounds what it feeds between two requests (`held`); within a request the bounds are those of `limits`.
    """

    def __init__(self, limits: Limits, heads: Heads | None = None) -> None:
        self._limits = limits
        self._heads = heads or Heads()
        self.held = bytearray()
        """What is kept and belongs to no request given so far."""
        self._scanned = 0
        self._empty_line = False
        self._head: Head | None = None
        self._chunked: tuple[httptools.HttpRequestParser, _Collected] | None = None
        self._wire_bytes = 0
        self._last_raw = _NO_HEAD
        self._last: Head | None = None

    @property
    def head(self) -> Head | None:
        """The head of the request whose body is not complete yet; None between requests and within a head."""
        return self._head

    def at_once(self, data: bytes) -> tuple[Head, bytes] | None:
        """The request that `data` is, where nothing is held and it is exactly one whole request with a head that is known.

        Else None, and nothing has changed: `feed` it. What it gives is what `feed` and `advance` would, without a copy of every byte."""
        if self._head is not None or self.held or self._empty_line:
            return None
        head = self._last
        # Most clients repeat themselves: no need to look for the end of the head, nor to hash it.
        end = len(self._last_raw)
        if not data.startswith(self._last_raw):
            # Or they speak for others who have names of the same length. No head that is known has an empty line before its end.
            if data[end - 4 : end] != _END:
                end = data.find(_END) + 4
            raw = data[:end]
            head = self._heads.known(raw) if end <= self._limits.header_bytes else None
            if head is not None:
                self._last, self._last_raw = head, raw
        if head is None or len(data) - end != head.length:
            return None
        return head, data[end:]

    def feed(self, data: bytes) -> None:
        """Keep `data` for the next `advance`."""
        self.held += data

    def let_go(self) -> None:
        """Nothing that was fed is held any more, and nothing more is asked of this reader."""
        self.held.clear()
        self._head, self._chunked = None, None

    def advance(self) -> tuple[Head, bytes] | None:
        """The next whole request (head, body), or None where bytes are missing. Raises Unreadable."""
        if self._head is None:
            self._head = self._take_head()
            if self._head is None:
                return None
        body = self._take_chunked() if self._head.length is None else self._take_length(self._head.length)
        if body is None:
            return None
        head, self._head, self._chunked = self._head, None, None
        return head, body

    def _take_head(self) -> Head | None:
        held = self.held
        if held[:2] == b"\r\n" and not self._empty_line:  # RFC 9112 §2.2: one empty line before a request is ignored.
            del held[:2]
            self._scanned = 0
            # A second is not, however often we are asked meanwhile: where the bytes are cut changes nothing.
            self._empty_line = True
        if not held:
            return None
        if held[0] not in _FIRST_BYTE or (held[0] == 0x0D and self._empty_line):
            raise Unreadable(400, Reason.BAD_REQUEST, "not an HTTP request")
        end = held.find(_END, self._scanned) + 4
        if end > self._limits.header_bytes or (end == 3 and len(held) >= self._limits.header_bytes):
            raise Unreadable(431, Reason.TOO_LARGE, "the header block is too large")
        if end == 3:
            self._scanned = max(0, len(held) - 3)
            return None
        raw = bytes(held[:end])
        del held[:end]
        self._scanned = 0
        self._empty_line = False
        head = self._heads.known(raw)
        if head is None:
            head = self._parse_head(raw)
            if head.length is not None:  # a chunked body goes on with the parser that read this very head
                self._heads.keep(raw, head)
        return head

    def _parse_head(self, raw: bytes) -> Head:
        line = _REQUEST_LINE.match(raw)
        if line is None:
            raise Unreadable(400, Reason.BAD_REQUEST, "malformed request line")
        if line.end(2) - line.start(2) > TARGET_BYTES:
            raise Unreadable(414, Reason.TOO_LARGE, "the request target is too long")
        collected = _Collected()
        parser = httptools.HttpRequestParser(collected)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # Asked for with Connection: upgrade. RFC 9110 §7.8: a server may ignore it, and we never tunnel.
        except httptools.HttpParserError as error:
            raise _unreadable(error) from error
        method, target, minor = line.groups()
        head = _checked(method, target, http_1_0=minor == b"0", headers=tuple(collected.headers))
        if head.length is None:
            if parser.should_upgrade():
                # llhttp takes a request to upgrade for bodiless; its chunked body would be read as a request.
                raise Unreadable(400, Reason.BAD_REQUEST, "a chunked body in a request to upgrade")
            self._chunked = parser, collected
            self._wire_bytes = 0
        elif head.length > self._limits.request_bytes:
            raise Unreadable(413, Reason.TOO_LARGE, "the request is too large")
        return head

    def _take_length(self, length: int) -> bytes | None:
        held = self.held
        if len(held) < length:
            return None
        body = bytes(held[:length])
        del held[:length]
        return body

    def _take_chunked(self) -> bytes | None:
        """The body, once its last chunk is here.

        Pieces end at CRLFCRLF, because a chunked body can end nowhere else: so llhttp never sees a byte of the next request. Smaller
        pieces wait: bytes that come one by one must not make a parser join them one by one.
        """
        assert self._chunked is not None
        parser, collected = self._chunked
        held = self.held
        while not collected.complete:
            end = held.find(_END, self._scanned) + 4
            if end == 3:
                end = len(held) - 3
                if end < _PIECE_BYTES:
                    self._scanned = max(0, end)
                    return None
            piece = bytes(held[:end])
            del held[:end]
            self._scanned = 0
            self._wire_bytes += len(piece)
            try:
                parser.feed_data(piece)
            except httptools.HttpParserError as error:
                raise _unreadable(error) from error
            # Chunk sizes, extensions and trailers cost the sender more than the body would: as much again is enough.
            if max(collected.body_bytes, self._wire_bytes // 2 - _PIECE_BYTES) > self._limits.request_bytes:
                raise Unreadable(413, Reason.TOO_LARGE, "the request is too large")
        return b"".join(collected.pieces)


def _unreadable(error: httptools.HttpParserError) -> Unreadable:
    if isinstance(error.__context__, Unreadable):
        return error.__context__
    return Unreadable(400, Reason.BAD_REQUEST, "malformed request")


def _checked(method: bytes, target: bytes, *, http_1_0: bool, headers: Headers) -> Head:
    """The head, when nothing in it can be read in two ways. Raises Unreadable."""
    seen: dict[bytes, bytes] = {}
    connection: list[bytes] = []
    for name, value in headers:
        if name in _SINGULAR:
            if name in seen:
                raise Unreadable(400, Reason.BAD_REQUEST, "a header field that must not repeat does")
            seen[name] = value
        elif name == b"connection":
            connection += value.lower().split(b",")
    if method == b"CONNECT" or (target == b"*" and method != b"OPTIONS"):
        raise Unreadable(400, Reason.BAD_REQUEST, "the request target is not of the origin form")
    if not seen.get(b"host") and not http_1_0:
        raise Unreadable(400, Reason.BAD_REQUEST, "the Host header is missing")
    expects = seen.get(b"expect")
    if expects is not None and expects.lower() != b"100-continue":
        raise Unreadable(417, Reason.BAD_REQUEST, "unknown expectation")
    return Head(
        method=method.decode("ascii"),
        target=target,
        headers=headers,
        length=_length(seen, http_1_0=http_1_0),
        http_1_0=http_1_0,
        closes=http_1_0 or any(token.strip() == b"close" for token in connection),
        expects_continue=expects is not None and not http_1_0,
    )


def _length(seen: dict[bytes, bytes], *, http_1_0: bool) -> int | None:
    coding = seen.get(b"transfer-encoding")
    length = seen.get(b"content-length")
    if coding is not None:
        if length is not None or http_1_0 or coding.lower() != b"chunked":
            raise Unreadable(400, Reason.BAD_REQUEST, "the transfer coding is not exactly chunked")
        return None
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 15:
        raise Unreadable(400, Reason.BAD_REQUEST, "malformed Content-Length")
    return int(length)
