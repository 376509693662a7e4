"""The keys of `[[server]]`: where a protected server is, and what holds for it and its tools."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gatebook.config import values
from gatebook.config.commands_schema import Argument, Run
from gatebook.config.kinds import Glob, Name, Path
from gatebook.config.table import Table, setting


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
