"""A child process that another program started under our process id: `exec` keeps the children and forgets everything about them."""

import asyncio
import os
import signal


class InheritedProcess:
    """As asyncio's Process, for a child of ours that this program did not start. Needs a running loop; raises ProcessLookupError where there is
    no such child, also none that waits to be reaped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            # A child that ended keeps its number until it is reaped; without this look the number might be anybody's by now.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            self._handle = os.pidfd_open(pid)
        except (ChildProcessError, ProcessLookupError) as failure:
            raise ProcessLookupError(pid) from failure
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    def _reap(self) -> None:
        ended = os.waitid(os.P_PIDFD, self._handle, os.WEXITED | os.WNOHANG)
        if ended is None:
            return
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        status = ended.si_status
        self.returncode = status if ended.si_code == os.CLD_EXITED else -status
        self._ended.set_result(self.returncode)
