"""Requests on which parsers differ, made of `differentials.json`: what is sent, byte by byte.

A case begins with a good call of the tool `get_order` (2026-07-28) and changes it: `replace` and `also` its body, `prefix`, `suffix`,
`encoding`, `gzip` and `deep` too, or `body` (pieces; [piece, count] repeats) instead of it; `set` replaces headers (null takes one away),
`add` appends lines, `line` is the request line, `chunked` frames the body in a chunk, `cut` never ends it; `raw` is all there is.
`status` and `reason` are what the gate must say. Strings are bytes in Latin-1.
"""

import gzip
import json
import socket
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

CORPUS = Path(__file__).with_suffix(".json")
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
CALL = json.dumps(
    {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "get_order", "arguments": {"id": "42"}, "_meta": META},
    }
)  # fmt: skip
Piece = str | tuple[str, int]


class Where(msgspec.Struct, frozen=True):
    """Whom the requests are for."""

    host: str
    path: str
    token: str


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    group: str
    name: str
    status: int
    reason: str
    replace: tuple[str, str] | None = None
    also: tuple[str, str] | None = None
    deep: tuple[Any, ...] | None = None
    prefix: str = ""
    suffix: str = ""
    encoding: str | None = None
    gzip: bool = False
    body: list[Piece] | None = None
    set: dict[str, str | None] = {}
    add: list[str] = []
    add_long: tuple[str, Piece] | None = None
    many: int = 0
    long_token: int = 0
    line: str = "POST {PATH} HTTP/1.1"
    chunked: bool = False
    chunk_prefix: str = ""
    lf: bool = False
    cut: str | None = None
    raw: list[Piece] | None = None

    def bytes_for(self, where: Where) -> bytes:
        """The request, whole or, where `cut`, up to where it stops."""
        if self.raw is not None:
            return self._filled(_joined(self.raw), where, 0)
        content = self._content()
        body = self._chunk(content) if self.chunked else content
        head = self._filled("\r\n".join([self.line, *self._headers(), "", ""]), where, len(body))
        if self.cut == "head":
            return head[:-6]
        return head + (
            body[:-9] if self.cut else self._filled(body.decode("latin-1"), where, 0) if b"{PATH}" in body else body
        )

    def _content(self) -> bytes:
        if self.body is not None:
            return _joined(self.body).encode("latin-1")
        text = CALL
        for old, new in filter(None, (self.replace, self.also)):
            assert old in text, f"{self.name}: nothing to replace"
            text = text.replace(old, new)
        if self.deep is not None:
            opening, closing, count, *inside = self.deep
            text = text.replace("@DEEP@", opening * count + "".join(inside) + closing * count)
        text = self.prefix + text + self.suffix
        content = text.encode(self.encoding) if self.encoding else text.encode("latin-1")
        return gzip.compress(content) if self.gzip else content

    def _chunk(self, content: bytes) -> bytes:
        framed = self.chunk_prefix.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        return framed.replace(b"\r\n", b"\n") + b"\r\n\r\n" if self.lf else framed

    def _headers(self) -> list[str]:
        fields: dict[str, str | None] = {
            "Host": "{HOST}", "Authorization": "Bearer {TOKEN}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call",
            "Mcp-Name": "get_order", "Connection": "close", "Content-Length": "{LENGTH}",
        }  # fmt: skip
        lines = [f"{name}: {value}" for name, value in {**fields, **self.set}.items() if value is not None]
        lines += [*self.add, *(f"X-{number}: 1" for number in range(self.many))]
        return [*lines, self.add_long[0] + _joined([self.add_long[1]])] if self.add_long else lines

    def _filled(self, text: str, where: Where, length: int) -> bytes:
        encoded = f"/%{ord(where.path[1]):02x}{where.path[2:]}"
        for name, value in (
            ("{HOST}", where.host), ("{PATH_ENCODED}", encoded), ("{PATH}", where.path), ("{LENGTH}", str(length)),
            ("{TOKEN}", where.token + "A" * self.long_token), ("{LONG}", "x" * 10_000),
        ):  # fmt: skip
            text = text.replace(name, value)
        return text.encode("latin-1")


class Corpus:
    """All cases, in the order of the file."""

    @cached_property
    def cases(self) -> list[Case]:
        return msgspec.json.decode(CORPUS.read_bytes(), type=list[Case])

    def by_name(self) -> dict[str, Case]:
        named = {f"{case.group}: {case.name}": case for case in self.cases}
        assert len(named) == len(self.cases), "two cases have one name"
        return named


GOOD = Case(group="control", name="a good call", status=200, reason="completed")
"""What every case changes: it must pass everywhere, or the corpus shows nothing."""


def exchange(port: int, sent: bytes, *, source: str = "127.0.0.1", patience_s: float = 10) -> tuple[bytes, bool]:
    """Send it on a connection of its own; (everything that came back, whether the other side ended it within `patience_s`)."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), patience_s, source_address=(source, 0)) as connection:
        with suppress(ConnectionError, TimeoutError):
            connection.sendall(sent)
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            pass
        except TimeoutError:
            return received, False
    return received, True


def _joined(pieces: list[Piece]) -> str:
    return "".join(piece if isinstance(piece, str) else piece[0] * piece[1] for piece in pieces)
