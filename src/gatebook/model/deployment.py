"""A compiled configuration: what `config` makes of gatebook.toml and a call is judged by."""

from typing import Literal

import msgspec

from gatebook.model.users import Users
from gatebook.model.workload import RegisteredJob, Workload

Profile = Literal["pci", "dev"]
Recording = Literal["masked", "shape"]
CardNumbers = Literal["refuse", "mask", "allow"]
TokenType = Literal["jwt", "at+jwt"]
Preset = Literal["okta", "entra", "google", "keycloak", "auth0", "generic"]

DESK_ISSUER = "gatebook"
"""The name of our own authorization server among the issuers; no issuer and no idp of a configuration may bear it."""

SOCKETS = "run/runner"
"""Under `data_dir`: where the runner listens, one socket for each server that is a command."""

RESTORING = ".restoring"
"""Lies in a data directory while a restore works on it, and after one that was broken off."""


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer whose tokens are accepted. `url` compares exactly, byte for byte. Exactly one of discovery (`jwks_file is None`) or file."""

    name: str
    url: str
    kind: Literal["person", "job", "desk"]
    """desk: our own authorization server, whose tokens say themselves whom they name and who vouches for that."""
    token_type: TokenType = "jwt"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA")
    groups_claim: str = "groups"
    jwks_file: str | None = None
    ca_file: str | None = None
    leeway_s: int = 60


class SecretReference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a credential lies, never what it is: `scheme` "file", "env" or "credential" (of systemd); "literal" only in the dev profile (then `locator` is the value)."""

    scheme: Literal["file", "env", "credential", "literal"]
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
    mfa: Literal["proven"] | None = None
    """Whether the caller's login must be proven to be multi-factor."""
    mfa_max_age_s: float | None = None
    """How old that login may be; None: as old as it is."""


class Evidences(msgspec.Struct, frozen=True, kw_only=True):
    """What of a login counts as multi-factor at one identity provider: one of these `amr` values, or one of these `acr` values.
    `declared`: the operator's word that the provider lets nobody in without; shown as declared, never as proven."""

    amr: tuple[str, ...] = ()
    acr: tuple[str, ...] = ()
    declared: bool = False


class SharedMarks(msgspec.Struct, frozen=True, kw_only=True):
    """What tells that an account is not one person's. `names`: what stands before the `@` of an address or user name, in any case, `*` at the
    end for whatever follows; `groups`: one is enough; `claims`: claim → value as text, one is enough."""

    names: tuple[str, ...] = (
        "admin", "administrator", "guest", "helpdesk", "noc", "no-reply", "noreply", "oncall", "ops", "operations", "root", "service",
        "service-*", "shared", "shared-*", "svc", "svc-*", "system", "team", "team-*",
    )  # fmt: skip
    groups: tuple[str, ...] = ()
    claims: dict[str, str] = {}


class SamlSide(msgspec.Struct, frozen=True, kw_only=True):
    """What is laid down of a provider that speaks SAML 2.0. Paths are absolute. Its address and certificates come from `metadata`, or from
    `sso_url` and `certificates`."""

    metadata: str | None = None
    metadata_url: str | None = None
    """Where `gatebook saml-metadata` fetches it, when an operator says so; nothing else does."""
    sso_url: str | None = None
    certificates: tuple[str, ...] = ()
    subject: str | None = None
    """The attribute that names a person for good, or NameID; None: the preset's."""
    groups: str | None = None
    name_id: Literal["persistent", "unspecified"] | None = None
    key: str | None = None
    """Path of our private key (PEM, RSA): requests are signed with it and encrypted assertions opened."""
    certificate: str | None = None


