"""What a person can do about a refusal: a sentence or two for each cause that a page shows. The operator's half stands in docs/howto/login.md."""

from typing import Final

from gatebook.federation.errors import Cause

_AGAIN = "Start the login again from your program."
_OPERATOR = "Give the id below to your operator, who can see the whole reason."
_UPDATE = "Update the program. If that does not help, give the id below to your operator."

MENDS: Final[dict[Cause, str]] = {
    Cause.CLIENT_UNKNOWN: "Ask your operator to make this program known: a [[client]] table with its id and its redirect URI.",
    Cause.CLIENT_DOCUMENT: "Try again in a minute. " + _OPERATOR,
    Cause.REDIRECT_MISMATCH: "If you trust this program, ask your operator to add the address that it returns to.",
    Cause.REQUEST_INVALID: _UPDATE,
    Cause.PKCE_REQUIRED: "This program logs in by an older, unsafe way. " + _UPDATE,
    Cause.RESOURCE_INVALID: "Check the server's URL in your program, to the last character.",
    Cause.SCOPE_INVALID: _UPDATE,
    Cause.TOO_MANY: "Wait a minute, then start again from your program.",
    Cause.STATE_UNKNOWN: _AGAIN + " A login must be done within ten minutes, and each page counts once.",
    Cause.BROWSER_OTHER: _AGAIN + " Stay in the browser that it opens, and allow cookies for this address.",
    Cause.PROVIDER_MIXED_UP: _AGAIN + " If this page comes again, tell your operator: somebody may be meddling.",
    Cause.PROVIDER_REFUSED: "Perhaps you cancelled, or your account may not use Gatebook. Start again, or give the id below to your operator.",
    Cause.PROVIDER_UNREACHABLE: "Try again in a few minutes. " + _OPERATOR,
    Cause.ID_TOKEN_INVALID: _OPERATOR,
    Cause.NONCE_WRONG: _AGAIN + " If this page comes again, tell your operator: somebody may be meddling.",
    Cause.PERSON_UNCLEAR: _OPERATOR,
    Cause.PERSON_FOREIGN: "Log out at the identity provider, then log in with the account of this organisation.",
    Cause.APPLICATION: "Log in with an account of your own.",
    Cause.CONSENT_FORGED: _AGAIN,
    Cause.FORM_FORGED: "Open the page again and use its buttons.",
}


def mend_of(cause: Cause) -> str:
    """What to do, in words for the person; the operator's help for a cause that has none of its own."""
    return MENDS.get(cause, _OPERATOR)
