"""Who calls."""

from typing import Literal

import msgspec

Kind = Literal["person", "job"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the issuer says about how the person logged in, as the token had it. `auth_time`: seconds since the epoch, UTC."""

    amr: tuple[str, ...] = ()
    acr: str | None = None
    auth_time: int | None = None


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A caller whose token was verified.

    The person key is (issuer URL, subject): never an e-mail address or a name. `agent` is the client program as the token
    names it (`azp` or `client_id`). `login` tells one login or job run from the next: `sid`, else the run id, else `jti`, else
    `auth_time`, else `iat`, prefixed with its claim's name. `expires_at`: seconds since the epoch.
    """

    kind: Kind
    issuer: str
    issuer_name: str
    subject: str
    agent: str | None
    login: str
    groups: frozenset[str]
    claims: dict[str, str]
    """Top-level claims that some role or the record may use: strings as they are, booleans as "true"/"false", integers in decimal."""
    evidence: Evidence
    expires_at: float
    scopes: frozenset[str] = frozenset()
    sid: str | None = None
    """The grant of our own authorization server behind the token, which can be revoked; None for tokens of other issuers."""
    acting_for: str | None = None
    """For jobs: the human behind the run (`actor_id`, `user_id`), as the issuer names them."""