class IdentityProvider(msgspec.Struct, frozen=True, kw_only=True):
    """Where people log in when the desk is an authorization server. `url`: its issuer (SAML: its entity id), byte for byte. `name`: what roles
    call it. `saml`: there exactly where it speaks SAML 2.0; else it speaks OpenID Connect."""

    name: str
    url: str
    saml: SamlSide | None = None
    preset: Preset = "generic"
    client_id: str = ""
    client_secret: SecretReference | None = None
    groups_claim: str = "groups"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    scopes_written: bool = False
    """Whether the operator wrote them; else they are the preset's, less what the provider says that it does not know."""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA")
    mfa: Evidences = Evidences()
    domain: str | None = None
    """Google: the Workspace domain (`hd`) whose accounts may come."""
    ca_file: str | None = None
    leeway_s: int = 60
    shared: SharedMarks = SharedMarks()


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP client that the operator vouches for. Public: it holds no secret and proves itself by PKCE and its redirect URIs."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """Our own authorization server. `public_url` is its issuer identifier: a plain string, the same bytes everywhere."""

    listen: tuple[str, ...]
    public_url: str
    tls_certificate: str | None = None
    tls_key: str | None = None
    signing_key: str
    """Path of the private key (JWK, ES256) that signs access tokens."""
    public_keys: str
    """Path of its public half (JWK Set), which the gate reads."""
    client_metadata: Literal["known", "fetched"] = "known"
    """Clients that name themselves by a URL (CIMD): only those whose documents come with Gatebook, or also what is fetched from that URL."""
    registration: bool = False
    """Whether any program may register itself (RFC 7591). In the dev profile only."""
    login_s: float = 28_800.0
    idle_s: float = 900.0
    """Without a call for so long, a grant ends."""
    provider_grace_s: float = 3_600.0
    """How long a provider that does not answer is believed."""
    shared: Literal["refuse", "mark"] = "refuse"
    """What becomes of an account that is not one person's."""
    payload_key: str | None = None
    """Path of the private payload key. None: the desk opens no recording."""
    database: str | None = None
    """URL of a PostgreSQL database as libpq reads it, without a password. None: SQLite under `data_dir`."""
    database_password: SecretReference | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A server that is a program: the runner starts it and speaks stdio to it. `argv[0]` is looked for in PATH. Paths are absolute.

    `secrets`: variable → what it holds; `secret_files`: variable → what stands in the private file that it names."""

    argv: tuple[str, ...]
    directory: str | None = None
    environment: dict[str, str] = {}
    secrets: dict[str, SecretReference] = {}
    secret_files: dict[str, SecretReference] = {}
    processes: Literal["session", "shared"] = "session"
    network: bool = False
    writable: tuple[str, ...] = ()
    sandbox: Literal["required", "available"] = "required"
    memory_bytes: int = 2 << 30
    cpu_s: int = 3_600
    files: int = 1_024
    tasks: int = 256
    start_s: float = 30.0
    idle_s: float = 900.0


class Runner(msgspec.Struct, frozen=True, kw_only=True):
    """What all servers that are commands may take together."""

    processes: int = 40


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Where numbers are shown to Prometheus. Beyond this machine always with certificate and token."""

    listen: str
    tls_certificate: str | None = None
    tls_key: str | None = None
    token: SecretReference | None = None


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go (OTLP over HTTP, protobuf). `share`: of the calls that came without a trace of their own."""

    endpoint: str
    share: float = 0.01
    ca_file: str | None = None
    token: SecretReference | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A protected MCP server. `resource` is its canonical URI as clients see it (public_url + "/" + name + "/mcp").

    `url`: http, https or `unix:/path/to.sock:/mcp`; of a command the runner's own socket. `audiences`: issuer name → the exact `aud` a token of that issuer must hold.
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
    command: Command | None = None
    pins_file: str | None = None
    pins: dict[str, tuple[str, ...]] | None = None
    """Tool → the digests of its definition that are accepted (hex); a tool that is not among them is none. None: nothing is pinned."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One way to hold a role: all conditions given must hold. At least one of group, subject or claims is given."""

    issuer: str
    group: str | None = None
    subject: str | None = None
    claims: dict[str, str] = {}


DeskRoleName = Literal["admin", "approver", "auditor", "recordings"]
"""What people may do at the desk itself. None implies another."""


class DeskRole(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a role at the desk: any one of these, by group or subject."""

    role: DeskRoleName
    match: tuple[Match, ...]
    mfa: Literal["proven"] | None = None
    """Whether it is held only after a login that was proven to be multi-factor."""


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


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """How much must be free where the deployment writes: below `warn_free_bytes` it is said, below `refuse_free_bytes` no call is taken on."""

    warn_free_bytes: int = 5 << 30
    refuse_free_bytes: int = 256 << 20


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
    watermark: str | None = None
    """Path outside `data_dir` where the newest signed state is kept, so that an older copy of the whole directory is noticed."""
    segment_bytes: int = 64 << 20
    heartbeat_s: float = 60.0
    limits: Limits = Limits()
    disk: Disk = Disk()
    runner: Runner = Runner()
    issuers: tuple[Issuer, ...] = ()
    servers: tuple[Server, ...] = ()
    roles: tuple[Role, ...] = ()
    desk: Desk | None = None
    """None: there is no authorization server; people come with tokens of their own providers."""
    idps: tuple[IdentityProvider, ...] = ()
    clients: tuple[Client, ...] = ()
    workloads: tuple[Workload, ...] = ()
    jobs: tuple[RegisteredJob, ...] = ()
    desk_roles: tuple[DeskRole, ...] = ()
    users: Users | None = None
    """None: all rooms run as whoever started them."""
    metrics: Metrics | None = None
    """None: nothing is shown to anybody."""
    traces: Traces | None = None
    """None: no span leaves."""


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Which logins of our own authorization server count no more. It travels apart from the snapshot: a revocation empties no cache.

    `number` grows with each; `revoked`: the `sid` of every grant that was revoked while a token of it may still be good."""

    number: int
    revoked: frozenset[str] = frozenset()


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
