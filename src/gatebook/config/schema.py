"""The keys of gatebook.toml: types, ranges, units, defaults, and one sentence each. The reference page is made from this file and from
those of its tables that have a file of their own (`…_schema`).

Units stand in the names: `_s` seconds, `_bytes` bytes. What one key must be is decided here (`values` has the rules); what several keys
together must be, in `resolve`. A key whose default depends on others is None here and says in words what that default is.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gatebook.config import values
from gatebook.config.commands_schema import Runner
from gatebook.config.idps_schema import Idp
from gatebook.config.jobs_schema import Job, Workload
from gatebook.config.kinds import Glob, MethodGlob, Name, Path, RoleName, Text, UriGlob
from gatebook.config.servers_schema import Server
from gatebook.config.table import Table, setting
from gatebook.model.deployment import Disk as DiskModel
from gatebook.model.deployment import Issuer as IssuerModel
from gatebook.model.deployment import Limits as LimitsModel
from gatebook.model.deployment import Traces as TracesModel

_LIMITS = LimitsModel()
_DISK = DiskModel()


class Tls(Table):
    """The certificate that the gate shows to clients. Re-read when the files change."""

    certificate: Path = setting("PEM file: the certificate, then its intermediates.")
    key: Path = setting("PEM file: the certificate's private key, readable by this deployment's user only.")


class Log(Table):
    """The tamper-evident log."""

    origin: Annotated[str, AfterValidator(values.origin)] | None = setting(
        "The log's name in every checkpoint. For ever: another origin is another log.",
        None,
        by_default='`"localhost/dev"` in `dev`; required in `pci`',
    )
    key: Path | None = setting(
        "File with the log's signing key, mode 0600; `gatebook init` makes it.",
        None,
        by_default="`keys/log.skey` under `data_dir`",
    )
    watermark: Path | None = setting(
        "File outside `data_dir`, on another disk or machine, that always holds the newest signed state: by it the sealer notices that the whole"
        " directory was put back to an older copy. Its folder must be there; while it cannot be written, nothing is signed.",
        None,
        by_default="none",
    )
    segment_bytes: int = setting(
        "Size of a writer's durable file; each is allocated whole. Bytes.", 64 << 20, ge=1 << 20, le=1 << 30
    )
    heartbeat_s: float = setting(
        "A heartbeat entry at least this often, so that silence shows. Seconds.", 60.0, ge=1, le=3600
    )


class Payloads(Table):
    """The recordings of message bodies, encrypted to a public key."""

    public_key: Path | None = setting(
        "File with the public half of the payload key. The private half opens recordings and belongs on another machine.",
        None,
        by_default="`payloads.pub` under `data_dir`",
    )


class Disk(Table):
    """How much must stay free on the disks that `data_dir` lies on."""

    warn_free_bytes: int = setting(
        "Below this it is said: on standard error, in the log and by `gatebook doctor`. Bytes.",
        _DISK.warn_free_bytes,
        ge=1 << 20,
    )
    refuse_free_bytes: int = setting(
        "Below this no new call is taken on (`disk_short`), so that what is under way can be recorded and signed; above it, with a tenth more,"
        " calls go on by themselves. Bytes.",
        _DISK.refuse_free_bytes,
        ge=1 << 20,
    )


class Limits(Table):
    """Bounds on what a caller or a server can make the gate hold. Per worker, where not said otherwise."""

    request_bytes: int = setting("Largest request body. Bytes.", _LIMITS.request_bytes, ge=1 << 10, le=64 << 20)
    response_bytes: int = setting(
        "Largest answer or single event of a server. Bytes.", _LIMITS.response_bytes, ge=1 << 10, le=1 << 30
    )
    header_bytes: int = setting(
        "Largest head of a request or an answer. Bytes.", _LIMITS.header_bytes, ge=1 << 10, le=1 << 20
    )
    header_s: float = setting("Time for a client to send its request's head. Seconds.", _LIMITS.header_s, gt=0, le=600)
    body_s: float = setting("Time for a client to send its request's body. Seconds.", _LIMITS.body_s, gt=0, le=3600)
    idle_s: float = setting(
        "Idle time after which a client's connection is closed. Seconds.", _LIMITS.idle_s, gt=0, le=3600
    )
    upstream_connect_s: float = setting(
        "Time to connect to a server. Seconds.", _LIMITS.upstream_connect_s, gt=0, le=300
    )
    upstream_response_s: float = setting(
        "Time until the first byte of a server's answer. Seconds.", _LIMITS.upstream_response_s, gt=0, le=86_400
    )
    stream_idle_s: float = setting(
        "Time without a byte after which a server's stream is cut. Seconds.", _LIMITS.stream_idle_s, gt=0, le=86_400
    )
    drain_s: float = setting("Time that running calls get at SIGTERM. Seconds.", _LIMITS.drain_s, ge=0, le=3600)
    connections: int = setting(
        "Client connections at once. Beyond it quiet ones of the address that has the most are closed. Count.",
        _LIMITS.connections,
        ge=1,
        le=1 << 20,
    )
    calls_per_principal: int = setting(
        "Calls under way at once of one caller, and as many GET streams. Count.",
        _LIMITS.calls_per_principal,
        ge=1,
        le=1 << 16,
    )
    buffered_bytes: int = setting(
        "Message bytes held at once over all connections, and as many of large messages that wait to be judged. Beyond it the address that has sent the most is refused what is not whole yet. Bytes.",
        _LIMITS.buffered_bytes,
        ge=1 << 20,
        le=1 << 40,
    )
    session_idle_s: float = setting(
        "Idle time after which a recording session is closed; the next call opens another. Seconds.",
        _LIMITS.session_idle_s,
        ge=1,
        le=86_400,
    )
    session_absolute_s: float = setting(
        "Age after which a recording session is closed. Seconds.", _LIMITS.session_absolute_s, ge=1, le=604_800
    )


class Issuer(Table):
    """An identity provider whose tokens are accepted."""

    name: Name = setting("What roles and audiences call it. Lower-case letters, digits, `-`.")
    url: Annotated[str, AfterValidator(values.issuer_url)] = setting(
        "The issuer exactly as it stands in `iss`, to the last slash. Keys are found by OIDC discovery below it."
    )
    kind: Literal["person", "job"] = setting("Whom its tokens name: people, or jobs and workloads.")
    token_type: Literal["jwt", "at+jwt"] = setting("The `typ` that its access tokens bear.", "jwt")
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted from it; what its discovery document offers is not asked.",
        list(IssuerModel(name="", url="", kind="person").algorithms),
        min_length=1,
    )
    groups_claim: Text = setting("The claim that lists the groups of a caller.", "groups")
    jwks_file: Path | None = setting(
        "File with its public keys (JWK Set), instead of discovery: for closed networks.", None, by_default="discovery"
    )
    ca_file: Path | None = setting(
        "PEM file: the authorities that may vouch for its host, instead of the system's.",
        None,
        by_default="the system's",
    )
    leeway_s: int = setting("Tolerance for clocks that differ, on `exp`, `nbf` and `iat`. Seconds.", 60, ge=0, le=300)


class Client(Table):
    """An MCP client that is known beforehand. It holds no secret: PKCE and its redirect URIs prove it."""

    client_id: Annotated[str, AfterValidator(values.client_id)] = setting("What it calls itself in OAuth.")
    name: Text = setting("What people read when they are asked for consent.")
    redirect_uris: list[Annotated[str, AfterValidator(values.redirect_uri)]] = setting(
        "Where its users return to. Compared exactly; the port of `http://127.0.0.1`, `http://[::1]` and `http://localhost` may be any.",
        min_length=1,
    )


class Desk(Table):
    """Gatebook as the authorization server of its own servers: MCP clients log in here, people at their `[[idp]]`."""

    listen: list[Annotated[str, AfterValidator(values.listen)]] = setting(
        "Where it listens: `HOST:PORT` or `[IPV6]:PORT`.", min_length=1
    )
    public_url: Annotated[str, AfterValidator(values.public_url)] = setting(
        "Scheme, host and port as browsers and clients see it: its issuer identifier, for ever."
    )
    tls: Tls | None = setting("Its certificate.", None, by_default="none in `dev`; required in `pci`")
    signing_key: Path | None = setting(
        "File with the key that signs access tokens (JWK, ES256), mode 0600; `gatebook init` makes it.",
        None,
        by_default="`keys/desk-signing.jwk` under `data_dir`",
    )
    client_metadata: Literal["known", "fetched"] = setting(
        "Clients that name themselves by a URL: `known` takes those whose documents come with Gatebook, `fetched` also asks that URL.",
        "known",
    )
    registration: bool | None = setting(
        "Whether any program may register itself as a client (RFC 7591); in `dev` only, where the desk listens on loopback.",
        None,
        by_default="true in `dev` where every `listen` is loopback, else false",
    )
    login_s: float = setting(
        "Age after which a login ends and the person logs in again. Seconds.", 28_800.0, ge=300, le=86_400
    )
    idle_s: float = setting(
        "Time without a call after which a grant ends; refreshes do not count. At most 900 in `pci`. Seconds.",
        900.0,
        ge=60,
        le=86_400,
    )
    shared_accounts: Literal["refuse", "mark"] | None = setting(
        "Accounts that are not one person's (`idp.shared`): `refuse` their logins, or only `mark` the entry.",
        None,
        by_default="`refuse` in `pci`, where it cannot be otherwise; `mark` in `dev`",
    )
    provider_grace_s: float = setting(
        "How long tokens are renewed while a provider does not answer whether the person is still there, and with which groups. Seconds.",
        3_600.0,
        ge=0,
        le=86_400,
    )
    payload_key: Path | None = setting(
        "File with the private payload key, with which the desk opens recordings for people of the desk role `recordings`. "
        "Whoever takes over the desk can then open them all.",
        None,
        by_default="none: the desk opens no recording",
    )
    database: Annotated[str, AfterValidator(values.postgresql_url)] | None = setting(
        "PostgreSQL for who is logged in: `postgresql://USER@HOST:PORT/NAME`, or `postgresql://USER@/NAME?host=/FOLDER/OF/SOCKET`. Beyond this "
        "machine always with TLS and the server's name verified; `?sslrootcert=PATH` for an authority of your own.",
        None,
        by_default="none: SQLite in `data_dir`",
    )
    database_password: Annotated[str, AfterValidator(values.secret)] | None = setting(
        "Where that user's password lies: `file:PATH`, `credential:NAME` or `env:NAME`; `literal:VALUE` only in `dev`.",
        None,
        by_default="none: the database knows the user otherwise",
    )


class Metrics(Table):
    """Numbers for Prometheus at `/metrics`, without values of anybody's. Without this table nothing is shown."""

    listen: Annotated[str, AfterValidator(values.listen)] = setting(
        "Where: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`. Beyond loopback only with `tls` and `token`."
    )
    tls: Tls | None = setting("Its certificate.", None, by_default="none; required beyond loopback")
    token: Annotated[str, AfterValidator(values.secret)] | None = setting(
        "Where the token lies that Prometheus brings (`Authorization: Bearer`): `file:PATH` or `env:NAME`; `literal:VALUE` only in `dev`.",
        None,
        by_default="none: whoever can connect may read; required beyond loopback",
    )


