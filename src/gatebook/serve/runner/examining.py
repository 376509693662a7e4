"""What `gatebook check` says about servers that are commands: whether each could be started here, and how well it would be confined."""

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath

from gatebook.config.problem import Problem, error, warning
from gatebook.model.deployment import Command, Deployment
from gatebook.serve.runner.finding_host import find_host
from gatebook.serve.runner.places import look
from gatebook.serve.runner.sandbox import Host, misplaced

_FETCHING = frozenset({"npx", "pnpx", "bunx", "uvx", "pipx"})
"""Programs that fetch what they run."""


def command_problems(deployment: Deployment, config: Path | None) -> Iterator[Problem]:
    """`config`: the configuration file. Starts nothing of the configuration; one empty sandbox is made, to see that it can be."""
    commands = {server.name: server.command for server in deployment.servers if server.command is not None}
    if not commands:
        return
    host = find_host()
    for name, command in commands.items():
        places = look(command, deployment, config)
        where = f"server {name}"
        for path in places.missing:
            yield error(f"{where}: run", f"{path} is not there", "make it, or correct run.directory and run.writable")
        yield from _program(command, host, f"{where}: command")
        if host.bubblewrap is None:
            yield _unconfined(command, host, f"{where}: run.sandbox")
        else:
            for fault in misplaced(command, places):
                what, _, mend = fault.partition("; ")
                yield error(f"{where}: run", what, mend)


def _program(command: Command, host: Host, where: str) -> Iterator[Problem]:
    program = command.argv[0]
    if shutil.which(program, path=command.environment.get("PATH", host.path)) is None:
        yield error(
            where, f"there is no program {program} that may be executed", "install it, or name it by its whole path"
        )
    if PurePath(program).name in _FETCHING and host.bubblewrap is not None and not command.network:
        what = f"{PurePath(program).name} fetches what it runs, and here it has no network and no cache"
        yield warning(where, what, "install the server beforehand and run its own program (docs/runner.md)")


def _unconfined(command: Command, host: Host, where: str) -> Problem:
    if command.sandbox == "required":
        return error(
            where, f"bubblewrap cannot be used, and without a sandbox it is not started: {host.why_not}", "mend that"
        )
    what = (
        f"BEST EFFORT: bubblewrap cannot be used ({host.why_not}), so it runs without a sandbox: it sees files, network and processes as "
        "this user does, other servers' secrets among them, and what it starts may outlive it"
    )
    return warning(where, what, 'mend that, and write run.sandbox = "required"')
