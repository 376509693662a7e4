"""A compiled configuration: what `config` makes of gatebook.toml and a call is judged by."""

from typing import Literal

import msgspec

Profile = Literal["pci", "dev"]
Recording = Literal["masked", "shape"]
CardNumbers = Literal["refuse", "mask", "allow"]
TokenType = Literal["jwt", "at+jwt"]


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer whose tokens are accepted. `url` compares exactly, byte for byte. Exactly one of discovery (`jwks_file is None`) or file."""

    name: str
    url: str
    kind: Literal["person", "job"]
    token_type: TokenType = "jwt"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA")
    groups_claim: str = "groups"
    jwks_file: str | None = None
    ca_file: str | None = None
    leeway_s: int = 60


class SecretReference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a credential lies, never what it is: `scheme` "file" or "env"; "literal" only in the dev profile (then `locator` is the value)."""

    scheme: Literal["file", "env", "literal"]
    locator: str

    def __repr__(self) -> str:
        return f"SecretReference({self.scheme}:{'***' if self.scheme == 'literal' else self.locator})"


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What is injected: header `header` with `template`, in which `{secret}` stands for the secret."""

    header: str
    template: str
    secret: SecretReference


class ToolRule(msgspec.Struct, frozen=True, kw_only=True):
    """Exceptions for the tools of one server that match `tools` (globs; the first matching rule wins)."""

    tools: tuple[str, ...]
    record: Recording | None = None
    card_numbers: CardNumbers | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A protected MCP server. `resource` is its canonical URI as clients see it (public_url + "/" + name + "/mcp").

    `url`: http, https or `unix:/path/to.sock:/mcp`. `audiences`: issuer name → the exact `aud` a token of that issuer must hold.
    """

    name: str
    url: str
    resource: str
    audiences: dict[str, str]
    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    credential: Credential | None = None
    record: Recording = "masked"
    card_numbers: CardNumbers = "refuse"
    tool_rules: tuple[ToolRule, ...] = ()


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One way to hold a role: all conditions given must hold. At least one of group, subject or claims is given."""

    issuer: str
    group: str | None = None
    subject: str | None = None
    claims: dict[str, str] = {}


class Allow(msgspec.Struct, frozen=True, kw_only=True):
    """What a role may do on one server; globs over raw strings (`*` stops at `/`, `**` does not)."""

    server: str
    tools: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


class Role(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    match: tuple[Match, ...]
    allow: tuple[Allow, ...]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds, per worker where not said otherwise. `_s`: seconds, `_bytes`: bytes."""

    request_bytes: int = 1 << 20
    response_bytes: int = 16 << 20
    header_bytes: int = 32 << 10
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    upstream_connect_s: float = 5.0
    upstream_response_s: float = 120.0
    stream_idle_s: float = 300.0
    drain_s: float = 30.0
    connections: int = 4096
    calls_per_principal: int = 64
    buffered_bytes: int = 256 << 20
    session_idle_s: float = 900.0
    session_absolute_s: float = 28_800.0


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One whole configuration, checked and with defaults filled in. Paths are absolute."""

    profile: Profile
    public_url: str
    listen: tuple[str, ...]
    workers: int
    data_dir: str
    origin: str
    """The log's origin line (C2SP tlog-checkpoint): for ever."""
    log_key: str
    """Path of the log's private key (signed-note signer form)."""
    payload_public_key: str
    tls_certificate: str | None = None
    tls_key: str | None = None
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    segment_bytes: int = 64 << 20
    heartbeat_s: float = 60.0
    limits: Limits = Limits()
    issuers: tuple[Issuer, ...] = ()
    servers: tuple[Server, ...] = ()
    roles: tuple[Role, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What one call is judged by: exactly one of these, whole. `number` grows by one with each activation.

    `config_sha256`: hex digest of the configuration file's bytes, as kept by hash and named in every entry.
    `key_sets`: issuer name → its public keys as the JSON text of a JWK Set (RFC 7517), with the time they were fetched
    (seconds since the epoch); an issuer without a usable set is absent, and its tokens are refused.
    """

    number: int
    config_sha256: str
    deployment: Deployment
    key_sets: "dict[str, KeySet]" = {}


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    jwks: str
    fetched_at: float
