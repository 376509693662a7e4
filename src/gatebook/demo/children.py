"""The demonstration's processes: started one after another, watched, and gone when the demonstration is."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

import httpx2

from gatebook.demo.place import DemoError, Place, short

_PR_SET_PDEATHSIG: Final = 1
_POLL_S: Final = 0.1
READY_S: Final = 30.0
STOP_S: Final = 15.0


class Child:
    """One process with its own process group; what it prints goes to `output`."""

    def __init__(self, name: str, command: Sequence[str], output: Path) -> None:
        self.name = name
        self.output = output
        output.parent.mkdir(exist_ok=True)
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def obituary(self) -> str | None:
        """None while it runs; else one paragraph: who died, how, and its last words."""
        status = self._process.poll()
        if status is None:
            return None
        how = f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
        return f"{self.name} has stopped ({how}). The end of {self.output}:\n{self._last_words()}"

    def wait_ready(self, url: str) -> None:
        """Returns once `url` answers 200. Raises DemoError where the process dies first or `READY_S` pass."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if (obituary := self.obituary()) is not None:
                raise DemoError(obituary)
            if _answers(url):
                return
            time.sleep(_POLL_S)
        raise DemoError(f"{self.name} is not ready after {READY_S:.0f} s ({url}). Its output:\n{self._last_words()}")

    def stop(self) -> None:
        """Ask it to stop, wait, then end whatever of its process group is left. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _last_words(self) -> str:
        lines = self.output.read_text("utf-8", "replace").splitlines()[-12:]
        return "\n".join(f"  {line}" for line in lines) or "  (it printed nothing)"


class Children:
    """All processes of one demonstration, as a context manager: on leaving the block none is left."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        """Start identity providers, payments server and gate, in this order, each ready before the next."""
        try:
            self._start_all()
        except BaseException:
            self._stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_all()

    def check(self) -> None:
        """Raises DemoError where one of them has died."""
        for child in self._children:
            if (obituary := child.obituary()) is not None:
                raise DemoError(obituary)

    def watch(self) -> NoReturn:
        """Blocks until one dies; raises DemoError then."""
        while True:
            self.check()
            time.sleep(0.25)

    def _start_all(self) -> None:
        place = self._place
        python = sys.executable
        idp = self._start(
            "identity-providers",
            [
                *(python, "-P", "-m", "gatebook.demo.idp", "--port", str(place.idp_port)),
                *("--redirect-uri", place.login_callback),
            ],
        )
        payments = self._start(
            "payments-server",
            [
                *(python, "-P", "-m", "gatebook.demo.payments", "--port", str(place.payments_port)),
                *("--data", str(place.directory / "payments"), "--api-key-file", str(place.api_key_file)),
            ],
        )
        # The gate fetches the issuers' keys when it starts, so they come first.
        idp.wait_ready(f"http://127.0.0.1:{place.idp_port}/healthz")
        payments.wait_ready(f"http://127.0.0.1:{place.payments_port}/healthz")
        gate = self._start("gatebook", [*gatebook_command(), "serve", "--config", str(place.configuration)])
        gate.wait_ready(f"{place.public_url}/readyz")
        gate.wait_ready(f"{place.desk_url}/healthz")

    def _start(self, name: str, command: Sequence[str]) -> Child:
        child = Child(name, command, self._place.directory / "output" / f"{name}.log")
        self._children.append(child)
        return child

    def _stop_all(self) -> None:
        # The gate first: it still has records to write and calls to finish, and its neighbours must be there for that.
        while self._children:
            self._children.pop().stop()


def gatebook_command() -> list[str]:
    """The words that start this very Gatebook as a process, whatever PATH says."""
    script = Path(sys.executable).with_name("gatebook")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from gatebook.cli.app import main; main()"]


def spoken_command() -> str:
    """How a reader starts this Gatebook: by name where PATH leads to it, else by its path."""
    script = Path(sys.executable).parent / "gatebook"
    found = shutil.which("gatebook")
    if found is not None and Path(found).resolve() == script.resolve():
        return "gatebook"
    return short(script) if script.exists() else f"{sys.executable} -m gatebook"


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2.0, trust_env=False).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def _die_with_parent() -> None:
    """In the child: SIGTERM when the demonstration dies without a chance to stop it (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
