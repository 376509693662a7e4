"""Where in a TOML text each key stands: tomllib tells values, not lines."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(
    r"(?P<comment>\#[^\n]*)|(?P<newline>\n)|(?P<space>[^\S\n]+)"
    r'|(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<sign>[\[\]{}=,.])|(?P<bare>[^\s\[\]{}=,.#\"']+)",
    re.DOTALL,
)


def lines(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every table, key and array element in `text`, which tomllib has accepted.

    LIMIT: only for messages. Quoted keys are taken without their escapes, and a text that this walk does not follow gives fewer places."""
    walk = _Walk(text)
    with suppress(IndexError):
        walk.document()
    return walk.found


def describe(path: KeyPath, found: dict[KeyPath, int]) -> str:
    """`server[0].audience.corp (line 7)`; the line is that of the nearest enclosing key where the key itself is not in the text."""
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    for length in range(len(path), 0, -1):
        if path[:length] in found:
            return f"{name} (line {found[path[:length]]})"
    return name


class _Walk:
    """A reader of TOML's outline. `at` is the next token; every step consumes at least one, so it ends."""

    def __init__(self, text: str) -> None:
        self.found: dict[KeyPath, int] = {}
        self._tokens = list(_tokens(text))
        self._at = 0
        self._counts: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._at < len(self._tokens):
            kind, text, line = self._tokens[self._at]
            if kind == "newline":
                self._at += 1
            elif text == "[":
                table = self._header(line)
            else:
                self._pair(table)

    def _header(self, line: int) -> KeyPath:
        brackets = 0
        while self._tokens[self._at][1] == "[":
            brackets += 1
            self._at += 1
        parts = self._key()
        self._at += brackets
        path: KeyPath = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        path = (*path, parts[-1])
        if brackets == 2:
            self.found.setdefault(path, line)
            number = self._counts.get(path, 0)
            self._counts[path] = number + 1
            path = (*path, number)
        self.found[path] = line
        return path

    def _key(self) -> list[str]:
        parts = [_unquoted(self._tokens[self._at][1])]
        self._at += 1
        while self._tokens[self._at][1] == ".":
            parts.append(_unquoted(self._tokens[self._at + 1][1]))
            self._at += 2
        return parts

    def _pair(self, table: KeyPath) -> None:
        line = self._tokens[self._at][2]
        path = table
        for part in self._key():
            path = (*path, part)
            self.found.setdefault(path, line)
        self._at += 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_newlines()
        text = self._tokens[self._at][1]
        self.found.setdefault(path, self._tokens[self._at][2])
        if text == "[":
            self._sequence("]", path, self._element)
        elif text == "{":
            self._sequence("}", path, lambda path, _: self._pair(path))
        else:
            while self._tokens[self._at][0] != "newline" and self._tokens[self._at][1] not in (",", "]", "}"):
                self._at += 1

    def _element(self, path: KeyPath, number: int) -> None:
        self.found[(*path, number)] = self._tokens[self._at][2]
        self._value((*path, number))

    def _sequence(self, end: str, path: KeyPath, item: Callable[[KeyPath, int], None]) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip_newlines()
            if self._tokens[self._at][1] == end:
                self._at += 1
                return
            if self._tokens[self._at][1] == ",":
                self._at += 1
                continue
            item(path, number)
            number += 1

    def _skip_newlines(self) -> None:
        while self._tokens[self._at][0] == "newline":
            self._at += 1


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    line = 1
    for found in _TOKEN.finditer(text):
        if found.lastgroup not in ("comment", "space"):
            yield found.lastgroup or "", found[0], line
        line += found[0].count("\n")
    yield "newline", "\n", line


def _unquoted(token: str) -> str:
    return token[1:-1] if token[:1] in ("'", '"') else token
