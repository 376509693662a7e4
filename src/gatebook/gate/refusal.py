"""One table: reason → HTTP status, JSON-RPC code and the words the caller sees.

The words are the same whether or not the object exists, so a denied caller learns nothing. Codes of our own are positive: the range
-32768…-32000 belongs to JSON-RPC and MCP; where the spec fixes a code for a condition, that code is used.
"""

from typing import NamedTuple

from gatebook.model.errors import Reason
from gatebook.model.http import Headers, Reply
from gatebook.wire import build


class Wording(NamedTuple):
    status: int
    code: int
    words: str


TABLE: dict[Reason, Wording] = {
    Reason.NOT_FOUND: Wording(404, 1404, "There is nothing at this address."),
    Reason.METHOD_NOT_ALLOWED: Wording(405, 1405, "This HTTP method is not used here."),
    Reason.TOO_LARGE: Wording(413, 1413, "The request is larger than this gate accepts."),
    Reason.UNSUPPORTED_MEDIA_TYPE: Wording(415, 1415, "Content-Type must be application/json."),
    Reason.NOT_ACCEPTABLE: Wording(406, 1406, "Accept must name application/json and text/event-stream (for GET: text/event-stream)."),
    Reason.BAD_REQUEST: Wording(400, -32600, "The HTTP request is malformed."),
    Reason.ORIGIN_FORBIDDEN: Wording(403, 1403, "This origin may not call here."),
    Reason.HOST_FORBIDDEN: Wording(403, 1403, "This host name is not served here."),
    Reason.TOO_MANY_CALLS: Wording(429, 1429, "Too many calls of this caller are under way; try again shortly."),
    Reason.OVERLOADED: Wording(503, 1503, "The gate is at its limit; try again shortly."),
    Reason.DRAINING: Wording(503, 1503, "The gate is being restarted; try again shortly."),
    Reason.CREDENTIAL_MISSING: Wording(401, 1401, "Authentication is required: send a bearer token."),
    Reason.CREDENTIAL_MALFORMED: Wording(400, 1400, "The Authorization header is malformed: send exactly one bearer token."),
    Reason.TOKEN_INVALID: Wording(401, 1401, "The token is not valid here."),
    Reason.TOKEN_EXPIRED: Wording(401, 1401, "The token has expired."),
    Reason.TOKEN_NOT_YET_VALID: Wording(401, 1401, "The token is not valid yet."),
    Reason.TOKEN_AUDIENCE: Wording(401, 1401, "The token was not issued for this server."),
    Reason.TOKEN_ISSUER: Wording(401, 1401, "The token's issuer is not accepted here."),
    Reason.TOKEN_ALGORITHM: Wording(401, 1401, "The token is not valid here."),
    Reason.TOKEN_TYPE: Wording(401, 1401, "The token is of another type than this gate accepts."),
    Reason.TOKEN_KEY_UNKNOWN: Wording(401, 1401, "The token is not valid here."),
    Reason.TOKEN_CLAIMS: Wording(401, 1401, "The token's claims are not acceptable."),
    Reason.KEYS_UNAVAILABLE: Wording(503, 1503, "The issuer's keys are not available at the moment."),
    Reason.LOGIN_REVOKED: Wording(401, 1401, "The login was ended; log in again."),
    Reason.INSUFFICIENT_SCOPE: Wording(403, 1403, "This needs a fresh login by several factors; authorise again."),
    Reason.PARSE_ERROR: Wording(400, -32700, "Parse error."),
    Reason.INVALID_REQUEST: Wording(400, -32600, "Invalid request."),
    Reason.INVALID_PARAMS: Wording(400, -32602, "Invalid params."),
    Reason.BATCH_FORBIDDEN: Wording(400, -32600, "Batches exist in protocol revision 2025-03-26 only."),
    Reason.HEADER_MISMATCH: Wording(400, -32020, "Header mismatch."),
    Reason.UNSUPPORTED_VERSION: Wording(400, -32022, "Unsupported protocol version."),
    Reason.METHOD_UNKNOWN: Wording(200, -32601, "Method not found."),
    Reason.SESSION_UNKNOWN: Wording(404, -32001, "Session not found."),
    Reason.DENIED: Wording(200, 1, "Not permitted for this caller."),
    Reason.CARD_NUMBER_IN_ARGUMENTS: Wording(200, 2, "Refused: the arguments hold what looks like cardholder data."),
    Reason.MASK_IN_ARGUMENTS: Wording(200, 3, "Refused: the arguments hold a masked value of ours, which would overwrite good data."),
    Reason.TOOL_QUARANTINED: Wording(200, 5, "Refused: this tool is not as it was when the operator looked at it."),
    Reason.INSPECTION_FAILED: Wording(200, 4, "Refused: the message could not be inspected."),
    Reason.UPSTREAM_UNREACHABLE: Wording(502, 10, "The server behind the gate cannot be reached."),
    Reason.UPSTREAM_TIMEOUT: Wording(504, 11, "The server behind the gate did not answer in time; whether it acted is unknown."),
    Reason.UPSTREAM_BROKEN: Wording(502, 12, "The server behind the gate broke off; whether it acted is unknown."),
    Reason.UPSTREAM_INVALID: Wording(502, 13, "The server behind the gate answered with something that is no MCP message."),
    Reason.UPSTREAM_TOO_LARGE: Wording(502, 14, "The server's answer is larger than this gate lets through."),
    Reason.UPSTREAM_REDIRECT: Wording(502, 15, "The server behind the gate redirected; the gate follows no redirect."),
    Reason.UPSTREAM_REFUSED_CREDENTIAL: Wording(502, 16, "The server behind the gate refused the gate's credential; the operator must look."),
    Reason.CREDENTIAL_UNAVAILABLE: Wording(503, 17, "The server's credential is not available; the operator must look."),
    Reason.CANCELLED: Wording(499, 18, "Cancelled."),
    Reason.LEDGER_UNAVAILABLE: Wording(503, 20, "The gate cannot record at the moment, so it lets nothing through; try again shortly."),
    Reason.DISK_SHORT: Wording(503, 23, "The gate's disk is nearly full, so it takes on no new call; the operator must look."),
    Reason.CLOCK_UNSYNCHRONISED: Wording(503, 22, "The gate's clock is not synchronised, so it lets nothing through; the operator must look."),
    Reason.INTERNAL: Wording(500, 21, "The gate failed on this message; nothing was let through."),
}  # fmt: skip

