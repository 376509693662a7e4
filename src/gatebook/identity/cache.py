"""Verified tokens, remembered: the signature check costs a hundred times the look-up."""

from hashlib import sha256

from gatebook.identity.tokens import Judged, Verifier
from gatebook.model.bounded import Bounded
from gatebook.model.deployment import Server, Snapshot
from gatebook.model.principal import Principal

CAPACITY = 10_000


class CachedVerifier:
    """Answers as `Verifier` does, by one snapshot; a new snapshot (new keys, new roles) means a new one, so that nothing outlives its keys.

    Keyed by the SHA-256 of the token and the server's name: no token is kept. Only successes are, at most `capacity`, the oldest going
    first; a success holds until the token's `exp` or until its keys are too old, whichever is first. Beyond `exp`, within the issuer's
    leeway, every call is verified anew. Refusals are not remembered: a flood of bad tokens must not push out the good ones.
    """

    def __init__(self, snapshot: Snapshot, *, capacity: int = CAPACITY) -> None:
        self._verifier = Verifier(snapshot)
        self._judged = Bounded[tuple[bytes, str], Judged](capacity)
        self.verified = 0
        """How often a token was verified in earnest, good or bad."""

    def __len__(self) -> int:
        """How many successes are remembered."""
        return len(self._judged)

    def verify(self, token: str, server: Server, now_s: float) -> Principal:
        """Who the bearer of `token` is at `server`, at `now_s` (seconds since the epoch). Raises TokenRefused."""
        return self.judge(token, server, now_s).principal

    def judge(self, token: str, server: Server, now_s: float) -> Judged:
        """As `verify`, with how long the answer holds."""
        key = (sha256(token.encode("utf-8", "surrogatepass")).digest(), server.name)
        judged = self._judged.get(key)
        if judged is not None and now_s < judged.good_until:
            return judged
        self._judged.pop(key, None)
        self.verified += 1
        judged = self._verifier.judge(token, server, now_s)
        if now_s < judged.good_until:
            self._judged.keep(key, judged)
        return judged
