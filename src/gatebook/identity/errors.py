"""The two refusals of this package."""

from gatebook.model.errors import CallerError, GatebookError, Reason


class TokenRefused(CallerError):
    """The credential proves nobody. `words` may be shown to the caller and never hold a byte of the token.

    `issuer`: name of the configured issuer that the token *claims* to be of, once that much is known; unverified unless the reason can only
    come after the signature. With TOKEN_KEY_UNKNOWN it says whose keys are worth fetching again.
    """

    def __init__(self, reason: Reason, words: str, *, issuer: str | None = None) -> None:
        super().__init__(reason, words)
        self.issuer = issuer


class KeySetRefused(GatebookError):
    """A key set, or the way to it, that must not be believed. The text is for the operator; what was believed before stays so."""
