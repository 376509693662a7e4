"""How a server's program is started: arguments, environment and limits, inside bubblewrap where the host offers it. Pure.

What a program in the sandbox meets (docs/runner.md says it for operators):
its own processes and no other; the machine's files, read-only, without Gatebook's own places and without the places where people keep
credentials; an empty /tmp; no network, unless asked; no privilege and no way to one; its own variables and secret files and nobody else's.
It dies with the runner, and whatever it started dies with it.

LIMIT: with `network = true` it has the host's network, loopback and abstract sockets included.
LIMIT: a Unix socket outside /run, /tmp, /var/tmp and Gatebook's places stays within reach of a program whose user may open it.
LIMIT: no system call is filtered; a flaw of the kernel is as near as it is for any program of this user.
"""

import resource
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

import msgspec

from gatebook.model.deployment import Command

HELD: Final = b"held\n"
"""What the standard output of a sandbox begins with: everything stands, and the program itself is not yet running."""
GO: Final = b"go\n"
"""What starts it then. A runner that died meanwhile, before its death could reach the sandbox, never says so: nothing runs that nobody holds."""

SECRETS_FOLDER: Final = "/run/secrets"
"""Where secret files appear inside; in memory alone."""

_HOLD: Final = 'echo held && IFS= read -r go && [ "$go" = go ] && exec "$@"'
_EMPTY: Final = "/tmp"  # noqa: S108  # the sandbox's own
_SHARED_MEMORY: Final = ("--size", str(64 << 20), "--tmpfs", "/dev/shm")  # noqa: S108  # again its own
_MADE_FOR_IT: Final = ("/proc", "/dev", SECRETS_FOLDER)
_LANGUAGE: Final = "C.UTF-8"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine offers, found once at the runner's start.

    `path`: PATH for the programs. `bubblewrap`: its path; None where there is none or where it cannot make its namespaces, and then `why_not`
    says what to do about it. `sh` and `prlimit`: the paths of what starts the program inside. `most_tasks`: the runner's own hard limit."""

    path: str
    bubblewrap: str | None
    why_not: str = "install bubblewrap"
    sh: str = "/bin/sh"
    prlimit: str = "/usr/bin/prlimit"
    most_tasks: int = resource.RLIM_INFINITY


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """What of the file system matters to one command. Absolute, links followed, and there: a path that is not cannot be mounted over.

    `own`: Gatebook's data directory. `folders` and `files`: what no server may see. `resolver`: what /etc/resolv.conf leads to. `temporary`: what
    is replaced by something empty, with the sockets of the system and the files of others. `missing`: what the command names and is not there. `planted`: what it
    names and lies behind a link that a server may have made."""

    own: str
    temporary: tuple[str, ...] = ("/run", _EMPTY)
    directory: str | None = None
    writable: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    planted: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    resolver: str | None = None


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What is executed. `environment` is the whole of it; no argument holds a secret, because arguments can be read by everybody.

    `limits`: resource (`resource.RLIMIT_…`) → value, soft and hard alike, set before it is executed. `handed`: contents that the starter hands
    down, each at an open descriptor of its own, read from its start (`command`). `files`: absolute path → content, which the starter writes
    with mode 0600 under `private` before, and removes after. `sandboxed`: whether inside bubblewrap; then the program waits for `GO`."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    limits: dict[int, int]
    handed: tuple[bytes, ...]
    files: dict[str, bytes]
    sandboxed: bool

    def command(self, descriptors: Sequence[int]) -> list[str]:
        """The arguments, with the number of the descriptor that holds each of `handed`."""
        numbers = {_descriptor(number): str(descriptor) for number, descriptor in enumerate(descriptors)}
        return [numbers.get(word, word) for word in self.argv]


class NoSandbox(Exception):
    """The command cannot have the sandbox that it demands. The text is the operator's: why, and what to do; it may name paths."""