class Traces(Table):
    """Spans of calls for an OpenTelemetry collector (OTLP over HTTP), without values of anybody's. Without this table none leaves."""

    endpoint: Annotated[str, AfterValidator(values.collector_url)] = setting(
        "Where spans are posted, as in `https://collector.example.com:4318/v1/traces`. `http` only to loopback."
    )
    share: float = setting(
        "How many of the calls that come without a `traceparent` are told, 0 to 1. Others are told where their caller's flag says so.",
        TracesModel(endpoint="").share,
        ge=0,
        le=1,
    )
    ca_file: Path | None = setting(
        "PEM file: the authorities that may vouch for the collector, instead of the system's.",
        None,
        by_default="the system's",
    )
    token: Annotated[str, AfterValidator(values.secret)] | None = setting(
        "Where the token lies that the collector wants (`Authorization: Bearer`): `file:PATH` or `env:NAME`; `literal:VALUE` only in `dev`.",
        None,
        by_default="none is sent",
    )


class Match(Table):
    """One way to hold a role: everything given must be equal, character by character."""

    issuer: str = setting("The `name` of the issuer, idp or workload; `gatebook` for a `[[job]]`.")
    group: Text | None = setting("A group that the token must name.", None, by_default="any")
    subject: Text | None = setting("The token's `sub`.", None, by_default="any")
    claims: dict[str, str] = setting(
        'Claim → value. Values are strings: booleans compare as "true" and "false", integers in decimal.',
        {},
        by_default="any",
    )


