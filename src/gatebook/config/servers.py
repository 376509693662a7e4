"""`[[server]]`: what one comes to, and what its keys must be together."""

from collections.abc import Iterator
from pathlib import Path

from gatebook.config import commands, lifecycle, schema, servers_schema, values
from gatebook.config.listening import data_dir_of
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.config.secret_references import secret_reference
from gatebook.model.deployment import DESK_ISSUER, Credential, Server, ToolRule


def server_of(server: servers_schema.Server, file: schema.File, public_url: str, directory: Path) -> Server:
    resource = f"{public_url}/{server.name}/mcp"
    return Server(
        name=server.name,
        url=server.url or commands.url_of(server, data_dir_of(file, directory)),
        resource=resource,
        audiences={
            **{issuer.name: server.audience.get(issuer.name, resource) for issuer in file.issuer},
            **({DESK_ISSUER: resource} if file.desk else {}),
        },
        ca_file=str(directory / server.ca_file) if server.ca_file else None,
        client_certificate=str(directory / server.client_certificate) if server.client_certificate else None,
        client_key=str(directory / server.client_key) if server.client_key else None,
        credential=_credential(server.credential, directory) if server.credential else None,
        record=server.record,
        card_numbers=server.card_numbers,
        tool_rules=tuple(
            ToolRule(
                tools=tuple(rule.match),
                record=rule.record,
                card_numbers=rule.card_numbers,
                mfa=rule.mfa,
                mfa_max_age_s=rule.mfa_max_age_s,
            )
            for rule in server.tool
        ),
        command=commands.command_of(server, file, directory),
        pins_file=str(directory / server.pins) if server.pins else None,
    )


def _credential(credential: servers_schema.Credential, directory: Path) -> Credential:
    return Credential(
        header=credential.header, template=credential.value, secret=secret_reference(credential.secret, directory)
    )


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    pci = file.profile == "pci"
    for number, server in enumerate(file.server):
        url = server.url or commands.UNSAID
        scheme = url.partition(":")[0]
        without_tls = ("unix",) if pci else ("unix", "http")
        if pci and scheme == "http":
            mend = "use https (with ca_file for an own authority; client_certificate and client_key for mTLS) or unix:"
            yield error(read.where("server", number, "url"), "is not encrypted", mend)
        if pci and scheme != "unix" and values.holds_secret_parameter(url):
            yield error(
                read.where("server", number, "url"),
                "holds what looks like a credential in its query",
                "inject it by `credential`",
            )
        if (server.client_certificate is None) != (server.client_key is None):
            lone = "client_key" if server.client_certificate is None else "client_certificate"
            yield error(
                read.where("server", number, lone), "stands alone", "mTLS needs client_certificate and client_key"
            )
        for name in ("ca_file", "client_certificate"):
            if getattr(server, name) is not None and scheme in without_tls:
                yield error(
                    read.where("server", number, name),
                    "has no effect without https",
                    "remove it, or write an https url",
                )
        yield from _credentials(read, server, number, pci=pci)
        for index, rule in enumerate(server.tool):
            where = read.where("server", number, "tool", index)
            yield from lifecycle.of_tool(file, rule, where)
            if rule.record is None and rule.card_numbers is None and rule.mfa is None:
                yield error(where, "makes no exception", "give record, card_numbers or mfa, or remove it")


def _credentials(read: Read, server: servers_schema.Server, number: int, *, pci: bool) -> Iterator[Problem]:
    if server.credential is None:
        return
    make = error if pci else warning
    if server.credential.secret.startswith(values.LITERAL):
        where = read.where("server", number, "credential", "secret")
        mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the secret: it stood in a file"
        yield make(where, "the secret itself stands in the configuration", mend)
    if values.looks_literal(server.credential.value):
        where = read.where("server", number, "credential", "value")
        yield make(where, "holds what looks like a secret beside {secret}", "let {secret} stand for the whole of it")
