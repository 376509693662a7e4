"""`gatebook idp test NAME`."""

import asyncio
import contextlib
import ssl
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
import typer
from rich.text import Text

from gatebook.adapters.keys_oidc import OidcKeys
from gatebook.adapters.providers_oidc import OidcProviders
from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.cli import book, idp_add, printing
from gatebook.cli.idp_walk import Step, Tools, walk
from gatebook.cli.login import NO_BROWSER
from gatebook.cli.person.by_browser import can_open
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.person.listening import Listener, listening
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.model.deployment import Deployment, IdentityProvider


def idp(
    act: Literal["add", "test"] = typer.Argument(help="What to do."),
    name: str = typer.Argument(help="The idp's name in the configuration."),
    log_in: bool = typer.Option(True, "--login/--no-login", help="Whether to walk a person's login, too."),
    redirect: str | None = typer.Option(
        None,
        "--redirect",
        help="Return to this http://127.0.0.1:PORT/PATH instead of the desk's callback; register it at the provider.",
    ),
    no_browser: bool = NO_BROWSER,
    as_json: bool = book.AS_JSON,
    config: Path = book.CONFIG,
) -> None:
    """test: walk a login at an identity provider step by step, and say which step, claim or setting is missing or wrong. Nobody is logged in by it.
    add: ask what is needed, append the [[idp]] table, and say what to register there.

    By default the provider returns to the desk's own callback, so the desk must not be running; with --redirect it may. Exit codes: 0 every
    step held, 1 one did not, or it could not begin.
    """
    if act == "add":
        _add(config, name)
        return
    deployment = examine(config).deployment
    found = None if deployment is None else next((each for each in deployment.idps if each.name == name), None)
    if deployment is None or found is None:
        names = ", ".join(each.name for each in deployment.idps) if deployment is not None else ""
        why = f"there is {names}" if names else "`gatebook check` says what is wrong with the configuration"
        printing.give_up(f"{config} has no idp {name}: {why}", 1)
    if found.saml is not None:
        printing.give_up(
            f"idp {name} speaks SAML, and only logins by OpenID Connect are walked; `gatebook check` looks into its metadata",
            1,
        )
    try:
        steps = asyncio.run(_walked(deployment, found, redirect, log_in=log_in, opens=not no_browser, as_json=as_json))
    except PersonError as error:
        printing.give_up(told(error), 1)
    if as_json:
        printing.print_json_lines(msgspec.to_builtins(step) for step in steps)
    raise typer.Exit(1 if any(step.ok is False for step in steps) else 0)


def _add(config: Path, name: str) -> None:
    try:
        idp_add.add(config, idp_add.asked(name))
    except PersonError as error:
        printing.give_up(told(error), 1)
    desk = examined.desk if (examined := examine(config).deployment) is not None else None
    callback = (
        f"{desk.public_url}/login/oidc/{name}/callback"
        if desk is not None
        else "the desk's callback ([desk] is missing)"
    )
    console = printing.console()
    console.print(visible(f"Written to {config}. Register there as redirect URI: {callback}"), soft_wrap=True)
    console.print(
        visible(f"Then `gatebook idp test {name}`, a role whose match names {name}, and SIGHUP."), soft_wrap=True
    )


async def _walked(
    deployment: Deployment, found: IdentityProvider, redirect: str | None, *, log_in: bool, opens: bool, as_json: bool
) -> list[Step]:
    steps: list[Step] = []
    with _returning(deployment, found, redirect, wanted=log_in) as (listener, url):

        async def answer(place: str) -> dict[str, str]:
            print(f"Log in with your browser: {place}", file=sys.stderr, flush=True)  # noqa: T201
            if opens and can_open():
                webbrowser.open(place)
            assert listener is not None
            state = next(value for name, value in _query(place) if name == "state")
            return await asyncio.to_thread(listener.await_answer, state)

        tools = Tools(
            providers=lambda keys: OidcProviders(deployment.profile, lambda _name: keys, _nobody_else),
            keys=OidcKeys(deployment.profile).fetch,
            secret=lambda: None if found.client_secret is None else FileOrEnvironment().resolve(found.client_secret),
            answer=answer,
            redirect=url,
            now=time.time,
        )
        async for step in walk(deployment, found, tools, log_in=log_in):
            steps.append(step)
            if not as_json:
                _say(step)
    return steps


async def _nobody_else(_name: str) -> None:
    """The keys were fetched a moment ago: asking again would give the same."""


@contextlib.contextmanager
def _returning(
    deployment: Deployment, found: IdentityProvider, redirect: str | None, *, wanted: bool
) -> Iterator[tuple[Listener | None, str]]:
    """Where the provider returns to, and who waits there. Raises PersonError."""
    desk = deployment.desk
    if redirect is None and desk is None:
        raise PersonError("without [desk] there is no callback: name one by --redirect")
    callback = redirect or f"{desk.public_url if desk else ''}/login/oidc/{found.name}/callback"
    if not wanted:
        yield None, callback
        return
    parts = urlsplit(callback)
    tls: ssl.SSLContext | None = None
    if redirect is not None:
        if parts.scheme != "http" or parts.hostname != "127.0.0.1" or not parts.port:
            raise PersonError("--redirect must be http://127.0.0.1:PORT/PATH")
        host, port = "127.0.0.1", parts.port
    else:
        assert desk is not None
        host, _, text = desk.listen[0].rpartition(":")
        host, port = host.strip("[]"), int(text)
        if desk.tls_certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                tls.load_cert_chain(desk.tls_certificate, desk.tls_key)
            except OSError as failure:
                raise PersonError(f"desk.tls cannot be used: {failure.strerror or failure}") from failure
    try:
        with listening(host, port, parts.path, tls) as listener:
            yield listener, callback
    except PersonError as failure:
        if redirect is None and "cannot be used" in str(failure):
            raise PersonError(f"{failure}; the desk runs there: stop it, or use --redirect") from failure
        raise


def _query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query)


def _say(step: Step) -> None:
    mark, style = {True: ("ok", printing.GOOD), False: ("wrong", printing.BAD), None: ("look", printing.WARN)}[step.ok]
    words = Text.assemble((f"{mark:<6}", style), (f"{step.what:<14}", printing.DIM), visible(step.found))
    printing.console().print(words, soft_wrap=True)
    if step.mend:
        printing.console().print(Text(f"{'':<20}{visible(step.mend)}"), soft_wrap=True)