class Allow(Table):
    """What a role may do on one server. Any of these implies the connection itself and lists, filtered to what is granted."""

    server: str = setting("The server's `name`.")
    tools: list[Glob] = setting("Globs over tool names.", [])
    resources: list[UriGlob] = setting("Globs over resource URIs, as the caller writes them.", [])
    prompts: list[Glob] = setting("Globs over prompt names.", [])
    methods: list[MethodGlob] = setting("Globs over methods of MCP extensions, such as `vendor/*`.", [])


class Role(Table):
    """Who may do what. Roles add up; what no role grants is denied."""

    name: RoleName = setting("Its name in records. Letters, digits, `.`, `_`, `-`.")
    match: list[Match] = setting("Who holds it: any one of these.")
    allow: list[Allow] = setting("What its holders may do.")


class DeskRole(Table):
    """Who may do what at the desk itself, beyond logging in. None of these implies another."""

    role: Literal["admin", "approver", "auditor", "recordings"] = setting(
        "`admin`: sees and revokes grants. `auditor`: reads entries and proofs. `recordings`: opens recordings. `approver`: has nothing to do yet."
    )
    match: list[Match] = setting("Who holds it: any one of these, by `group` or `subject` of an idp.")
    mfa: Literal["proven"] | None = setting(
        "`proven`: held only after a login by several factors, as `idp.mfa` knows them; what is only declared is not enough. Nothing turns it "
        "off in `pci`.",
        None,
        by_default="`proven` in `pci`, any login in `dev`",
    )


