"""What can go wrong, as a tree. Two questions decide the branch: whose fault, and may one try again?

GatebookError
├── CallerError            the caller's fault; trying again unchanged is useless
│   └── Malformed          bytes that two parsers could read differently, or that are no MCP message
├── UpstreamError          the server's fault; `sent` says whether the request may have been executed
├── LedgerUnavailable      ours: nothing can be recorded, so nothing may be sent or answered; trying later may help
└── ConfigurationError     the operator's; a list of problems, each with what, where and how to mend it
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused or failed: for machines, for the record, and the key of `gate.refusal`'s table."""

    # transport
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ACCEPTABLE = "not_acceptable"
    BAD_REQUEST = "bad_request"
    ORIGIN_FORBIDDEN = "origin_forbidden"
    HOST_FORBIDDEN = "host_forbidden"
    TOO_MANY_CALLS = "too_many_calls"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    # identity
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_MALFORMED = "credential_malformed"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_AUDIENCE = "token_audience"
    TOKEN_ISSUER = "token_issuer"
    TOKEN_ALGORITHM = "token_algorithm"
    TOKEN_TYPE = "token_type"
    TOKEN_KEY_UNKNOWN = "token_key_unknown"
    TOKEN_CLAIMS = "token_claims"
    KEYS_UNAVAILABLE = "keys_unavailable"
    LOGIN_REVOKED = "login_revoked"
    LOGIN_REFUSED = "login_refused"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    # message
    PARSE_ERROR = "parse_error"
    INVALID_REQUEST = "invalid_request"
    INVALID_PARAMS = "invalid_params"
    BATCH_FORBIDDEN = "batch_forbidden"
    HEADER_MISMATCH = "header_mismatch"
    UNSUPPORTED_VERSION = "unsupported_version"
    METHOD_UNKNOWN = "method_unknown"
    SESSION_UNKNOWN = "session_unknown"
    # policy and inspection
    PERMITTED = "permitted"
    DENIED = "denied"
    CARD_NUMBER_IN_ARGUMENTS = "card_number_in_arguments"
    MASK_IN_ARGUMENTS = "mask_in_arguments"
    TOOL_QUARANTINED = "tool_quarantined"
    INSPECTION_FAILED = "inspection_failed"
    # upstream
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_INVALID = "upstream_invalid"
    UPSTREAM_TOO_LARGE = "upstream_too_large"
    UPSTREAM_REDIRECT = "upstream_redirect"
    UPSTREAM_REFUSED_CREDENTIAL = "upstream_refused_credential"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"
    # outcomes
    COMPLETED = "completed"
    ERROR_RESULT = "error_result"
    TOOL_ERROR = "tool_error"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    # ours
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    DISK_SHORT = "disk_short"
    CLOCK_UNSYNCHRONISED = "clock_unsynchronised"
    INTERNAL = "internal"


class GatebookError(Exception):
    """The root. Its text may be shown to an operator and never holds a secret, a token or a card number."""


class CallerError(GatebookError):
    """The caller's fault. `words` may be shown to the caller."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(f"{reason}: {words}")
        self.reason = reason
        self.words = words


class Malformed(CallerError):
    """Bytes that are no MCP message, or that two parsers could read differently."""


class UpstreamError(GatebookError):
    """The server failed. `sent` is True where the request may have reached it: then the outcome is unknown and nothing is retried."""

    def __init__(self, reason: Reason, words: str, *, sent: bool) -> None:
        super().__init__(f"{reason}: {words}")
        self.reason = reason
        self.words = words
        self.sent = sent


class LedgerUnavailable(GatebookError):
    """Nothing can be recorded now. Nothing may be sent upstream and nothing answered but this."""


class ConfigurationError(GatebookError):
    """The configuration cannot be used. `problems`: each says what, where and how to mend it."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
