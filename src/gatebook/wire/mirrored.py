"""The headers that repeat the body: MCP 2026-07-28, basic/transports/streamable-http, request metadata (SEP-2243).

The body is the truth; a header that says otherwise would let a router and a server act on two different requests.
"""

import base64
import binascii
import contextlib
from typing import Final, NoReturn

import msgspec

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.wire.headers import MCP_PARAM, OWS
from gatebook.wire.jsonrpc import Message, Notification, Request
from gatebook.wire.methods import METHODS, target
from gatebook.wire.revisions import VERSION_META

MAX_WRAPPINGS: Final = 4

_PREFIX: Final = b"=?base64?"
_SUFFIX: Final = b"?="
_VISIBLE: Final = frozenset(range(0x20, 0x7F)) | {0x09}


class Stated(msgspec.Struct, frozen=True):
    """What the headers that repeat the body say, each as often as it stands there: raw values of `Mcp-Name`, texts of the others."""

    versions: tuple[str, ...]
    methods: tuple[str, ...]
    names: tuple[bytes, ...]
    name: str | None
    """What `Mcp-Name` stands for, where it stands once and can be read."""


def stated(headers: Headers) -> Stated:
    """Only Mcp-Name and Mcp-Param-* may be wrapped; a wrapped method or version is just another text. Never raises."""
    versions, methods, names = (
        tuple(value for key, value in headers if key == name)
        for name in (b"mcp-protocol-version", b"mcp-method", b"mcp-name")
    )
    name: str | None = None
    if len(names) == 1:
        with contextlib.suppress(Malformed):
            name = decoded(names[0])
    return Stated(tuple(map(_plain, versions)), tuple(map(_plain, methods)), names, name)


def check_mirrored(headers: Stated, message: Message) -> None:
    """The mirrored headers say what the body says; nothing is returned.

    `MCP-Protocol-Version` always, `Mcp-Method` on requests, `Mcp-Name` where the method has one (§Standard Request Headers;
    tasks extension §Routing Headers). None stands twice. For notifications, whose headers the revision does not define, what is
    there must agree. `Mcp-Param-*` needs the tool's schema: see `param_values`.
    Raises Malformed: HEADER_MISMATCH, INVALID_PARAMS where the body lacks what a header would repeat, INVALID_REQUEST for a
    response (a modern client sends none).
    """
    if not isinstance(message, Request | Notification):
        raise Malformed(Reason.INVALID_REQUEST, "A client sends no responses in this protocol version.")
    required = isinstance(message, Request)
    meta = message.params.get("_meta")
    version = meta.get(VERSION_META) if type(meta) is dict else None
    if required and version is None:
        raise Malformed(Reason.INVALID_PARAMS, f"The request's _meta lacks {VERSION_META}.")
    if required or version is not None:
        _agree(headers.versions, "mcp-protocol-version", version, required=True)
    _agree(headers.methods, "mcp-method", message.method, required=required)
    _check_name(headers, message, required=required)


def param_values(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The `Mcp-Param-*` headers as (name after the prefix, decoded value), for inspection; what goes on stays as it came.

    A value that is itself wrapped comes once for each wrapping taken off, so that nothing hides in a second layer.
    Raises Malformed(HEADER_MISMATCH): a name twice or empty, signs that no header may hold, a wrapping that cannot be undone,
    more than four wrappings.
    """
    found: list[tuple[str, str]] = []
    seen: set[bytes] = set()
    for name, value in headers:
        if not name.startswith(MCP_PARAM):
            continue
        if name in seen or name == MCP_PARAM:
            _mismatch("A header Mcp-Param stands twice or has no name.")
        seen.add(name)
        label = name[len(MCP_PARAM) :].decode("latin-1")
        found.extend((label, layer) for layer in _layers(value))
    return tuple(found)


def name_values(headers: Headers) -> tuple[str, ...]:
    """The texts of `Mcp-Name`, for inspection: as many for each as there are wrappings to take off, as in `param_values`. Methods that we do not
    know have names, too, which nobody compares. Raises Malformed(HEADER_MISMATCH), as that does for values."""
    return tuple(layer for name, value in headers if name == b"mcp-name" for layer in _layers(value))


def decoded(value: bytes) -> str:
    """The text that a header value stands for: as it is, or unwrapped from `=?base64?…?=` exactly once (§Value Encoding).

    Raises Malformed(HEADER_MISMATCH): bytes outside visible ASCII, space and tab; base64 that is not canonical; text that is
    not UTF-8; the markers in other letter case, which a lenient reader would unwrap.
    """
    value = value.strip(OWS)
    if not _VISIBLE.issuperset(value):
        _mismatch("A header value has characters that no header may hold.")
    if not _wrapped(value.lower()):
        return value.decode("ascii")
    if not value.startswith(_PREFIX):
        _mismatch("A header value has a misspelt base64 marker.")
    payload = value[len(_PREFIX) : -len(_SUFFIX)]
    try:
        plain = base64.b64decode(payload, validate=True)
        text = plain.decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Malformed(Reason.HEADER_MISMATCH, "A header value is not base64 of UTF-8.") from None
    if base64.b64encode(plain) != payload:
        _mismatch("A header value is not canonical base64.")
    return text


def _check_name(headers: Stated, message: Request | Notification, *, required: bool) -> None:
    known = METHODS.get(message.method)
    if known is None:
        # An extension may give its own methods a name; what it repeats is not ours to know.
        return
    if known.mirrored is None:
        if headers.names:
            _mismatch("The header Mcp-Name repeats nothing in this method's body.")
        return
    expected = target(message.method, message.params).name
    if headers.name is not None:
        names: tuple[str, ...] = (headers.name,)
    elif len(headers.names) == 1:
        names = (decoded(headers.names[0]),)  # raises: it cannot be read
    else:
        names = ("",) * len(headers.names)
    _agree(names, "mcp-name", expected, required=required)


def _agree(values: tuple[str, ...], title: str, expected: object, *, required: bool) -> None:
    """Header values are case-sensitive (§Case Sensitivity); compared after decoding, in code points."""
    if len(values) > 1:
        _mismatch(f"The header {title} stands twice.")
    if not values:
        if required:
            _mismatch(f"The header {title} is missing.")
        return
    if values[0] != expected:
        _mismatch(f"The header {title} does not say what the body says.")


def _plain(value: bytes) -> str:
    return value.strip(OWS).decode("latin-1")


def _layers(value: bytes) -> tuple[str, ...]:
    layers = [decoded(value)]
    while _wrapped(layers[-1].strip().lower().encode()):
        if len(layers) == MAX_WRAPPINGS:
            _mismatch("A header value is wrapped too often.")
        try:
            layers.append(decoded(layers[-1].strip().encode()))
        except Malformed:
            # Inside a wrapping the markers are plain text, and text need not be decodable.
            break
    return tuple(layers)


def _wrapped(value: bytes) -> bool:
    return len(value) >= len(_PREFIX) + len(_SUFFIX) and value.startswith(_PREFIX) and value.endswith(_SUFFIX)


def _mismatch(words: str) -> NoReturn:
    raise Malformed(Reason.HEADER_MISMATCH, words)
