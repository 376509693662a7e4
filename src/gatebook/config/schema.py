"""The keys of gatebook.toml: types, ranges, units, defaults, and one sentence each. The reference page is made from this file.

Units stand in the names: `_s` seconds, `_bytes` bytes. What one key must be is decided here (`values` has the rules); what several keys
together must be, in `resolve`. A key whose default depends on others is None here and says in words what that default is.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from gatebook.config import values
from gatebook.model.deployment import Issuer as IssuerModel
from gatebook.model.deployment import Limits as LimitsModel

_LIMITS = LimitsModel()

Glob = Annotated[str, AfterValidator(values.glob)]
UriGlob = Annotated[str, AfterValidator(values.uri_glob)]
MethodGlob = Annotated[str, AfterValidator(values.method_glob)]
Path = Annotated[str, AfterValidator(values.path)]
RoleName = Annotated[str, AfterValidator(values.role_name)]
Name = Annotated[str, AfterValidator(values.server_name)]
Text = Annotated[str, AfterValidator(values.text)]


def setting(description: str, default: Any = ..., *, by_default: str | None = None, **constraints: Any) -> Any:
    """One key: its sentence, its default, and `by_default`: the default in words where it depends on other keys."""
    extra: JsonDict | None = {"by_default": by_default} if by_default else None
    if isinstance(default, (list, dict)):
        return Field(
            default_factory=lambda: type(default)(default),
            description=description,
            json_schema_extra=extra,
            **constraints,
        )
    return Field(default, description=description, json_schema_extra=extra, **constraints)


class Table(BaseModel):
    """A table of the file. Unknown keys are refused; nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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
    connections: int = setting("Client connections at once. Count.", _LIMITS.connections, ge=1, le=1 << 20)
    calls_per_principal: int = setting(
        "Calls under way at once of one caller, and as many GET streams. Count.",
        _LIMITS.calls_per_principal,
        ge=1,
        le=1 << 16,
    )
    buffered_bytes: int = setting(
        "Message bytes held at once over all connections, and as many of large messages that wait to be judged. Bytes.",
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


class Credential(Table):
    """The credential that is put into requests to this server. Callers never see it."""

    header: Annotated[str, AfterValidator(values.header)] = setting("The header that carries it.", "Authorization")
    value: Annotated[str, AfterValidator(values.template)] = setting(
        "The header's value, in which `{secret}` stands for the secret.", "Bearer {secret}"
    )
    secret: Annotated[str, AfterValidator(values.secret)] = setting(
        "Where the secret lies: `file:PATH` (re-read on change, a trailing newline is cut) or `env:NAME`. "
        "`literal:VALUE` only in `dev`."
    )


class ToolRule(Table):
    """Exceptions for some tools of one server. The first rule that matches a tool counts."""

    match: list[Glob] = setting("Globs over the tools' names (`*` stops at `/`, `**` does not).", min_length=1)
    record: Literal["masked", "shape"] | None = setting("As on the server.", None, by_default="the server's")
    card_numbers: Literal["refuse", "mask", "allow"] | None = setting(
        "As on the server.", None, by_default="the server's"
    )


class Server(Table):
    """A protected MCP server, served at `public_url/NAME/mcp`."""

    name: Name = setting(
        "Its name in URLs, roles and records. Lower-case letters, digits, `-`; not one of the reserved "
        + ", ".join(f"`{name}`" for name in sorted(values.RESERVED))
        + "."
    )
    url: Annotated[str, AfterValidator(values.server_url)] = setting(
        "Where it listens: `https://…`, `unix:/path/to.sock:/mcp`, and in `dev` `http://…`. Never followed elsewhere."
    )
    ca_file: Path | None = setting(
        "PEM file: the authorities that may vouch for it, instead of the system's.", None, by_default="the system's"
    )
    client_certificate: Path | None = setting("PEM file: the certificate shown to it (mTLS).", None, by_default="none")
    client_key: Path | None = setting("PEM file: the private key of `client_certificate`.", None, by_default="none")
    audience: dict[str, Annotated[str, AfterValidator(values.text)]] = setting(
        "Issuer → the exact `aud` that its tokens must hold for this server. Two servers never share one of an issuer.",
        {},
        by_default="for every issuer the server's own resource URL, `public_url/NAME/mcp`",
    )
    credential: Credential | None = setting(
        "The credential injected into its requests.", None, by_default="none is injected"
    )
    record: Literal["masked", "shape"] = setting(
        "What recordings keep: `masked` bodies, or their `shape` (names, types, counts; no values).", "masked"
    )
    card_numbers: Literal["refuse", "mask", "allow"] = setting(
        "Card numbers in arguments: `refuse` the call, `mask` them before they are sent, or `allow` them (for payment tools; "
        "the recording stays masked).",
        "refuse",
    )
    tool: list[ToolRule] = setting("Exceptions per tool.", [])


class Match(Table):
    """One way to hold a role: everything given must be equal, character by character."""

    issuer: str = setting("The issuer's `name`.")
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
        "Addresses or networks (CIDR) whose word on a call's origin is believed (`X-Forwarded-For`).", []
    )
    tls: Tls | None = setting(
        "The gate's certificate.", None, by_default="none in `dev`; required in `pci` unless every `listen` is `unix:`"
    )
    log: Log = setting("The log.", Log(), by_default="as its keys say")
    payloads: Payloads = setting("The recordings.", Payloads(), by_default="as its keys say")
    limits: Limits = setting("The limits.", Limits(), by_default="as its keys say")
    issuer: list[Issuer] = setting("Identity providers.", [])
    server: list[Server] = setting("Protected servers.", [])
    role: list[Role] = setting("Who may do what.", [])
