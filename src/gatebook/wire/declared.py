"""`Mcp-Param-*`: which arguments of a tool its definition has repeated in headers, and whether a call repeats them (MCP 2026-07-28, basic/transports/
streamable-http, custom headers; SEP-2243).

The body is the truth, as in `mirrored`: a header that says otherwise, or is missing, would let somebody on the way act on another call than the server does.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.wire.headers import MCP_PARAM
from gatebook.wire.mirrored import decoded

MARK: Final = "x-mcp-header"
DEEPEST: Final = 16
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_INTEGER: Final = re.compile(r"-?[0-9]{1,400}")
_TYPES: Final = frozenset({"string", "integer", "boolean"})


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """One argument that is repeated. `path`: where it stands among the arguments; `header`: lower-case, with its prefix; `integer`: compared as a number."""

    path: tuple[str, ...]
    header: bytes
    integer: bool


Declarations = dict[str, tuple[Declared, ...]]
"""Tool → what of it is repeated; a tool without any is not in it."""


def declarations(tools: object) -> Declarations:
    """Of the `tools` of one `tools/list` result. A tool that declares a header wrongly declares none: clients leave such a tool out (§Custom Headers)."""
    found: Declarations = {}
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, dict) and isinstance(name := tool.get("name"), str):
            declared = tuple(_declared(tool.get("inputSchema"), ()))
            headers = [each.header for each in declared if each is not None]
            if declared and len(set(headers)) == len(declared):
                found[name] = tuple([each for each in declared if each is not None])
    return found


def check_declared(declared: tuple[Declared, ...], arguments: object, headers: Headers) -> None:
    """Each argument that is there, and not null, stands in its header, and no header without its argument. Raises Malformed(HEADER_MISMATCH)."""
    for each in declared:
        values = [value for name, value in headers if name == each.header]
        said = _said(arguments, each.path)
        title = f"The header {each.header.decode('ascii')}"
        if len(values) > 1:
            _mismatch(f"{title} stands twice.")
        if not values:
            if said is not None:
                _mismatch(f"{title} is missing, and the argument that it repeats is there.")
        elif said is None or not _same(decoded(values[0]), said, integer=each.integer):
            _mismatch(f"{title} does not say what the body says.")


def _declared(schema: object, path: tuple[str, ...]) -> Iterator[Declared | None]:
    """None for a declaration that does not count."""
    properties = schema.get("properties") if isinstance(schema, dict) and len(path) < DEEPEST else None
    for name, each in (properties if isinstance(properties, dict) else {}).items():
        if not isinstance(each, dict):
            continue
        if MARK in each:
            mark, kind = each[MARK], each.get("type")
            if isinstance(mark, str) and _TOKEN.fullmatch(mark) and kind in _TYPES:
                header = MCP_PARAM + mark.lower().encode("ascii")
                yield Declared(path=(*path, name), header=header, integer=kind == "integer")
            else:
                yield None
        yield from _declared(each, (*path, name))


def _said(arguments: object, path: tuple[str, ...]) -> str | None:
    """The argument as a header says it; None where it is absent, null, or nothing that a header can say."""
    value: Any = arguments
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    match value:
        case bool():
            return "true" if value else "false"
        case str() | float():
            return str(value)
        case int():
            return str(value) if value.bit_length() < 4096 else None
        case _:
            return None


def _same(header: str, said: str, *, integer: bool) -> bool:
    """Values are case-sensitive; integers compare as numbers (§Value Encoding)."""
    if header == said:
        return True
    return integer and bool(_INTEGER.fullmatch(header)) and bool(_INTEGER.fullmatch(said)) and int(header) == int(said)


def _mismatch(words: str) -> None:
    raise Malformed(Reason.HEADER_MISMATCH, words)
