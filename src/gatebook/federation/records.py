"""The nouns of a login, as the store keeps them. Secrets are not among them: codes, tokens and browser secrets are known by their SHA-256."""

import hashlib

import msgspec

from gatebook.model.principal import Evidence


def hashed(secret: str) -> str:
    """What is stored instead of a code, a token or a browser's secret: SHA-256, hex. They all hold 256 bits of chance, so no salt is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A human, known by (issuer URL of the identity provider, immutable id there). `label` is for display alone and a key to nothing."""

    issuer: str
    subject: str
    label: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has proven itself. `run`: which run of it, prefixed with what that is (`run_id:`, `job_id:`, `pod:`, `jti:`). `acting_for`: the
    human behind it as its issuer names him, or its registered owner (`owned`). `claims`: what roles and entries may use, strings as they came."""

    run: str
    acting_for: str
    owned: bool
    claims: dict[str, str]


class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    """What one login at a provider proved. `groups_left_out`: the provider sent none, or not all of them, because there were too many:
    then `groups` is empty. `mfa`: proven by evidence, declared by the operator, or none."""

    person: Person
    idp: str
    groups: tuple[str, ...] = ()
    groups_left_out: bool = False
    evidence: Evidence = Evidence()
    mfa: str = "none"
    read_at: float | None = None
    """When the provider last said so, where that was after the login."""
    shared: str = ""
    """What makes this look like an account of several people or of a system, in words; empty where nothing does."""
    job: Job | None = None
    """For a job: then `person` holds its issuer and its subject there, and `idp` the name of its workload."""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """An authorization request under way. `handle_hash`: of the handle that travels as `state`; `sealed`: the request itself, which only the
    browser that began it can open (`binding`)."""

    handle_hash: str
    sealed: bytes
    idp: str | None
    expires_at: float


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A person's login at the desk, from which grants to clients are made. `browser_hash`: of the session cookie of the browser."""

    id: str
    seen: LoggedIn
    browser_hash: str
    created_at: float
    expires_at: float
    revoked_at: float | None = None


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """An authorization code, by its hash; good once, until `expires_at`, for one client, one redirect URI and one server."""

    code_hash: str
    login_id: str
    client_id: str
    client_name: str
    redirect_uri: str
    server: str
    resource: str
    scope: str
    code_challenge: str
    expires_at: float
    grant_sid: str | None = None
    """The grant that was made of it: then it has been used."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may do at one server for one person under one login; `sid` stands in its tokens, and revoking it ends them."""

    sid: str
    login_id: str
    client_id: str
    client_name: str
    server: str
    resource: str
    scope: str
    created_at: float
    expires_at: float
    revoked_at: float | None = None
    revoked_why: str | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One refresh token of a grant: its number (from 0), its hash, and when it was first used to get its successor."""

    sid: str
    number: int
    token_hash: str
    used_at: float | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """What a person agreed to. `what`: fingerprint of everything the page said (`consent.fingerprint`)."""

    issuer: str
    subject: str
    client_id: str
    server: str
    what: str
    given_at: float


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A client that registered itself (RFC 7591). `used_at`: None until somebody logs in with it."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    created_at: float
    used_at: float | None = None