Account = Annotated[str, AfterValidator(values.account)]


class Users(Table):
    """A user of the system for each room, so that a flaw in one cannot reach the others' files. A name or a number, with `:GROUP` where it is not
    the user's own. No two may be the same. Without this table all rooms run as whoever starts them."""

    supervisor: Account = setting("Who starts the rooms: root, or a user who may change into the others.", "root")
    gate: Account = setting("The workers of the gate: they face the network.")
    sealer: Account = setting("The sealer: the only one who reads the log key.")
    desk: Account = setting("The desk: where people log in; the only one who reads the keys of tokens.")
    runner: Account | None = setting(
        "The runner, and every server that it starts.", None, by_default="none; required where a server is a command"
    )
    meter: Account | None = setting(
        "Who shows the numbers of `[metrics]`.", None, by_default="none; required where there is `[metrics]`"
    )


class File(Table):
    """gatebook.toml."""

    profile: Literal["pci", "dev"] = setting(
        "`pci`: nothing that protects can be turned off. `dev`: http, loopback issuers and literal secrets are allowed, and it is said loudly.",
        "pci",
    )
    public_url: Annotated[str, AfterValidator(values.public_url)] | None = setting(
        "Scheme, host and port as clients see them. A plain string, never normalised, without a slash at its end.",
        None,
        by_default="the first of `listen` in `dev`; required in `pci`",
    )
    listen: list[Annotated[str, AfterValidator(values.listen)]] | None = setting(
        "Where the gate listens: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.",
        None,
        by_default='`["127.0.0.1:8080"]` in `dev`; required in `pci`',
        min_length=1,
    )
    workers: int = setting("Processes that serve calls; one per core is right. Count.", 2, ge=1, le=64)
    data_dir: Path | None = setting(
        "Directory of the records, the log and the recordings.", None, by_default="`data` in `dev`; required in `pci`"
    )
    allowed_origins: list[Annotated[str, AfterValidator(values.web_origin)]] = setting(
        "Web origins (`https://host`) whose pages may call. Anything else that sends `Origin` is refused.", []
    )
    trusted_proxies: list[Annotated[str, AfterValidator(values.network)]] = setting(
        "Addresses or networks (CIDR) whose word on where a call or a login comes from is believed (`X-Forwarded-For`).",
        [],
    )
    tls: Tls | None = setting(
        "The gate's certificate.", None, by_default="none in `dev`; required in `pci` unless every `listen` is `unix:`"
    )
    log: Log = setting("The log.", Log(), by_default="as its keys say")
    payloads: Payloads = setting("The recordings.", Payloads(), by_default="as its keys say")
    disk: Disk = setting("The disk budget.", Disk(), by_default="as its keys say")
    limits: Limits = setting("The limits.", Limits(), by_default="as its keys say")
    runner: Runner = setting("Servers that are commands.", Runner(), by_default="as its keys say")
    issuer: list[Issuer] = setting("Identity providers whose tokens are accepted as they are.", [])
    desk: Desk | None = setting(
        "The authorization server.", None, by_default="none: callers bring tokens of an `[[issuer]]`"
    )
    metrics: Metrics | None = setting("Numbers for Prometheus.", None, by_default="none are shown")
    traces: Traces | None = setting("Spans for OpenTelemetry.", None, by_default="none leave")
    idp: list[Idp] = setting("Identity providers where people log in through the desk.", [])
    client: list[Client] = setting("MCP clients known beforehand.", [])
    workload: list[Workload] = setting("CI systems and clusters whose jobs may come.", [])
    job: list[Job] = setting("Jobs with a key of their own.", [])
    server: list[Server] = setting("Protected servers.", [])
    role: list[Role] = setting("Who may do what.", [])
    desk_role: list[DeskRole] = setting("Who may do what at the desk itself.", [])
    users: Users | None = setting("A user for each room.", None, by_default="none: all rooms run as one user")
