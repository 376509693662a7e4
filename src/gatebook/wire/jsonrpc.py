"""JSON-RPC 2.0 as MCP uses it: what a client sends, parsed strictly; what a server sends, its envelope only.

The bytes stay as they are: every message holds its exact slice, and that slice is what goes on. Architecture §4, strict parse.
"""

import json
import re
from typing import Any, Final, Literal

import msgspec

from gatebook.model.errors import Malformed, Reason
from gatebook.wire.native import in_use
from gatebook.wire.strict_json import decode, refuse, refuse_lookalikes, reserved, slack, spans

MAX_BATCH: Final = 100
MAX_ID_BYTES: Final = 1024


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request that awaits an answer. `raw`: its exact bytes (the whole body, or its slice of a batch).

    `id`: the raw JSON token of the id, a string or an integer, for echoing. Compare ids by `plain_id`, not by bytes.
    `arguments`: the raw JSON of `params.arguments`, empty where there are none.
    """

    raw: bytes
    id: bytes
    method: str
    params: dict[str, Any]
    arguments: bytes = b""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A message without id: nothing answers it. `raw` as in Request."""

    raw: bytes
    method: str
    params: dict[str, Any]


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The client's answer to a server's request. `result`: True where it succeeded; `content`: the result or the error object."""

    raw: bytes
    id: bytes
    result: bool
    content: dict[str, Any]


Message = Request | Notification | Response


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON-RPC batch (MCP 2025-03-26 only). Never empty; no two requests share an id; each element is judged for itself."""

    raw: bytes
    elements: tuple[Message, ...]


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a server's message says on its outside. `id` is None for notifications, and for an error that answers no known request.

    `error_code`: of an error response. `is_error`: `result.isError` is true (a tool's own failure). `result_type`:
    `result.resultType` (2026-07-28: complete, input_required, task, …), None where absent.
    """

    raw: bytes
    kind: Literal["request", "notification", "response"]
    id: bytes | None = None
    method: str | None = None
    error_code: int | None = None
    is_error: bool = False
    result_type: str | None = None


class BatchEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A server's batch: never empty."""

    raw: bytes
    elements: tuple[Envelope, ...]


def parse_client(body: bytes) -> Message | Batch:
    """The message or batch in `body`, which every parser reads alike.

    Raises Malformed: PARSE_ERROR (not JSON, or JSON that can be read in two ways), INVALID_REQUEST (no JSON-RPC message as MCP
    has them), INVALID_PARAMS (`params._meta` is no object). Call it in a thread for more than 64 KB. JSON-RPC 2.0 §4–6.
    """
    value = decode(body)
    if type(value) is dict:
        return _message(value, body)
    if type(value) is not list:
        refuse(Reason.INVALID_REQUEST, "The message is neither an object nor a batch.")
    if not 0 < len(value) <= MAX_BATCH:
        refuse(Reason.INVALID_REQUEST, "A batch holds between 1 and 100 messages.")
    if not all(type(element) is dict for element in value):
        refuse(Reason.INVALID_REQUEST, "A batch holds objects only.")
    raws = _ELEMENTS.decode(body)
    elements = tuple(_message(element, bytes(raw)) for element, raw in zip(value, raws, strict=True))
    _check_batch(elements)
    return Batch(raw=body, elements=elements)


def parse_server(body: bytes) -> Envelope | BatchEnvelope:
    """The envelope of what a server sent; values are skipped, not decoded, and nothing here bounds their depth.

    Raises Malformed(UPSTREAM_INVALID): not UTF-8, not JSON, a top-level key twice or in another case, or no JSON-RPC message.
    """
    native = in_use()
    said = native.result(body) if native is not None else None
    if said is not None:
        return Envelope(raw=body, kind="response", id=said[0], is_error=said[1], result_type=said[2])
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into the texts that it skips
        usual = _usual_result(body)
        if usual is not None:
            return usual
        if body.lstrip(b" \t\r\n")[:1] != b"[":
            return _envelope(body)
        return BatchEnvelope(raw=body, elements=_envelopes(body))
    except (ValueError, RecursionError, msgspec.DecodeError, Malformed):
        # `from None`: the parsers' own errors hold the whole text.
        raise Malformed(
            Reason.UPSTREAM_INVALID, "The server's message is no JSON-RPC, or can be read in two ways."
        ) from None


def readable(body: bytes) -> bytes:
    """`body` with U+FFFD for every half of a surrogate pair that is written alone (`\\ud83d`); equal where there is none.

    JavaScript writes one where a text was cut within an emoji; most parsers read it, msgspec does not. Every other byte keeps its place."""
    return _ESCAPE.sub(lambda escape: _UNKNOWN if escape["half"] else escape[0], body)


def plain_id(token: bytes) -> bytes:
    """The one spelling of the id in a raw id token (as in Request or Envelope): equal for two tokens exactly where they are the same id.
    `"a/b"` is `"a\\/b"`; `1` is not `"1"`."""
    # Looked for as a number: for bytes Python raises and drops an error first, which costs five times as much.
    if b"\\"[0] in token or token[:2] == b"-0":
        return json.dumps(json.loads(token), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return token


def arguments_of(body: bytes) -> bytes:
    """The raw JSON of `params.arguments` in one message, empty where there are none. `body` was parsed strictly before."""
    return bytes(_ASKING.decode(body).params.arguments)


def salvage_id(body: bytes) -> bytes | None:
    """The id under which a refused `body` may be answered, where it plainly has one; else None. Never raises."""
    try:
        return _id(bytes(_IDENTIFIED.decode(body).id)) if _strict_object(body) else None
    except (Malformed, ValueError, RecursionError, msgspec.DecodeError):
        return None


_TOP: Final = reserved("jsonrpc", "id", "method", "params", "result", "error")
_PARAMS: Final = reserved(
    "_meta", "name", "arguments", "uri", "cursor", "ref", "argument", "context", "notifications", "taskId", "task",
    "inputResponses", "requestState", "protocolVersion", "capabilities", "clientInfo", "level",
    "requestId", "reason", "progressToken", "progress", "total",
)  # fmt: skip
_META: Final = reserved(
    "progressToken", "traceparent", "tracestate", "baggage",
    *(f"io.modelcontextprotocol/{name}" for name in (
        "protocolVersion", "clientInfo", "clientCapabilities", "logLevel", "subscriptionId", "related-task", "serverInfo",
    )),
)  # fmt: skip
_INNER: Final = {
    "_meta": _META,
    "ref": reserved("type", "name", "uri"),
    "notifications": reserved(
        "toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"
    ),
}
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_UNKNOWN: Final = rb"\ufffd"
_METHOD = re.compile(r"[!-~]{1,200}")
_SPACE: Final = rb"[ \t\r\n]*+"
_NAMED: Final = _SPACE.join(
    [b'"jsonrpc"', b":", rb'"2\.0"', b",", b'"id"', b":", rb'(0|-?[1-9][0-9]{0,18}|"[ !#-\[\]-~]{0,128}")']
)
_BEGINS = re.compile(_SPACE.join([rb"\{", b"(?:" + _NAMED + _SPACE + b"," + _SPACE + b')?"result"', b":"]))
_ENDS = re.compile(_SPACE.join([b",", _NAMED, rb"\}\Z"]))
_END_BYTES: Final = 256
"""An end with more white space in it is not looked for."""


class _Identified(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()


class _Params(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw()


class _Asking(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()
    params: _Params = msgspec.field(default_factory=_Params)


class _Result(msgspec.Struct, gc=False):
    is_error: msgspec.Raw = msgspec.field(name="isError", default=msgspec.Raw())
    result_type: msgspec.Raw = msgspec.field(name="resultType", default=msgspec.Raw())


class _Error(msgspec.Struct):
    code: int


_IDENTIFIED: Final = msgspec.json.Decoder(_Identified)
_ASKING: Final = msgspec.json.Decoder(_Asking)
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RESULT: Final = msgspec.json.Decoder(_Result)
_ERROR: Final = msgspec.json.Decoder(_Error)
_ID: Final[msgspec.json.Decoder[str | int]] = msgspec.json.Decoder(str | int)
_TEXT: Final = msgspec.json.Decoder(str)


def _message(value: dict[str, Any], raw: bytes) -> Message:
    refuse_lookalikes(value, _TOP)
    if value.get("jsonrpc") != "2.0":
        refuse(Reason.INVALID_REQUEST, 'The member "jsonrpc" must be "2.0".')
    if "method" not in value:
        return _response(value, raw)
    if "result" in value or "error" in value:
        refuse(Reason.INVALID_REQUEST, "A message has either a method or an outcome, never both.")
    method, params = value["method"], value.get("params", {})
    if type(method) is not str or not _METHOD.fullmatch(method):
        refuse(Reason.INVALID_REQUEST, "The method must be a string of visible ASCII characters.")
    if type(params) is not dict:
        refuse(Reason.INVALID_REQUEST, "The params must be an object.")
    _check_params(params)
    if "id" not in value:
        return Notification(raw=raw, method=method, params=params)
    asking = _ASKING.decode(raw)
    return Request(
        raw=raw, id=_id(bytes(asking.id)), method=method, params=params, arguments=bytes(asking.params.arguments)
    )


def _check_params(params: dict[str, Any]) -> None:
    """Look-alikes are refused wherever a decision is taken from: a grant on `ref.name` must not miss `ref.Name`."""
    refuse_lookalikes(params, _PARAMS)
    for name, names in _INNER.items():
        inner = params.get(name)
        if type(inner) is dict:
            refuse_lookalikes(inner, names)
    if type(params.get("_meta", {})) is not dict:
        refuse(Reason.INVALID_PARAMS, "The params' _meta must be an object.")


def _response(value: dict[str, Any], raw: bytes) -> Response:
    if ("result" in value) == ("error" in value):
        refuse(Reason.INVALID_REQUEST, "A message has a method, a result or an error: exactly one.")
    succeeded = "result" in value
    content = value["result"] if succeeded else value["error"]
    if type(content) is not dict:
        refuse(Reason.INVALID_REQUEST, "A result or an error must be an object.")
    if not succeeded and not (type(content.get("code")) is int and type(content.get("message")) is str):
        refuse(Reason.INVALID_REQUEST, "An error has an integer code and a message.")
    if "id" not in value:
        refuse(Reason.INVALID_REQUEST, "A response has an id.")
    return Response(raw=raw, id=_id(bytes(_IDENTIFIED.decode(raw).id)), result=succeeded, content=content)


def _id(token: bytes) -> bytes:
    """`token` where it is a string or an integer in at most 1024 bytes. MCP forbids null; 1.0 and 1 are one id to some."""
    if len(token) > MAX_ID_BYTES or not (token[:1] == b'"' or token.lstrip(b"-").isdigit()):
        refuse(Reason.INVALID_REQUEST, "An id is a string or an integer of at most 1024 bytes.")
    return token


def _check_batch(elements: tuple[Message, ...]) -> None:
    """MCP 2025-03-26, lifecycle: initialize is never in a batch. Two requests with one id would have indistinguishable answers."""
    ids = [_ID.decode(element.id) for element in elements if isinstance(element, Request)]
    if len(set(ids)) != len(ids):
        refuse(Reason.INVALID_REQUEST, "Two requests in one batch have the same id.")
    if any(isinstance(element, Request) and element.method == "initialize" for element in elements):
        refuse(Reason.INVALID_REQUEST, "The request initialize is never part of a batch.")


def _strict_object(body: bytes) -> bool:
    return type(decode(body)) is dict


def _envelopes(body: bytes) -> tuple[Envelope, ...]:
    raws = _ELEMENTS.decode(body)
    if not raws:
        raise ValueError("empty batch")
    return tuple(_envelope(bytes(raw)) for raw in raws)


def _envelope(raw: bytes) -> Envelope:
    """Raises ValueError, DecodeError or Malformed; the caller makes one Malformed of them."""
    members = _MEMBERS.decode(raw)
    _check_members(raw, members)
    version = bytes(members.get("jsonrpc", b""))
    if version != b'"2.0"' and _TEXT.decode(version) != "2.0":
        raise ValueError("jsonrpc")
    token = bytes(members["id"]) if "id" in members else None
    if "method" in members:
        if "result" in members or "error" in members:
            raise ValueError("method and outcome")
        method = _TEXT.decode(members["method"])
        if token is None:
            return Envelope(raw=raw, kind="notification", method=method)
        return Envelope(raw=raw, kind="request", id=_id(token), method=method)
    if ("result" in members) == ("error" in members):
        raise ValueError("no outcome")
    if "error" in members:
        code = _ERROR.decode(members["error"]).code
        answered = None if token in (None, b"null") else _id(token or b"")
        return Envelope(raw=raw, kind="response", id=answered, error_code=code)
    return _succeeded(raw, _id(token or b""), _RESULT.decode(members["result"]))


def _usual_result(body: bytes) -> Envelope | None:
    """What `_envelope` says of a result that is written in one of the two usual orders, in one look at its value. None for all else, and for
    what is no message: that is judged there.

    Exact, because what lies between a beginning and an end that are known byte by byte is one JSON value: the message has these three
    members, each once, and no other. `body` is UTF-8."""
    text = body.strip(b" \t\r\n")
    begins = _BEGINS.match(text)
    if begins is None or text[-1:] != b"}":
        return None
    token, end = begins[1], len(text) - 1
    if token is None:
        ends = _ENDS.search(text, max(begins.end(), end - _END_BYTES))
        if ends is None:
            return None
        token, end = ends[1], ends.start()
    try:
        result = _RESULT.decode(memoryview(text)[begins.end() : end])
    except (ValueError, RecursionError, msgspec.DecodeError):
        return None
    return _succeeded(body, token, result)


def _succeeded(raw: bytes, token: bytes, result: _Result) -> Envelope:
    stated = bytes(result.result_type)
    return Envelope(
        raw=raw,
        kind="response",
        id=token,
        is_error=bytes(result.is_error) == b"true",
        result_type=_TEXT.decode(stated) if stated else None,
    )


def _check_members(raw: bytes, members: dict[str, msgspec.Raw]) -> None:
    """No top-level key stands twice or in another case.

    The walk is spared where it cannot find anything: a second reserved key would need seven bytes (`,"id":0`).
    """
    refuse_lookalikes(members, _TOP)
    if slack(raw, members) >= len(b',"id":0'):
        spans(raw, members)
