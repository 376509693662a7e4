"""Servers that are commands: what `command`, `[server.run]` and `[runner]` come to, and what several keys together must be."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatebook.config import schema, servers_schema, values
from gatebook.config.commands_schema import Run
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.config.secret_references import secret_reference
from gatebook.model.deployment import SOCKETS, Command, Runner

SOCKET_BYTES: Final = 107
"""The longest path of a Unix socket (`sun_path`, with its null character 108)."""
UNSAID: Final = "unix:"
"""For the url of a server that has none: nothing that is asked of a URL holds of it."""


def runner_of(file: schema.File) -> Runner:
    return Runner(processes=file.runner.processes)


def url_of(server: servers_schema.Server, data_dir: Path) -> str:
    """Where the gate finds a server that is a command: at the runner's socket of that name."""
    return f"unix:{data_dir / SOCKETS / server.name}.sock:/mcp"


def command_of(server: servers_schema.Server, file: schema.File, directory: Path) -> Command | None:
    if server.command is None:
        return None
    run = server.run or Run()
    return Command(
        argv=(_program(server.command[0], directory), *server.command[1:]),
        directory=_absolute(run.directory, directory) if run.directory is not None else None,
        environment=dict(run.environment),
        secrets={name: secret_reference(text, directory) for name, text in run.secrets.items()},
        secret_files={name: secret_reference(text, directory) for name, text in run.secret_files.items()},
        processes=run.processes,
        network=run.network,
        writable=tuple(_absolute(path, directory) for path in run.writable),
        sandbox=run.sandbox or ("required" if file.profile == "pci" else "available"),
        memory_bytes=run.memory_bytes,
        cpu_s=run.cpu_s,
        files=run.files,
        tasks=run.tasks,
        start_s=float(run.start_s),
        idle_s=float(run.idle_s),
    )


def _program(name: str, directory: Path) -> str:
    """A bare name is looked for in PATH when it is started; anything with a slash is a path from the file's directory."""
    return _absolute(name, directory) if "/" in name else name


def _absolute(path: str, directory: Path) -> str:
    """Without `.` and `..`: the sandbox compares paths."""
    return os.path.normpath(directory / path)


def problems(read: Read, file: schema.File, data_dir: Path) -> Iterator[Problem]:
    for number, server in enumerate(file.server):
        if server.command is None:
            if server.url is None and "url" not in read.faulty:
                yield error(read.where("server", number, "url"), "is missing", "write url = …, or command = […]")
            if server.run is not None:
                yield error(read.where("server", number, "run"), "has no effect without command", "remove it")
        else:
            yield from _of_command(read, file, server, number)
            yield from _socket(read, server, number, data_dir)
    if not any(server.command for server in file.server) and "processes" in file.runner.model_fields_set:
        yield warning(read.where("runner"), "has no effect: no server is a command", "remove it")


def _of_command(read: Read, file: schema.File, server: servers_schema.Server, number: int) -> Iterator[Problem]:
    if server.url is not None:
        what = "stands beside url: a server is either started or called"
        yield error(read.where("server", number, "command"), what, "remove one of the two")
    for name in ("ca_file", "client_certificate", "client_key", "credential"):
        if getattr(server, name) is not None:
            mend = (
                "give the program its secrets by run.secrets or run.secret_files"
                if name == "credential"
                else "remove it"
            )
            yield error(read.where("server", number, name), "has no effect on a command", mend)
    run = server.run or Run()
    if run.sandbox == "available" and file.profile == "pci":
        what = "lets the command run without a sandbox"
        yield error(read.where("server", number, "run", "sandbox"), what, "the pci profile has required only")
    if run.processes == "shared":
        what = "one process serves everybody: what one caller leaves in it another may find"
        yield warning(read.where("server", number, "run", "processes"), what, "leave it out where it keeps any state")
    yield from _variables(read, file, run, number)


def _variables(read: Read, file: schema.File, run: Run, number: int) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for section in ("environment", "secrets", "secret_files"):
        for name, value in getattr(run, section).items():
            where = read.where("server", number, "run", section, name)
            if (other := taken.setdefault(name, section)) != section:
                yield error(where, f"stands under {other} too", "keep one of them")
            if section == "environment" and _looks_secret(name, value):
                make = error if file.profile == "pci" else warning
                yield make(where, "looks like a secret that stands in the configuration", "write it under run.secrets")
            if section != "environment" and value.startswith(values.LITERAL):
                make = error if file.profile == "pci" else warning
                mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the secret: it stood in a file"
                yield make(where, "the secret itself stands in the configuration", mend)


def _looks_secret(name: str, value: str) -> bool:
    return bool(re.search(r"key|token|secret|passw", name, re.IGNORECASE)) and values.looks_literal(
        f"{{secret}} {value}"
    )


def _socket(read: Read, server: servers_schema.Server, number: int, data_dir: Path) -> Iterator[Problem]:
    path = url_of(server, data_dir).removeprefix("unix:").removesuffix(":/mcp")
    where = read.where("server", number, "name")
    if len(os.fsencode(path)) > SOCKET_BYTES:
        what = f"its socket's path under data_dir is {len(os.fsencode(path))} bytes long, and the system allows {SOCKET_BYTES}"
        yield error(where, what, "use a shorter data_dir, or a shorter name")
    if not re.fullmatch(r"[^:\x00-\x20]+", path):
        yield error(where, "its socket's path under data_dir holds a colon or a blank", "use another data_dir")