def launch(
    command: Command,
    host: Host,
    places: Places,
    *,
    secrets: dict[str, str],
    secret_files: dict[str, bytes],
    private: str,
) -> Launch:
    """How a process of `command` is started. `secrets` and `secret_files`: variable → the value now. `private`: a directory of this process
    alone, mode 0700, that is there and empty and is removed with it; without a sandbox it is the program's own. Raises NoSandbox."""
    if places.missing:
        raise NoSandbox(
            f"{' and '.join(places.missing)} is not there; make it, or correct run.directory and run.writable"
        )
    if host.bubblewrap is None:
        if command.sandbox == "required":
            raise NoSandbox(
                f'it must run in a sandbox, and bubblewrap cannot be used: {host.why_not}; or, in dev, write run.sandbox = "available"'
            )
        return _best_effort(command, host, places, secrets, secret_files, private)
    if faults := list(misplaced(command, places)):
        raise NoSandbox("; ".join(faults))
    return _in_bubblewrap(command, host, host.bubblewrap, places, secrets, secret_files)


def probe(host: Host) -> Launch:
    """What shows whether this host lets bubblewrap do all that `launch` asks of it: it ends at once, with status 0 where it does."""
    assert host.bubblewrap is not None
    return _in_bubblewrap(Command(argv=("true",)), host, host.bubblewrap, Places(own=_EMPTY), {}, {})


def misplaced(command: Command, places: Places) -> Iterator[str]:
    """What of `command` lies where the sandbox has something else, or nothing, or where a server says; each with what to do."""
    for planted in places.planted:
        yield f"{planted} leads over a link in a place that a server may write; see who made it, and name what it leads to, or remove it"
    for name, path in (("run.directory", places.directory), *(("run.writable", path) for path in places.writable)):
        if path is None:
            continue
        if _within(path, places.own):
            yield f"{name} lies in {places.own}, which no server may see; use a directory outside of data_dir"
        elif path in places.folders:
            yield f"{name} is {path}, where configuration or secrets lie and which no server may see; use a directory below or beside it"
        elif path in places.temporary or any(_within(path, folder) for folder in _MADE_FOR_IT):
            yield f"{name} is {path}, which is made anew for each server; use another directory, for /run and /tmp also one below"
    program = command.argv[0]
    shown = tuple(path for path in (places.directory, *places.writable) if path is not None)
    for place in (*places.temporary, places.own, *places.folders):
        if program.startswith("/") and _within(program, place) and not any(_within(program, path) for path in shown):
            yield f"the program lies in {place}, which is empty for a server; install it elsewhere"
            return


