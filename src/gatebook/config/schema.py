"""The keys of gatebook.toml: types, ranges, units, defaults, and one sentence each. The reference page is made from this file.

Units stand in the names: `_s` seconds, `_bytes` bytes. What one key must be is decided here (`values` has the rules); what several keys
together must be, in `resolve`. A key whose default depends on others is None here and says in words what that default is.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gatebook.config import values
from gatebook.config.commands_schema import Argument, Run, Runner
from gatebook.config.table import Table, setting
from gatebook.model.deployment import Disk as DiskModel
from gatebook.model.deployment import Issuer as IssuerModel
from gatebook.model.deployment import Limits as LimitsModel
from gatebook.model.deployment import SharedMarks as SharedModel
from gatebook.model.deployment import Traces as TracesModel
from gatebook.model.workload import RegisteredJob

_LIMITS = LimitsModel()
_DISK = DiskModel()

Glob = Annotated[str, AfterValidator(values.glob)]
UriGlob = Annotated[str, AfterValidator(values.uri_glob)]
MethodGlob = Annotated[str, AfterValidator(values.method_glob)]
Path = Annotated[str, AfterValidator(values.path)]
RoleName = Annotated[str, AfterValidator(values.role_name)]
Name = Annotated[str, AfterValidator(values.server_name)]
Text = Annotated[str, AfterValidator(values.text)]


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


class Mfa(Table):
    """What of a login at this provider counts as multi-factor. Without any, nothing does."""

    amr: list[Text] = setting(
        "Values of `amr` (RFC 8176), in SAML of Entra ID's `authnmethodsreferences`, one of which is enough.", []
    )
    acr: list[Text] = setting("Values of `acr`, in SAML of AuthnContextClassRef, one of which is enough.", [])
    declared: bool = setting("The provider lets nobody in without it. Shown as declared, not as proven.", False)


class Shared(Table):
    """What tells that an account is not one person's: shared, system and service accounts."""

    names: list[Text] = setting(
        "What stands before the `@` of `email`, `preferred_username` or `upn`, in any case; `*` at the end for whatever follows.",
        list(SharedModel().names),
    )
    groups: list[Text] = setting("Groups of such accounts.", [])
    claims: dict[str, str] = setting('Claim → value, as in `match`; `{ is_shared = "true" }`.', {}, by_default="none")


class Saml(Table):
    """What is laid down of a provider of kind `saml`. Read when the gate starts and at SIGHUP; nothing is fetched meanwhile."""

    metadata: Path | None = setting(
        "File with its metadata (XML): where people log in, and its signing certificates, several while keys roll over.",
        None,
        by_default="`sso_url` and `certificates` say it",
    )
    metadata_url: Annotated[str, AfterValidator(values.https_url)] | None = setting(
        "Where `gatebook saml-metadata` fetches `metadata` when somebody types that command.", None, by_default="none"
    )
    sso_url: Annotated[str, AfterValidator(values.web_url)] | None = setting(
        "Its single sign-on service by HTTP-Redirect, instead of `metadata`.", None, by_default="as in `metadata`"
    )
    certificates: list[Path] = setting(
        "PEM files: its signing certificates, instead of those in `metadata`. Any of them is believed.",
        [],
        by_default="those in `metadata`",
    )
    subject: Text | None = setting(
        "The attribute that names a person for good, or `NameID`.",
        None,
        by_default="the preset's: Okta `id`, Entra ID its object id, else `NameID`",
    )
    groups: Text | None = setting(
        "The attribute that lists a person's groups, one value for each.",
        None,
        by_default="the preset's: `groups`, for Entra ID and Auth0 their URI",
    )
    name_id: Literal["persistent", "unspecified"] | None = setting(
        "The format of NameID that is asked for.", None, by_default="none is asked for"
    )
    key: Path | None = setting(
        "PEM file: our private key (RSA), mode 0600. With it requests are signed and encrypted assertions opened.",
        None,
        by_default="none: unsigned requests, no encryption",
    )
    certificate: Path | None = setting("PEM file: the certificate of `key`, for our metadata.", None, by_default="none")