AFTER_SENDING: dict[Reason, Wording] = {
    Reason.INSPECTION_FAILED: Wording(502, 4, "The server's answer could not be inspected and was withheld; the server may have acted."),
    Reason.LEDGER_UNAVAILABLE: Wording(502, 20, "The outcome could not be recorded, so the answer was withheld; the server may have acted."),
    Reason.INTERNAL: Wording(502, 21, "The gate failed on the server's answer and withheld it; the server may have acted."),
}  # fmt: skip
"""The same reasons once the request was on its way: whoever reads "nothing was let through" there would refund twice."""

JSON: Headers = ((b"content-type", b"application/json"),)


class Refused(Exception):
    """A message that may not pass, with the reason. `words` overrides the table's where more may be said (a JSON pointer, never a value).

    `allow`: the methods that are used there, where this one is not (RFC 9110 §15.5.6: a 405 lists them)."""

    def __init__(
        self,
        reason: Reason,
        words: str | None = None,
        *,
        data: dict[str, object] | None = None,
        wording: Wording | None = None,
        allow: bytes | None = None,
    ) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.wording = wording or TABLE[reason]
        self.words = words or self.wording.words
        self.data = data or {}
        self.allow = allow


def challenges(reason: Reason) -> bool:
    """Whether the refusal tells the client how to get a token that counts: RFC 6750 §3, also for a malformed one (400)."""
    return TABLE[reason].status == 401 or reason is Reason.CREDENTIAL_MALFORMED


def after_sending(refused: Refused) -> Refused:
    """The refusal in the words, status and code that hold once the request may have reached the server."""
    if refused.reason in AFTER_SENDING:
        return Refused(refused.reason, data={**refused.data, "acted": "unknown"}, wording=AFTER_SENDING[refused.reason])
    return refused


def reply(
    refused: Refused, message_id: bytes | None, *, call: str | None = None, headers: Headers = (), modern: bool = False
) -> Reply:
    """The refusal as an HTTP answer: a JSON-RPC error with the request's id (raw JSON token; None where it could not be read)."""
    status = 404 if refused.reason is Reason.METHOD_UNKNOWN and modern else refused.wording.status
    later = ((b"retry-after", b"5"),) if status == 503 else ()
    allowed = ((b"allow", refused.allow),) if refused.allow is not None else ()
    return Reply(
        status=status, headers=(*JSON, *later, *allowed, *headers), body=error_body(refused, message_id, call=call)
    )


def error_body(refused: Refused, message_id: bytes | None, *, call: str | None = None) -> bytes:
    """The JSON-RPC error alone, for an SSE event or an element of a batch."""
    data: dict[str, object] = {"reason": str(refused.reason), **refused.data}
    if call is not None:
        data["call"] = call
    return build.error(message_id, refused.wording.code, refused.words, data)
