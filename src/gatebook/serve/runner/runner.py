"""The room: a Unix socket for each server that is a command, as long as the supervisor says so."""

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from gatebook.model.counting import Report, Sample
from gatebook.model.deployment import SOCKETS, Command, Deployment, Server
from gatebook.model.errors import ConfigurationError
from gatebook.ports import Credentials
from gatebook.serve import asgi_server
from gatebook.serve.control import Channel, Counted, Drain, FromRoom, Run, Tell, ToRoom, ready
from gatebook.serve.diagnostics import say
from gatebook.serve.holding import holdings
from gatebook.serve.metering import reporting
from gatebook.serve.runner.endpoint import Endpoint
from gatebook.serve.runner.keeper import Ground, Keeper, Slots
from gatebook.serve.runner.launching import end_leftovers
from gatebook.serve.runner.sandbox import Host

REPORT_S: Final = 1.0
ORPHANED_S: Final = 1.0
"""What calls under way get when the supervisor is gone; the gate's workers, which end them, get as much."""


class _Place(msgspec.Struct, eq=False, kw_only=True):
    """One server's socket, and who answers there."""

    server: Server
    command: Command
    endpoint: Endpoint
    listening: asgi_server.Server
    serving: "asyncio.Task[None]"
    path: Path


class Runner:
    """One runner's life: listen for each command of the deployment, follow reloads, end every process."""

    def __init__(
        self,
        told: Run,
        channel: Channel[ToRoom, FromRoom],
        credentials: Credentials,
        find_host: Callable[[], Host],
    ) -> None:
        self._deployment = told.deployment
        self._channel = channel
        self._places: dict[str, _Place] = {}
        self._reporting: asyncio.Task[None] | None = None
        self._ground = Ground(
            host=find_host(),
            credentials=credentials,
            deployment=told.deployment,
            config=Path(told.config),
            directory=Path(told.deployment.data_dir) / SOCKETS,
            slots=Slots(told.deployment.runner.processes),
        )

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor is gone. No process of ours is left when it returns."""
        self._clean()
        try:
            await self._follow(self._deployment)
            self._channel.send(ready())
            if self._deployment.metrics is not None:
                self._reporting = asyncio.create_task(self._report())
            while not isinstance(message := await self._channel.receive(), Drain | None):
                match message:
                    case Run(deployment=deployment):
                        await self._follow(deployment)
                    case Tell():
                        self._tell()
                    case _:
                        say("control.unexpected", message=type(message).__name__)
        finally:
            if self._reporting is not None:
                self._reporting.cancel()
            await self._end()

    def _clean(self) -> None:
        """Nothing of an earlier runner is left: no process, no socket, no secret in a file."""
        directory = self._ground.directory
        if left := end_leftovers(str(directory)):
            say("command.leftovers_killed", count=left)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # with a user of our own, we may empty it, but not take it away

    async def _follow(self, deployment: Deployment) -> None:
        """The commands of `deployment` are served, each by its own configuration; processes of another end."""
        self._deployment = deployment
        self._ground.deployment = deployment
        self._ground.slots.most = deployment.runner.processes
        wanted = {server.name: server for server in deployment.servers if server.command is not None}
        for name in self._places.keys() - wanted.keys():
            await self._close(self._places.pop(name))
        for name, server in wanted.items():
            assert server.command is not None
            place = self._places.get(name)
            if place is None:
                self._places[name] = await self._open(server, server.command)
            elif place.command != server.command:
                ended, place.endpoint.keeper = place.endpoint.keeper, self._keeper(server, server.command)
                place.server, place.command = server, server.command
                await ended.end()

    def _keeper(self, server: Server, command: Command) -> Keeper:
        return Keeper(server, command, self._deployment, self._ground)

    async def _open(self, server: Server, command: Command) -> _Place:
        path = self._ground.directory / f"{server.name}.sock"
        endpoint = Endpoint(self._keeper(server, command), self._deployment.limits.request_bytes)
        listening = asgi_server.prepared(endpoint, http="httptools", keep_alive_s=75, finish_s=1, says_date=False)
        serving = asyncio.create_task(listening.serve([_bound(path, shared=self._deployment.users is not None)]))
        while not listening.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it; a few turns of the loop
            await asyncio.sleep(0)
        return _Place(
            server=server, command=command, endpoint=endpoint, listening=listening, serving=serving, path=path
        )

    async def _close(self, place: _Place, *, at_once: bool = False) -> None:
        place.listening.should_exit = True
        await place.endpoint.keeper.end(at_once=at_once)
        place.listening.force_exit = True
        await asyncio.wait((place.serving,))
        place.path.unlink(missing_ok=True)

    async def _end(self) -> None:
        await asyncio.gather(*(self._close(place, at_once=True) for place in self._places.values()))

    async def _report(self) -> None:
        while True:
            self._channel.send(Counted(report=Report(tuple(self._samples()))))
            await asyncio.sleep(REPORT_S)

    def _samples(self) -> Iterator[Sample]:
        ground = self._ground
        yield from reporting.process()
        yield Sample("gatebook_commands_limit", (), ground.slots.most)
        yield Sample("gatebook_commands_refused", (), ground.slots.refused)
        for name, place in self._places.items():
            yield Sample("gatebook_commands_running", (name,), place.endpoint.keeper.alive)
            yield Sample("gatebook_command_starts", (name,), ground.started[name])
            yield Sample("gatebook_command_failures", (name,), ground.failed[name])

    def _tell(self) -> None:
        slots = self._ground.slots
        say("room.holds", room="runner", **holdings(), processes=slots.taken, most_processes=slots.most)


def _bound(path: Path, *, shared: bool) -> socket.socket:
    """Listening there, for this user alone, or `shared` with the group of the folder, which is the gate's. Raises ConfigurationError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o117 if shared else 0o177)
    try:
        listener.bind(str(path))
    except OSError as failure:
        listener.close()
        raise ConfigurationError((f"{path}: cannot be listened at: {failure.strerror}",)) from failure
    finally:
        os.umask(old)
    listener.setblocking(False)
    return listener
