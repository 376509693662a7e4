"""The protocol's revisions as data, and which one a message is written in.

"Modern" and "legacy" are the specification's own words (2026-07-28, basic/versioning): modern revisions carry their version in
every request, legacy ones agree on it in `initialize`.
"""

import re
from typing import Final, Literal, get_args

import msgspec

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.wire.headers import OWS
from gatebook.wire.jsonrpc import Batch, Message, Response

Era = Literal["legacy", "modern"]

VERSION_HEADER: Final = b"mcp-protocol-version"
VERSION_META: Final = "io.modelcontextprotocol/protocolVersion"


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One revision. `batches`: a body may be an array."""

    name: str
    era: Era
    batches: bool = False


REVISIONS: Final[dict[str, Revision]] = {
    revision.name: revision
    for revision in (
        # 2024-11-05 has no Streamable HTTP; a client that agreed on it over Streamable HTTP still names it in its header.
        Revision(name="2024-11-05", era="legacy"),
        Revision(name="2025-03-26", era="legacy", batches=True),
        Revision(name="2025-06-18", era="legacy"),
        Revision(name="2025-11-25", era="legacy"),
        Revision(name="2026-07-28", era="modern"),
    )
}  # fmt: skip

ASSUMED: Final = REVISIONS["2025-03-26"]
"""What a request without the header is (2025-06-18, basic/transports, protocol version header)."""

NAMES_OF_ERA: Final[dict[Era, tuple[str, ...]]] = {
    era: tuple(name for name, revision in REVISIONS.items() if revision.era == era) for era in get_args(Era)
}

MODERN: Final = tuple(name for name, revision in REVISIONS.items() if revision.era == "modern")
"""What an UnsupportedProtocolVersionError lists as supported."""

_VERSION: Final = re.compile("[!-~]{1,40}")
_DIGIT: Final = re.compile("[0-9]")
_MODERN: Final = REVISIONS["2026-07-28"]


def revision_of(headers: Headers, message: Message | Batch | None) -> Revision:
    """The revision by whose rules this request is read; `message` is None where there is no body (GET, DELETE).

    Modern as soon as header *or* body says so: `check_mirrored` then refuses the pair that does not agree, so that no request
    is judged by one era's rules and served by the other's. Raises Malformed: UNSUPPORTED_VERSION for a version we do not know
    (`requested_version` tells which), HEADER_MISMATCH where the header stands twice, INVALID_PARAMS where the body's version is
    no string.
    """
    header = _header(headers)
    stated = _stated(message)
    if header in MODERN or any(version in MODERN for version in stated):
        return _MODERN
    unknown = [version for version in stated if version not in REVISIONS]
    if unknown or (header is not None and header not in REVISIONS):
        raise Malformed(Reason.UNSUPPORTED_VERSION, "This protocol version is not supported.")
    return ASSUMED if header is None else REVISIONS[header]


def era_of(headers: Headers, message: Message | Batch | None) -> Era:
    """The era of `revision_of`. Raises as it does."""
    return revision_of(headers, message).era


def requested_version(headers: Headers, message: Message | Batch | None) -> str | None:
    """The version a request asks for, for the error's `data.requested`. None where it says none, or says what no version looks
    like: more than 40 characters, other than visible ASCII, or so many digits that it could be a card number."""
    stated = _stated(message)
    asked = stated[0] if stated else _header(headers)
    return asked if asked is not None and _VERSION.fullmatch(asked) and len(_DIGIT.findall(asked)) <= 10 else None


def declares_modern(message: Message | Batch | None) -> bool:
    """Whether the body carries a protocol version of its own, as modern requests do: then -32022 is the right refusal."""
    return bool(_stated(message))


def _header(headers: Headers) -> str | None:
    values = [value for name, value in headers if name == VERSION_HEADER]
    if len(values) > 1:
        raise Malformed(Reason.HEADER_MISMATCH, "The header MCP-Protocol-Version stands twice.")
    return values[0].strip(OWS).decode("latin-1") if values else None


def _stated(message: Message | Batch | None) -> tuple[str, ...]:
    """The versions that the body states in `_meta`: none, one, or for a batch one for each element that states one."""
    if message is None or isinstance(message, Response):
        return ()
    if isinstance(message, Batch):
        return tuple(version for element in message.elements for version in _stated(element))
    meta = message.params.get("_meta")
    if type(meta) is not dict or VERSION_META not in meta:
        return ()
    version = meta[VERSION_META]
    if type(version) is not str:
        raise Malformed(Reason.INVALID_PARAMS, f"The value of {VERSION_META} must be a string.")
    return (version,)
