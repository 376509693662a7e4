"""Starting a program and ending it: a process group of its own that ends with the runner, limited before the program's first instruction."""

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from gatebook.model.errors import GatebookError
from gatebook.serve.diagnostics import say
from gatebook.serve.runner.handing import handed, write_files
from gatebook.serve.runner.sandbox import GO, HELD, Launch

MARK = "GATEBOOK_RUNNER"
"""The variable by which a runner finds what an earlier one left behind: its value is the runner's directory."""
STDIN_END_S = 0.5
TERM_S = 2.0
SANDBOX_S = 10.0
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class NotStarted(GatebookError):
    """The program could not be executed. The text is for operators and clients alike: it names no path of this machine."""


class Child:
    """One running program, leader of its own process group. `exited` is done, with its return code, when it is reaped and its group is gone."""

    def __init__(self, popen: "subprocess.Popen[bytes]", private: Path) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._private = private
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(popen.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self.exited: asyncio.Future[int] = self._loop.create_future()

    def _reap(self) -> None:
        """The leader is dead and not yet reaped, so its group's number still is its own: what is left of the group goes with it."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._signal(signal.SIGKILL)
        code = self._popen.wait()
        shutil.rmtree(self._private, ignore_errors=True)
        self.exited.set_result(code)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the whole group. Idempotent."""
        if not self.exited.done():
            self._signal(signal.SIGKILL)

    async def end(self, stdin_end_s: float = STDIN_END_S, term_s: float = TERM_S) -> int:
        """It has ended, asked first and then made to (MCP, stdio, shutdown); its input was closed before. Returns its code."""
        for patience_s, number in ((stdin_end_s, signal.SIGTERM), (term_s, signal.SIGKILL)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await asyncio.shield(self.exited)
            if not self.exited.done():
                self._signal(number)
        return await asyncio.shield(self.exited)


class Pipes:
    """The three ends of a program's standard streams that are ours."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._stdin: asyncio.WriteTransport | None = None
        self._flow = _Flow()
        self._writing = asyncio.Lock()
        self.stdout = asyncio.StreamReader(limit=256 << 10)
        self.stderr = asyncio.StreamReader(limit=64 << 10)
        self._transports: list[asyncio.BaseTransport] = []

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._popen.stdin is not None
        self._stdin, _ = await loop.connect_write_pipe(lambda: self._flow, self._popen.stdin)
        self._transports.append(self._stdin)
        for reader, pipe in ((self.stdout, self._popen.stdout), (self.stderr, self._popen.stderr)):
            transport, _ = await loop.connect_read_pipe(_protocol(reader), pipe)
            self._transports.append(transport)

    async def write(self, lines: bytes) -> None:
        """Written in turn; returns when the program has taken enough of what was written before. What cannot be written is lost: the program
        is ending. Cancelled before its turn, nothing of it is written."""
        async with self._writing:
            if self._stdin is not None and not self._stdin.is_closing():
                self._stdin.write(lines)
                await self._flow.drained()

    def write_if_read(self, line: bytes) -> None:
        """As `write`, without waiting: a program that does not read what it was told gets no more of this."""
        if self._stdin is not None and not self._stdin.is_closing() and self._flow.flowing:
            self._stdin.write(line)

    def close_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.close()

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


def _protocol(reader: asyncio.StreamReader) -> Callable[[], asyncio.StreamReaderProtocol]:
    return lambda: asyncio.StreamReaderProtocol(reader)


class _Flow(asyncio.BaseProtocol):
    """Back-pressure of a program that does not read."""

    def __init__(self) -> None:
        self._may_write = asyncio.Event()
        self._may_write.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._may_write.set()

    @property
    def flowing(self) -> bool:
        return self._may_write.is_set()

    async def drained(self) -> None:
        await self._may_write.wait()


async def start(launch: Launch, private: Path, mark: str) -> tuple[Child, Pipes]:
    """The program runs. Raises NotStarted, and then nothing is left of it."""
    try:
        write_files(launch)
        with handed(launch) as descriptors:
            popen = subprocess.Popen(  # noqa: ASYNC220  # a fork and an exec, seldom; and by this thread, whose end the kernel watches
                launch.command(descriptors),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=launch.directory,
                env={**launch.environment, MARK: mark},
                start_new_session=True,
                pass_fds=descriptors,
                preexec_fn=_before_exec(launch),
                bufsize=0,
            )
    except (OSError, ValueError, subprocess.SubprocessError) as failure:
        shutil.rmtree(private, ignore_errors=True)
        raise NotStarted(_why(failure)) from failure
    child, pipes = Child(popen, private), Pipes(popen)
    try:
        await pipes.connect()
        if launch.sandboxed:
            await _let_begin(pipes)
    except BaseException:
        child.kill()
        await asyncio.shield(child.exited)
        pipes.close()
        raise
    return child, pipes


async def _let_begin(pipes: Pipes) -> None:
    """The sandbox stands, and the program in it begins. Raises NotStarted."""
    try:
        async with asyncio.timeout(SANDBOX_S):
            if await pipes.stdout.readline() == HELD:
                await pipes.write(GO)
                return
            said = (await pipes.stderr.read(4096)).decode("utf-8", "replace").strip()
    except TimeoutError:
        said = f"nothing within {SANDBOX_S:g} s"
    say("command.sandbox", why=said)
    raise NotStarted("its sandbox could not be made")


def _before_exec(launch: Launch) -> Callable[[], None]:
    """What the child does to itself between fork and exec. No lock is taken there and nothing imported.

    A sandbox ties itself to us, and then waits for `GO`. Tied before that, it could be killed half made, and leave its other half waiting."""
    runner = os.getpid()
    set_limit, prctl, parent, end, set_mask = (
        resource.setrlimit,
        _LIBC.prctl,
        os.getppid,
        os._exit,
        signal.pthread_sigmask,
    )
    wanted = [(kind, (value, value)) for kind, value in _allowed(launch.limits).items()]
    tie = not launch.sandboxed

    def prepare() -> None:
        if tie:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if parent() != runner:  # it died before the line above
            end(1)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        set_mask(signal.SIG_SETMASK, ())  # the supervisor blocks SIGHUP, and a blocked signal stays so over an exec
        for kind, both in wanted:
            set_limit(kind, both)

    return prepare


def _allowed(limits: dict[int, int]) -> dict[int, int]:
    """No limit is raised above the one that the runner itself has: the kernel would refuse the whole start."""
    found = {}
    for kind, value in limits.items():
        most = resource.getrlimit(kind)[1]
        found[kind] = value if most == resource.RLIM_INFINITY else min(value, most)
    return found


def _why(failure: Exception) -> str:
    match failure:
        case FileNotFoundError():
            return "there is no such program or directory"
        case PermissionError():
            return "it may not be executed by the runner's user"
        case OSError():
            return failure.strerror or "the system refused"
        case _:
            return "the system refused its limits"


def end_leftovers(mark: str) -> int:
    """What an earlier runner of this directory left behind is killed; how many there were. Without a sandbox a program's own children may
    outlive a runner that was killed; LIMIT: those that changed their environment are not found."""
    wanted, count = f"{MARK}={mark}".encode(), 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
        except OSError:
            continue  # another user's, or gone
    return count
