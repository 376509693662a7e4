"""Looks for planted values in whatever was written: as they are, in other encodings, and in what can be inflated.

LIMIT: it sees through hexadecimal, base64, UTF-16, JSON and percent escapes, separators between digits, gzip and zlib streams anywhere
in a file, and base64 around those. It does not see through encryption, zip archives, raw deflate, or two encodings of text in a row.
"""

import base64
import contextlib
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import re2

from tests.folders import below

DEEPEST = 4
MOST_INFLATED = 64 << 20
PATTERN_BYTES = 32 << 10
_STREAMS = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_SEPARATORS = b" -._\t\r\n"
_ZEROS = re.compile(rb"\0{64,}")


class Hit(NamedTuple):
    """`what` was planted, `where` it was found, and `how`: the encoding, and what had to be opened to see it."""

    what: str
    where: str
    how: str


def forms(value: bytes) -> dict[str, list[bytes]]:
    """How a value may stand in a file, by the encoding's name."""
    text = value.decode("utf-8")
    found = {
        "raw": [value],
        "hex": [value.hex().encode(), value.hex().upper().encode()],
        "base64": [],
        "utf-16": [text.encode("utf-16-le")],
        "json escapes": ["".join(f"\\u{ord(c):04x}" for c in text).encode()],
        "percent escapes": ["".join(f"%{b:02x}" for b in value).encode(), "".join(f"%{b:02X}" for b in value).encode()],
    }
    if quote(text, safe="") != text:
        found["percent escapes"].append(quote(text, safe="").encode())
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value)
        # What also depends on the neighbours is cut: the first characters, and the last where the value does not fill its group.
        whole = encoded[(0, 2, 3)[before] : len(encoded) - (0, 3, 2)[(len(value) + before) % 3]]
        found["base64"] += [whole, whole.translate(bytes.maketrans(b"+/", b"-_"))]
    return {name: sorted(set(each)) for name, each in found.items()}


class Search:
    """`plants`: name → the value. Values of digits only are also found with separators between them."""

    def __init__(self, plants: dict[str, bytes]) -> None:
        self.plants = plants
        self._forms: dict[bytes, tuple[str, str]] = {}
        for what, value in plants.items():
            for how, each in forms(value).items():
                for form in each:
                    self._forms.setdefault(form, (what, how))

    @cached_property
    def _patterns(self) -> "list[re2._Regexp[bytes]]":
        """More than one where there are many plants: an automaton of a megabyte of words has no room for its states."""
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 256 << 20
        batches: list[list[bytes]] = [[]]
        for form in self._forms:
            if sum(map(len, batches[-1])) + len(form) > PATTERN_BYTES:
                batches.append([])
            batches[-1].append(re2.escape(form))
        return [re2.compile(b"|".join(batch), options) for batch in batches]

    @cached_property
    def _digits(self) -> "list[re2._Regexp[bytes]]":
        """None where no value consists of digits: an empty pattern would match everywhere."""
        values = [value for value in self.plants.values() if value.isdigit()]
        return [re2.compile(b"|".join(values))] if values else []

    def directory(self, root: Path, *, leave_out: Iterable[Path] = ()) -> list[Hit]:
        """Every file below `root`, its name included. What somebody removes meanwhile is not there."""
        left_out = {path.resolve() for path in leave_out}
        hits = []
        for path in below(root):
            name = str(path.relative_to(root))
            hits += self.bytes(name.encode(), f"the name of {name}")
            if path.is_symlink() or not path.is_file() or path.resolve() in left_out:
                continue
            with contextlib.suppress(FileNotFoundError):
                hits += self.bytes(path.read_bytes(), name)
        return hits

    def bytes(self, data: bytes, where: str) -> list[Hit]:
        return list(dict.fromkeys(self._look(_ZEROS.sub(b"\0" * 8, data), where, (), 0)))

    def _look(self, data: bytes, where: str, opened: tuple[str, ...], depth: int) -> Iterator[Hit]:
        for pattern in self._patterns:
            for match in pattern.finditer(data):
                what, how = self._forms[match.group()]
                yield Hit(what, where, " in ".join((how, *opened)))
        for digits in self._digits:
            for match in digits.finditer(data.translate(None, _SEPARATORS)):
                name = next(name for name, value in self.plants.items() if value == match.group())
                yield Hit(name, where, " in ".join(("digits with separators or without", *opened)))
        if depth == DEEPEST:
            return
        for stream in _STREAMS.finditer(data):
            inflated = _inflated(data[stream.start() :])
            if inflated:
                kind = "gzip" if stream.group()[:1] == b"\x1f" else "zlib"
                yield from self._look(inflated, where, (kind, *opened), depth + 1)
        for run in _BASE64_RUN.finditer(data):
            decoded = _decoded(run.group())
            # Text in base64 is found above, at any alignment; here only what has to be decoded to be inflated.
            if _STREAMS.match(decoded):
                yield from self._look(decoded, where, ("base64", *opened), depth + 1)


def _inflated(data: bytes) -> bytes:
    """What a gzip or zlib stream at the start of `data` holds, as far as it can be read."""
    inflating = zlib.decompressobj(wbits=47)
    found = bytearray()
    try:
        # In pieces: a stream that breaks off in the middle is still read up to there.
        for start in range(0, len(data), 4096):
            found += inflating.decompress(data[start : start + 4096], MOST_INFLATED)
            if inflating.eof or len(found) > MOST_INFLATED:
                break
    except zlib.error:
        pass
    return bytes(found)


def _decoded(run: bytes) -> bytes:
    run = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    return base64.b64decode(run[: len(run) // 4 * 4])
