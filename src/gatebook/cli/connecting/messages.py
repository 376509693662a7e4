"""One line of stdio → what must stand in the HTTP request that carries it. Pure; the body itself goes on byte for byte."""

import base64
import re
from typing import Any, Final, Literal

import msgspec

from gatebook.model.errors import Malformed
from gatebook.wire.methods import METHODS, target
from gatebook.wire.revisions import VERSION_META

Id = int | str
Era = Literal["legacy", "modern"]

_PLAIN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_WRAPPED: Final = re.compile(r"=\?base64\?.*\?=", re.IGNORECASE | re.DOTALL)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as its envelope says. `id`: None for a notification; `method`: None for an answer, which has a `result` unless it is an error.
    `version`: of the protocol, where the message says it by itself."""

    raw: bytes
    id: Id | None = None
    method: str | None = None
    params: dict[str, Any] = {}
    version: str | None = None
    result: dict[str, Any] | None = None

    @property
    def is_request(self) -> bool:
        return self.method is not None and self.id is not None

    @property
    def era(self) -> Era:
        """Modern requests say their version by themselves; a legacy one, `initialize` before all, does not."""
        return "legacy" if self.version is None else "modern"


class NotAMessage(ValueError):
    """The line is no single JSON-RPC message; the text says what it is instead."""


def read(raw: bytes) -> Message:
    """The message in `raw`. Raises NotAMessage."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise NotAMessage("This line is no JSON.") from None
    if isinstance(found, list):
        raise NotAMessage("Batches are not carried: send one message a line.")
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":
        raise NotAMessage("This line is no JSON-RPC 2.0 message.")
    name, given = found.get("id"), found.get("params")
    params = given if isinstance(given, dict) else {}
    method = found.get("method")
    result = found.get("result")
    meta = params.get("_meta")
    version = meta.get(VERSION_META) if isinstance(meta, dict) else None
    return Message(
        raw=compact(raw),
        id=name if isinstance(name, int | str) and not isinstance(name, bool) else None,
        method=method if isinstance(method, str) else None,
        params=params,
        version=version if isinstance(version, str) else None,
        result=result if isinstance(result, dict) else None,
    )


def headers_of(message: Message, agreed: "Agreed", mirrored: dict[str, dict[tuple[str, ...], str]]) -> dict[str, str]:
    """What goes beside the body. `agreed`: what `initialize` led to; `mirrored`: for each tool which arguments a header repeats.

    Modern: version, method, the name of what is reached for, and marked arguments, all from the body (2026-07-28, basic/transports)."""
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if message.version is None:
        return headers | agreed.headers()
    headers["mcp-protocol-version"] = encoded(message.version)
    if message.method is None:
        return headers
    headers["mcp-method"] = encoded(message.method)
    known = METHODS.get(message.method)
    try:
        name = target(message.method, message.params).name if known is not None and known.mirrored else None
    except Malformed:
        name = None  # the gate will say what is wrong with it
    if name is not None:
        headers["mcp-name"] = encoded(name)
    if message.method == "tools/call":
        headers |= _marked(message.params.get("arguments"), mirrored.get(name or "", {}))
    return headers


class Agreed(msgspec.Struct):
    """What the last `initialize` led to, for the messages after it."""

    session: str | None = None
    version: str | None = None

    def headers(self) -> dict[str, str]:
        found = {"mcp-session-id": self.session, "mcp-protocol-version": self.version}
        return {name: value for name, value in found.items() if value is not None}


def encoded(text: str) -> str:
    """`text` as a header may hold it: as it is, or as `=?base64?…?=` where it could not stand there or would be taken for that."""
    if _PLAIN.fullmatch(text) and not _WRAPPED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'surrogatepass')).decode()}?="


def marks_of(result: dict[str, Any]) -> dict[str, dict[tuple[str, ...], str]]:
    """For each tool of a `tools/list` result: where in its arguments → the header's name behind `Mcp-Param-` (`x-mcp-header` in its schema)."""
    tools = result.get("tools")
    found: dict[str, dict[tuple[str, ...], str]] = {}
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, dict) and isinstance(tool.get("name"), str):
            found[tool["name"]] = dict(_marks(tool.get("inputSchema"), ()))
    return found


def _marks(schema: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    properties = schema.get("properties") if isinstance(schema, dict) and len(path) < 16 else None
    found: list[tuple[tuple[str, ...], str]] = []
    for name, each in (properties if isinstance(properties, dict) else {}).items():
        mark = each.get("x-mcp-header") if isinstance(each, dict) else None
        if isinstance(mark, str) and _TOKEN.fullmatch(mark):
            found.append(((*path, name), mark))
        found += _marks(each, (*path, name))
    return found


def _marked(arguments: Any, marks: dict[tuple[str, ...], str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for path, mark in marks.items():
        value = arguments
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool):
            headers[f"mcp-param-{mark.lower()}"] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            headers[f"mcp-param-{mark.lower()}"] = encoded(str(value))
    return headers


def compact(raw: bytes) -> bytes:
    """The same JSON in one line, values as they were written. Raises msgspec.MsgspecError where it is none."""
    return msgspec.json.format(raw, indent=-1)


def failure(name: Id | None, reason: str, words: str, *, code: int = 1) -> bytes:
    """A JSON-RPC error of our own, in one line. `code`: positive, because the negative ones are the protocol's."""
    error = {"code": code, "message": words, "data": {"reason": reason, "from": "gatebook connect"}}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": name, "error": error})


def answer_in(raw: bytes, name: Id | None) -> bytes | None:
    """`raw` as the answer to the request `name`, in one line; None where it is no JSON-RPC answer. An error that names no request is ours."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0" or not ("result" in found or "error" in found):
        return None
    if found.get("id") is None:
        return msgspec.json.encode({**found, "id": name})
    return compact(raw)
