"""The runner as the supervisor sees it: there only where a server is a command, and told what is in force."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.serve.control import Drain, Run
from gatebook.serve.diagnostics import say
from gatebook.serve.rooms import Room, ended

END_S = 5.0


class StartRoom(Protocol):
    async def __call__(self, name: str, start: bytes = b"") -> Room: ...


class Running:
    """`present`: the runner that runs now, or ran last; None while there was none."""

    def __init__(
        self,
        start_room: StartRoom,
        keep: Callable[[str, Callable[[], Awaitable[object]]], None],
        present: Callable[[], Room | None],
        config: Path,
    ) -> None:
        self._config = str(config.absolute())
        self._start_room = start_room
        self._keep = keep
        self._present = present
        self._deployment: Deployment | None = None
        self._kept = False

    def room(self) -> tuple[Room, ...]:
        room = self._present()
        return (room,) if room is not None and room.alive else ()

    async def start(self, deployment: Deployment) -> None:
        """Its sockets listen, if a server is a command. Raises ConfigurationError, OSError."""
        self._deployment = deployment
        if any(server.command is not None for server in deployment.servers):
            await self._start()

    async def go_on(self, deployment: Deployment) -> None:
        """As `follow`, where another supervisor's runner may serve the commands of `deployment` already."""
        self._deployment = deployment
        if self._present() is None:
            await self.follow(deployment)

    def _run(self, deployment: Deployment) -> Run:
        return Run(deployment=deployment, config=self._config)

    async def _start(self) -> None:
        assert self._deployment is not None
        await self._start_room("runner", msgspec.json.encode(self._run(self._deployment)))

    def keep(self) -> None:
        """From now on it is started again when it ends; also one that only a later configuration needs."""
        if self._present() is not None and not self._kept:
            self._kept = True
            self._keep("runner", self._start)

    async def follow(self, deployment: Deployment) -> None:
        """It serves the commands of `deployment` from now on, started for it where need be. One that cannot be started is said, and kept at."""
        self._deployment = deployment
        if self._present() is not None:
            for room in self.room():
                room.send(self._run(deployment))
            return
        try:
            await self.start(deployment)
        except (ConfigurationError, OSError) as failure:
            say("room.unstarted", room="runner", why=str(failure))
        self.keep()

    async def end(self) -> None:
        """No process of a server is left. Those of a runner that was being replaced end with the supervisor."""
        for room in self.room():
            room.send(Drain(within_s=0.0))
        await ended(self.room(), END_S)
