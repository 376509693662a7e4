"""The refusals of this package: why a login, a client or a request is not accepted."""

from enum import StrEnum

from gatebook.model.errors import CallerError, GatebookError, Reason


class Cause(StrEnum):
    """Why the desk refused: for the entry's `cause`, for pages and for tests. The entry's `reason` is the class, this is the case."""

    # the client and its request
    CLIENT_UNKNOWN = "client_unknown"
    CLIENT_DOCUMENT = "client_document"
    REDIRECT_MISMATCH = "redirect_mismatch"
    REQUEST_INVALID = "request_invalid"
    PKCE_REQUIRED = "pkce_required"
    RESOURCE_INVALID = "resource_invalid"
    SCOPE_INVALID = "scope_invalid"
    REGISTRATION_CLOSED = "registration_closed"
    REGISTRATION_INVALID = "registration_invalid"
    TOO_MANY = "too_many"
    # the login at the provider
    STATE_UNKNOWN = "state_unknown"
    BROWSER_OTHER = "browser_other"
    PROVIDER_MIXED_UP = "provider_mixed_up"
    PROVIDER_REFUSED = "provider_refused"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    ID_TOKEN_INVALID = "id_token_invalid"
    NONCE_WRONG = "nonce_wrong"
    SAML_MALFORMED = "saml_malformed"
    SAML_WRAPPED = "saml_wrapped"
    SAML_ALGORITHM = "saml_algorithm"
    SAML_SIGNATURE = "saml_signature"
    SAML_ISSUER = "saml_issuer"
    SAML_FOR_OTHER = "saml_for_other"
    SAML_UNASKED = "saml_unasked"
    SAML_TIME = "saml_time"
    SAML_REPLAYED = "saml_replayed"
    PERSON_UNCLEAR = "person_unclear"
    PERSON_FOREIGN = "person_foreign"
    APPLICATION = "application"
    SHARED_ACCOUNT = "shared_account"
    MFA_MISSING = "mfa_missing"
    # consent
    CONSENT_DENIED = "consent_denied"
    CONSENT_FORGED = "consent_forged"
    FORM_FORGED = "form_forged"
    # the grant
    CODE_UNKNOWN = "code_unknown"
    CODE_REUSED = "code_reused"
    CODE_EXPIRED = "code_expired"
    CODE_MISMATCH = "code_mismatch"
    REFRESH_UNKNOWN = "refresh_unknown"
    REFRESH_REUSED = "refresh_reused"
    GRANT_REVOKED = "grant_revoked"
    GRANT_EXPIRED = "grant_expired"
    GRANT_IDLE = "grant_idle"
    PROVIDER_ENDED = "provider_ended"
    GRANT_MISMATCH = "grant_mismatch"
    # jobs
    SUBJECT_TOKEN_TYPE = "subject_token_type"
    JOB_TOKEN_INVALID = "job_token_invalid"
    JOB_KEYS_UNAVAILABLE = "job_keys_unavailable"
    JOB_TOKEN_AUDIENCE = "job_token_audience"
    JOB_TOKEN_EXPIRED = "job_token_expired"
    JOB_TOKEN_REPLAYED = "job_token_replayed"
    JOB_CLAIMS = "job_claims"
    JOB_EVENT = "job_event"
    JOB_UNMATCHED = "job_unmatched"
    JOB_NOBODY = "job_nobody"
    JOB_NO_ROLE = "job_no_role"
    RUN_OVER = "run_over"
    RUN_ENDED = "run_ended"


class LoginRefused(CallerError):
    """Somebody or something may not log in. `words` are for the person; `hint` is for the operator. Neither holds a token or a secret."""

    def __init__(self, cause: Cause, words: str, *, hint: str = "") -> None:
        super().__init__(Reason.LOGIN_REFUSED, words)
        self.cause = cause
        self.hint = hint


class StoreUnavailable(GatebookError):
    """The desk's store cannot be read or written. Nothing was issued; trying later may help."""


class PersonGone(GatebookError):
    """The provider says that this login counts no more: the person was disabled or left, or must log in there again."""


class ProviderFailed(GatebookError):
    """An identity provider, or a client's metadata URL, gave nothing that may be used. The text is for the operator; trying again may help."""
