"""The few messages the gate makes itself: errors, lists filtered per caller, and the shape of arguments for the record."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gatebook.model.errors import Malformed, Reason
from gatebook.wire.strict_json import slack, spans

MAX_SHAPE_KEYS: Final = 64
MAX_SHAPE_NAME: Final = 64
_PLAIN_NAME: Final = 8
_NAMES_KEPT: Final = 16
_NAME_CHARS_KEPT: Final = 256

_DIGITS = re.compile(r"(?:\d[\s._-]{0,3}){8}")
_HIDDEN: Final = "..."
_PRIVATE: Final = b'"private"'
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)


def error(id_raw: bytes | None, code: int, message: str, data: Mapping[str, Any] | None = None) -> bytes:
    """A JSON-RPC error response. `id_raw`: the request's raw id token, echoed as it stood; None leaves `id` out, as MCP has it
    for errors that answer no known request (2025-11-25 schema, JSONRPCErrorResponse; its ids are never null)."""
    what: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        what["data"] = data
    answer: dict[str, Any] = {"jsonrpc": "2.0"}
    if id_raw is not None:
        answer["id"] = msgspec.Raw(id_raw)
    answer["error"] = what
    return msgspec.json.encode(answer)


def filtered_list(
    body: bytes, key: str, keep: Callable[[str, bytes], bool], name_field: str, make_private: bool
) -> tuple[bytes, int]:
    """`body`, a list's response, without the elements of `result[key]` that `keep` refuses by name and bytes; and how many were dropped.

    Every kept element and every other member stands byte for byte. A `cacheScope` becomes "private" wherever there is one, and
    is added with `make_private` (2026-07-28, caching: what varies by caller is never shared). Where nothing changes, the body
    returned is the identical object; an error response passes so.
    Raises Malformed(UPSTREAM_INVALID) where the result is no such list: no objects, no string names, a name twice. Fail closed.
    """
    try:
        return _filtered(body, key, keep, name_field, make_private=make_private)
    except (ValueError, RecursionError, msgspec.DecodeError):
        # `from None`: the parsers' own errors hold the whole text.
        raise Malformed(Reason.UPSTREAM_INVALID, "The server's list is not of the shape that the method has.") from None


def shape(arguments: Mapping[str, Any], *, suspicious: bool = False) -> dict[str, str]:
    """The arguments' names with their JSON types, never a value: at most 64 names of at most 64 characters, ASCII.

    Other characters and line ends are written as escapes. A name with eight or more digits, however they are spaced, becomes "...": a card
    number can be put into a name too. `suspicious`: something was found in the message; then every name becomes "..." that is not a word
    without digits, since nobody knows here what it was that was found.
    """
    if suspicious:
        return _shaped(tuple(map(_word, arguments)), tuple(map(type, arguments.values())))
    names = tuple(arguments)
    kinds = tuple(map(type, arguments.values()))
    known = len(names) <= _NAMES_KEPT and sum(map(len, names)) <= _NAME_CHARS_KEPT
    return _known_shape(names, kinds) if known else _shaped(names, kinds)


def _shaped(names: tuple[str, ...], kinds: tuple[type, ...]) -> dict[str, str]:
    shaped: dict[str, str] = {}
    for name, kind in zip(names, kinds, strict=True):
        if len(shaped) == MAX_SHAPE_KEYS:
            break
        shaped[_shown(name)] = _TYPES.get(kind, "object")
    return shaped


_known_shape = functools.lru_cache(maxsize=1024)(_shaped)
"""A tool is called with the same arguments again and again, each time with other values. Nobody changes a shape that he was given."""


def _word(name: str) -> str:
    plain = len(name) <= MAX_SHAPE_NAME and name.isascii() and name.isidentifier()
    return name if plain and not any(character.isdigit() for character in name) else _HIDDEN


def _shown(name: str) -> str:
    if len(name) <= _PLAIN_NAME and name.isascii() and name.isidentifier():
        return name  # fewer digits than are hidden, and nothing to escape: as most names are
    return (_HIDDEN if _DIGITS.search(name) else name.encode("unicode_escape").decode())[:MAX_SHAPE_NAME]


_TYPES: Final[dict[type, str]] = {
    str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


def _filtered(
    body: bytes, key: str, keep: Callable[[str, bytes], bool], name_field: str, *, make_private: bool
) -> tuple[bytes, int]:
    answer = _MEMBERS.decode(body)
    places = spans(body, answer)
    if "result" not in answer:
        if "error" not in answer:
            raise ValueError("no outcome")
        return body, 0
    begin, end = places["result"]
    result, dropped = _filtered_result(body[begin:end], key, keep, name_field, make_private=make_private)
    if result is None:
        return body, 0
    return body[:begin] + result + body[end:], dropped


def _filtered_result(
    result: bytes, key: str, keep: Callable[[str, bytes], bool], name_field: str, *, make_private: bool
) -> tuple[bytes | None, int]:
    """The result changed, or None where nothing had to change; and the number of elements dropped."""
    members = _MEMBERS.decode(result)
    places = spans(result, members)
    elements = [bytes(element) for element in _ELEMENTS.decode(members.get(key, b""))]
    kept = [element for element in elements if keep(_name(element, name_field), element)]
    changes: list[tuple[int, int, bytes]] = []
    if len(kept) < len(elements):
        changes.append((*places[key], b"[" + b",".join(kept) + b"]"))
    if "cacheScope" in members:
        if bytes(members["cacheScope"]) != _PRIVATE:
            changes.append((*places["cacheScope"], _PRIVATE))
    elif make_private:
        # The result has at least the list, so a comma is right; its value's end is a place between members.
        changes.append((places[key][1], places[key][1], b',"cacheScope":' + _PRIVATE))
    for begin, end, text in sorted(changes, reverse=True):
        result = result[:begin] + text + result[end:]
    return (result if changes else None), len(elements) - len(kept)


def _name(element: bytes, name_field: str) -> str:
    """The element's name. A name that stands twice would let the client read another one than we judged."""
    members = _MEMBERS.decode(element)
    if slack(element, members) >= len(f',"{name_field}":""'):
        spans(element, members)
    if name_field not in members:
        raise ValueError("no name")
    return _TEXT.decode(members[name_field])
