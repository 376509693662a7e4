"""JSON with comments and trailing commas, as editors keep it, with the place of every value: so that one value can be replaced and every
other byte stays as it was."""

import json
import re
from collections.abc import Iterator
from typing import Final

import msgspec

MAX_CHARACTERS: Final = 8 << 20
MAX_DEPTH: Final = 100

_BLANK = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")

Value = str | int | float | bool | None


class Unreadable(Exception):
    """The text is no JSON, not even with comments. The words say where, and repeat nothing of it."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One value and where it stands: the text from `start` up to `end`. `members` where it is an object, `items` where it is an array, else `value`."""

    start: int
    end: int
    value: Value = None
    members: "dict[str, Node] | None" = None
    items: "tuple[Node, ...] | None" = None

    def get(self, *path: str) -> "Node | None":
        """The member at `path`; None where there is none, or something on the way is no object."""
        node: Node | None = self
        for name in path:
            node = node.members.get(name) if node is not None and node.members is not None else None
        return node

    def text(self) -> str | None:
        return self.value if isinstance(self.value, str) else None

    def texts(self) -> tuple[str, ...] | None:
        """The strings of an array of strings; None where it is something else."""
        if self.items is None or any(item.text() is None for item in self.items):
            return None
        return tuple(str(item.value) for item in self.items)

    def table(self) -> dict[str, str] | None:
        """An object whose values are strings, numbers or truth values, as text; None where it is something else."""
        if self.members is None:
            return None
        if any(each.members is not None or each.items is not None for each in self.members.values()):
            return None
        return {
            name: each.value if isinstance(each.value, str) else json.dumps(each.value)
            for name, each in self.members.items()
        }


def parse(text: str) -> Node:
    """The document. Raises Unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("it is larger than 8 MiB")
    reader = _Reader(text)
    node = reader.value(reader.skip(0), 0)
    if reader.skip(node.end) != len(text):
        raise reader.fault("something stands behind its end", reader.skip(node.end))
    return node


def leaves(node: Node, pointer: str = "") -> Iterator[tuple[str, Node]]:
    """Every string, number and word of it, with its JSON pointer (RFC 6901)."""
    if node.members is not None:
        for name, member in node.members.items():
            yield from leaves(member, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif node.items is not None:
        for number, item in enumerate(node.items):
            yield from leaves(item, f"{pointer}/{number}")
    else:
        yield pointer, node


def replaced(text: str, changes: dict[int, tuple[int, str]]) -> str:
    """`text` with the pieces from each start up to its end put in place; everything between them is untouched."""
    parts, at = [], 0
    for start, (end, new) in sorted(changes.items()):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def fault(self, what: str, at: int) -> Unreadable:
        line = self._text.count("\n", 0, at) + 1
        return Unreadable(f"{what} (line {line})")

    def skip(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.fault("it is nested too deeply", at)
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, depth)
            case "[":
                return self._array(at, depth)
            case '"':
                return self._string(at)
            case _:
                found = _SCALAR.match(self._text, at)
                if found is None:
                    raise self.fault("a value is missing or cannot be read", at)
                return Node(start=at, end=found.end(), value=json.loads(found[0]))

    def _string(self, at: int) -> Node:
        found = _STRING.match(self._text, at)
        if found is None:
            raise self.fault("a string is missing, or has no end", at)
        return Node(start=at, end=found.end(), value=json.loads(found[0]))

    def _object(self, start: int, depth: int) -> Node:
        members: dict[str, Node] = {}
        at = self.skip(start + 1)
        while self._text[at : at + 1] != "}":
            name = self._string(at)
            if name.value in members:
                # The client reads one of the two; a secret in the other would be left behind.
                raise self.fault("a name stands twice in one object", at)
            at = self.skip(name.end)
            if self._text[at : at + 1] != ":":
                raise self.fault("a colon is missing", at)
            member = self.value(self.skip(at + 1), depth + 1)
            members[str(name.value)] = member
            at = self._past_comma(member.end, "}")
        return Node(start=start, end=at + 1, members=members)

    def _array(self, start: int, depth: int) -> Node:
        items: list[Node] = []
        at = self.skip(start + 1)
        while self._text[at : at + 1] != "]":
            items.append(self.value(at, depth + 1))
            at = self._past_comma(items[-1].end, "]")
        return Node(start=start, end=at + 1, items=tuple(items))

    def _past_comma(self, at: int, closing: str) -> int:
        at = self.skip(at)
        if self._text[at : at + 1] == ",":
            return self.skip(at + 1)
        if self._text[at : at + 1] != closing:
            raise self.fault("a comma or the end is missing", at)
        return at