class Idp(Table):
    """Where people log in, by OpenID Connect or SAML 2.0, when `[desk]` is an authorization server."""

    name: Name = setting("What roles call it (`issuer` of a match). Lower-case letters, digits, `-`.")
    kind: Literal["oidc", "saml"] = setting("The protocol: OpenID Connect, or SAML 2.0.", "oidc")
    preset: Literal["okta", "entra", "google", "keycloak", "auth0", "generic"] = setting(
        "Whose ways to expect: which claim names a person, how missing groups show, what is asked for.", "generic"
    )
    url: Annotated[str, AfterValidator(values.provider_id)] = setting(
        "Its issuer, exactly as its discovery document says, to the last slash; of a `saml` provider its entity id."
    )
    saml: Saml | None = setting(
        "What is known of a `saml` provider.", None, by_default="required where `kind` is `saml`"
    )
    client_id: Text | None = setting(
        "Gatebook's client id at this provider.", None, by_default="required where `kind` is `oidc`"
    )
    client_secret: Annotated[str, AfterValidator(values.secret)] | None = setting(
        "Where Gatebook's client secret lies: `file:PATH`, `credential:NAME` or `env:NAME`; `literal:VALUE` only in `dev`.",
        None,
        by_default="none: a public client, by PKCE alone",
    )
    groups_claim: Text = setting("The claim that lists a person's groups.", "groups")
    scopes: list[Text] | None = setting(
        "What is asked of it, exactly so.",
        None,
        by_default="the preset's: `openid profile email`, for Okta also `groups`, for all but Google and Keycloak also `offline_access`, less that where its discovery document lists scopes without it",
        min_length=1,
    )
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted for its ID tokens; what its discovery document offers is not asked.",
        list(IssuerModel(name="", url="", kind="person").algorithms),
        min_length=1,
    )
    mfa: Mfa = setting("What counts as multi-factor.", Mfa(), by_default="nothing does")
    shared: Shared = setting("Accounts that are not one person's.", Shared(), by_default="as its keys say")
    domain: Text | None = setting(
        "Google: the Workspace domain whose accounts may come; required there.", None, by_default="none"
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


class Workload(Table):
    """An issuer of job tokens (a CI system, a cluster), and which of its jobs may exchange them at the desk for access tokens."""

    name: Name = setting("What roles call it (`issuer` of a match). Lower-case letters, digits, `-`.")
    preset: Literal["github", "gitlab", "kubernetes", "generic"] = setting(
        "Whose claims to expect: what names a run and the human behind it, what a match must bind, what may start a job.",
        "generic",
    )
    url: Annotated[str, AfterValidator(values.issuer_url)] | None = setting(
        "The issuer exactly as it stands in `iss`, to the last slash.",
        None,
        by_default="`github`: `https://token.actions.githubusercontent.com`; `gitlab`: `https://gitlab.com`; else required",
    )
    audience: Text | None = setting(
        "The exact `aud` that its tokens must hold, and nothing beside it.", None, by_default="`desk.public_url`"
    )
    match: list[dict[str, Text]] = setting(
        'Which jobs may come: claim → value, every claim of one of these tables. Values and claims are strings (`"true"`, ids too); nothing else '
        "equals them. For `kubernetes` the claims are `namespace`, `serviceaccount`, `serviceaccount_uid`, `pod`, `pod_uid`.",
        min_length=1,
    )
    events: list[Text] | None = setting(
        "What may have started a job (GitHub `event_name`, GitLab `pipeline_source`). `pull_request` and its like let outsiders start one.",
        None,
        by_default="`github`: `push`, `release`, `schedule`, `workflow_dispatch`; `gitlab`: `push`, `schedule`, `web`",
        min_length=1,
    )
    owner: Text | None = setting(
        "Who answers for a job behind which its token names no human; recorded as `acting_for`.",
        None,
        by_default="such jobs are refused; required for `kubernetes` and `generic`",
    )
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted from it.",
        list(IssuerModel(name="", url="", kind="job").algorithms),
        min_length=1,
    )
    jwks_file: Path | None = setting(
        "File with its public keys (JWK Set), instead of discovery: for clusters that the desk cannot reach.",
        None,
        by_default="discovery",
    )
    ca_file: Path | None = setting(
        "PEM file: the authorities that may vouch for its host, instead of the system's.",
        None,
        by_default="the system's",
    )
    leeway_s: int = setting("Tolerance for clocks that differ, on `exp`, `nbf` and `iat`. Seconds.", 60, ge=0, le=300)