def _in_bubblewrap(
    command: Command,
    host: Host,
    bubblewrap: str,
    places: Places,
    secrets: dict[str, str],
    secret_files: dict[str, bytes],
) -> Launch:
    names = tuple(secret_files)
    kept_in = {name: f"{SECRETS_FOLDER}/{name}" for name in names}
    argv = (
        bubblewrap,
        *(() if command.network else ("--unshare-net",)),
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        # No privilege, and no user namespace in which it would find some.
        *("--disable-userns", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session"),
        *("--ro-bind", "/", "/"),
        *_mounts(command, places),
        *(word for number, name in enumerate(names) for word in _secret_file(number, kept_in[name])),
        *("--remount-ro", "/run", "--chdir", places.directory or _EMPTY, "--"),
        # Inside, because there those of this sandbox count, and outside all of this user.
        *(host.prlimit, f"--nproc={_tasks(command, host)}:{_tasks(command, host)}", "--"),
        *(host.sh, "-c", _HOLD, "sh", *command.argv),
    )
    own = {"HOME": _EMPTY, "TMPDIR": _EMPTY}
    return Launch(
        argv=argv,
        environment=_environment(command, host, own, secrets, kept_in),
        directory="/",
        limits=limits_of(command),
        handed=tuple(secret_files.values()),
        files={},
        sandboxed=True,
    )


def _mounts(command: Command, places: Places) -> Iterator[str]:
    """Outer paths before inner ones, so that the nearest that was said of a path is what holds; what is hidden last, of the same path."""
    empty = ("--size", str(command.memory_bytes), "--tmpfs")
    said: list[tuple[str, tuple[str, ...]]] = [(path, (*empty, path)) for path in places.temporary]
    if places.directory is not None and not any(_within(places.directory, path) for path in places.writable):
        said.append((places.directory, ("--ro-bind", places.directory, places.directory)))
    # What is in a place that it may write anyway is not mounted again: it could put something else there until then.
    said += [(path, ("--bind", path, path)) for path in places.writable if not _written_anyway(path, places)]
    said += [("/proc", ("--proc", "/proc")), ("/dev", ("--dev", "/dev", "--remount-ro", "/dev", *_SHARED_MEMORY))]
    if command.network and places.resolver is not None and _within(places.resolver, "/run"):
        said.append((places.resolver, ("--ro-bind", places.resolver, places.resolver)))
    said += [(path, ("--perms", "0500", "--size", "4096", "--tmpfs", path)) for path in (places.own, *places.folders)]
    said += [(path, ("--ro-bind", "/dev/null", path)) for path in places.files]
    for _, words in sorted(said, key=lambda one: len(PurePath(one[0]).parts)):
        yield from words


def _written_anyway(path: str, places: Places) -> bool:
    """Whether the nearest place around `path` that is mounted is one that may be written."""
    around = [
        place
        for place in (*places.temporary, *places.writable, places.own, *places.folders)
        if place != path and _within(path, place)
    ]
    return bool(around) and max(around, key=len) in places.writable


def _secret_file(number: int, path: str) -> tuple[str, ...]:
    return ("--perms", "0400", "--ro-bind-data", _descriptor(number), path)


def _descriptor(number: int) -> str:
    """In place of a descriptor's number. No configured argument can be it: none holds a null character."""
    return f"\0{number}"


def _best_effort(
    command: Command,
    host: Host,
    places: Places,
    secrets: dict[str, str],
    secret_files: dict[str, bytes],
    private: str,
) -> Launch:
    """Limits alone. LIMIT: it sees files, network and processes as this user does, the variables of other servers among them, and what it starts
    in a session of its own may outlive it."""
    kept_in = {name: f"{private}/{name}" for name in secret_files}
    return Launch(
        argv=command.argv,
        environment=_environment(command, host, {"HOME": private, "TMPDIR": private}, secrets, kept_in),
        directory=places.directory or private,
        limits=limits_of(command) | {resource.RLIMIT_NPROC: _tasks(command, host)},
        handed=(),
        files={kept_in[name]: content for name, content in secret_files.items()},
        sandboxed=False,
    )


def limits_of(command: Command) -> dict[int, int]:
    """Memory is what is held for data (RLIMIT_DATA). RLIMIT_AS would count addresses: a JavaScript engine reserves gigabytes of them and uses
    few, and does not start. No core dumps: they would hold secrets. LIMIT: each is one process's own; a server of several has it several times."""
    return {
        resource.RLIMIT_DATA: command.memory_bytes,
        resource.RLIMIT_CPU: command.cpu_s,
        resource.RLIMIT_NOFILE: command.files,
        resource.RLIMIT_CORE: 0,
    }


def _tasks(command: Command, host: Host) -> int:
    """LIMIT: of root the kernel counts no processes."""
    return command.tasks if host.most_tasks == resource.RLIM_INFINITY else min(command.tasks, host.most_tasks)


def _environment(
    command: Command, host: Host, own: dict[str, str], secrets: dict[str, str], kept_in: dict[str, str]
) -> dict[str, str]:
    return {"PATH": host.path, "LANG": _LANGUAGE} | own | command.environment | secrets | kept_in


def _within(path: str, folder: str) -> bool:
    return PurePath(path).is_relative_to(folder)
