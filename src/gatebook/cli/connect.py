"""`gatebook connect`: a server behind the gate, for programs that speak only stdio and for jobs."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

import httpx2
import msgspec
import typer

from gatebook.cli import printing
from gatebook.cli.connecting import credentials
from gatebook.cli.connecting.bridge import Bridge
from gatebook.cli.connecting.credentials import Credential
from gatebook.cli.login import NO_BROWSER, PORT, way
from gatebook.cli.person.asking import demand_safe, trusting
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.person.logins import LoginFile

CONNECT_S = 10.0


def connect(
    url: str = typer.Argument(help="The server's URL at the gate: https://GATE/SERVER/mcp."),
    token: str | None = typer.Option(
        None, "--token", help="A variable that holds an access token; nothing is renewed."
    ),
    token_env: str | None = typer.Option(
        None,
        "--token-env",
        help="A variable that holds the job's own token (GitLab: named in `id_tokens`); it is exchanged.",
    ),
    token_file: Path | None = typer.Option(
        None,
        "--token-file",
        help="A file that holds the job's own token (Kubernetes: a projected volume); it is exchanged.",
    ),
    github: bool = typer.Option(
        False, "--github", help="In GitHub Actions: ask GitHub for the job's own token; it is exchanged."
    ),
    audience: str | None = typer.Option(
        None, "--audience", help="For --github: the token's audience. Default: the desk's URL."
    ),
    no_browser: bool = NO_BROWSER,
    port: int = PORT,
) -> None:
    """Be a local MCP server on standard input and output that is the server at URL: log in, renew, and carry messages, in both eras of the protocol.

    Without an option it acts for you, with the login that this command line keeps; the first time your browser opens. What goes wrong is a
    JSON-RPC error to the client and a line on standard error. Exit codes: 0 the client closed its end, 1 it could not begin.
    """
    given = [
        name
        for name, value in (("token", token), ("token-env", token_env), ("token-file", token_file), ("github", github))
        if value
    ]
    if len(given) > 1:
        printing.give_up(f"give one of --{', --'.join(given)}", 1)
    chosen = Chosen(token=token, token_env=token_env, token_file=token_file, github=github, audience=audience)
    try:
        demand_safe(url, "the server")
    except PersonError as error:
        printing.give_up(told(error), 1)
    # Whatever else is printed, by a browser for one, must not stand between the messages.
    out = os.dup(1)
    os.dup2(2, 1)
    run(url, chosen, sys.stdin.buffer, out, no_browser=no_browser, port=port)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the token is to come from; nothing given: the person's login."""

    token: str | None = None
    token_env: str | None = None
    token_file: Path | None = None
    github: bool = False
    audience: str | None = None


def run(
    url: str,
    chosen: Chosen,
    stdin: BinaryIO,
    out: int,
    *,
    no_browser: bool = False,
    port: int = 0,
    now: Callable[[], float] = time.time,
) -> None:
    """Carry messages between `stdin` and the descriptor `out`, until the client closes its end."""
    person = msgspec.structs.replace(way(no_browser, port), now=now)

    async def carry() -> None:
        made: Credential
        if chosen.token is not None:
            made = credentials.OfVariable(chosen.token)
        elif chosen.token_env is not None:
            made = credentials.OfJob(url, credentials.of_variable(chosen.token_env), now)
        elif chosen.token_file is not None:
            made = credentials.OfJob(url, credentials.of_file(chosen.token_file), now)
        elif chosen.github:
            made = credentials.OfJob(url, credentials.of_github(chosen.audience), now)
        else:
            made = credentials.OfPerson(LoginFile.of_user(), url, person)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=8)
        # A call may take as long as it takes: the gate bounds it, and the client cancels.
        timeout = httpx2.Timeout(CONNECT_S, read=None)
        async with httpx2.AsyncClient(
            timeout=timeout, limits=limits, headers={"accept-encoding": "identity"}, **trusting(url)
        ) as http:
            keeping = asyncio.create_task(made.keep_fresh()) if isinstance(made, credentials.OfJob) else None
            await Bridge(url, http, made, lambda message: _write(out, message), person.say).run(_lines(stdin))
            if keeping is not None:
                keeping.cancel()

    asyncio.run(carry())


def _write(out: int, message: bytes) -> None:
    rest = memoryview(message + b"\n")
    while rest:
        rest = rest[os.write(out, rest) :]


async def _lines(stdin: BinaryIO) -> AsyncIterator[bytes]:
    """Lines as they come. Read in a thread of its own: standard input may be a file, a pipe or a terminal."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue(64)

    def read() -> None:
        while line := stdin.readline():
            asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()
        asyncio.run_coroutine_threadsafe(queue.put(b""), loop)

    threading.Thread(target=read, daemon=True).start()
    while line := await queue.get():
        yield line