class Job(Table):
    """A job that proves itself with a key of its own (`private_key_jwt`): cron, Jenkins. Roles call its issuer `gatebook`, and it the `subject`."""

    name: Name = setting("Its `client_id`, and the subject in roles and records. Lower-case letters, digits, `-`.")
    owner: Text = setting("Who answers for it; recorded as `acting_for`.")
    public_key: Path = setting(
        "File with its public key: PEM (then `kid` is the job's name), or a JWK Set. Re-read when it changes."
    )
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted from it.",
        list(RegisteredJob(name="", owner="", public_key="").algorithms),
        min_length=1,
    )


class Credential(Table):
    """The credential that is put into requests to this server. Callers never see it."""

    header: Annotated[str, AfterValidator(values.header)] = setting("The header that carries it.", "Authorization")
    value: Annotated[str, AfterValidator(values.template)] = setting(
        "The header's value, in which `{secret}` stands for the secret.", "Bearer {secret}"
    )
    secret: Annotated[str, AfterValidator(values.secret)] = setting(
        "Where the secret lies: `file:PATH` (re-read on change, a trailing newline is cut), `credential:NAME` (systemd's LoadCredential) or `env:NAME`. "
        "`literal:VALUE` only in `dev`."
    )


class ToolRule(Table):
    """Exceptions for some tools of one server. The first rule that matches a tool counts."""

    match: list[Glob] = setting("Globs over the tools' names (`*` stops at `/`, `**` does not).", min_length=1)
    record: Literal["masked", "shape"] | None = setting("As on the server.", None, by_default="the server's")
    card_numbers: Literal["refuse", "mask", "allow"] | None = setting(
        "As on the server.", None, by_default="the server's"
    )
    mfa: Literal["proven"] | None = setting(
        "`proven`: only after a login by several factors, as `idp.mfa` knows them; what is only declared is not enough. Clients are sent to log "
        "in again.",
        None,
        by_default="any login",
    )
    mfa_max_age_s: float | None = setting(
        "How old that login may be. Seconds.", None, by_default="as old as it is", ge=60, le=86_400
    )


class Server(Table):
    """A protected MCP server, served at `public_url/NAME/mcp`."""

    name: Name = setting(
        "Its name in URLs, roles and records. Lower-case letters, digits, `-`; not one of the reserved "
        + ", ".join(f"`{name}`" for name in sorted(values.RESERVED))
        + "."
    )
    url: Annotated[str, AfterValidator(values.server_url)] | None = setting(
        "Where it listens: `https://…`, `unix:/path/to.sock:/mcp`, and in `dev` `http://…`. Never followed elsewhere.",
        None,
        by_default="required, unless `command` is there",
    )
    command: list[Argument] | None = setting(
        "The program that speaks MCP on its standard input and output, and its arguments, instead of `url`. No shell reads it.",
        None,
        by_default="none: it listens at `url`",
        min_length=1,
    )
    run: Run | None = setting("How `command` is run.", None, by_default="as its keys say")
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
    pins: Path | None = setting(
        "File with the definitions of its tools that somebody looked at; `gatebook server add` makes it. A tool that is new or otherwise is left out of "
        "lists, and calls to it are refused.",
        None,
        by_default="none: definitions may change",
    )
    tool: list[ToolRule] = setting("Exceptions per tool.", [])


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
        "Addresses or networks (CIDR) whose word on a call's origin is believed (`X-Forwarded-For`).", []
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
