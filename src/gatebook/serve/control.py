"""What the supervisor and its rooms say to each other: typed messages in length-prefixed JSON over a socket pair that each room inherits."""

import asyncio
import contextlib
import socket
import struct
from typing import Generic, TypeVar

import msgspec

from gatebook.model.deployment import Deployment, KeySet, Snapshot

MAX_MESSAGE_BYTES = 64 << 20


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """To a worker: make this snapshot ready, answer Prepared or Unprepared, go on with the old one."""

    snapshot: Snapshot


class Activate(msgspec.Struct, frozen=True, tag=True):
    """To a worker: judge new calls by the prepared snapshot of this number."""

    number: int


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """To a worker: refuse calls from now on, or no longer; `why` goes to the diagnostics."""

    on: bool
    why: str


class Drain(msgspec.Struct, frozen=True, tag=True):
    """To any room: finish what is under way, then end."""


class Compile(msgspec.Struct, frozen=True, tag=True):
    """To the desk: read and check this configuration file."""

    path: str


class Serve(msgspec.Struct, frozen=True, tag=True):
    """To the desk: keep the key sets of this deployment's issuers from now on."""

    deployment: Deployment


class KeysWanted(msgspec.Struct, frozen=True, tag=True):
    """From a worker through the supervisor to the desk: a token named a key that the issuer's set does not hold."""

    issuer: str


class Compiled(msgspec.Struct, frozen=True, tag=True):
    """From the desk: the configuration is good. `raw`: the file's bytes; `warnings` for the banner."""

    deployment: Deployment
    sha256: str
    raw: bytes
    warnings: tuple[str, ...] = ()


class NotCompiled(msgspec.Struct, frozen=True, tag=True):
    """From the desk: the configuration is not good, and why, all at once."""

    problems: tuple[str, ...]


class Keys(msgspec.Struct, frozen=True, tag=True):
    """From the desk: the key sets changed."""

    key_sets: dict[str, KeySet]


class KeysAnswered(msgspec.Struct, frozen=True, tag=True):
    """From the desk: every issuer has answered or failed once, so a first snapshot is worth preparing."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From a worker: started, waiting for a snapshot."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    number: int


class Unprepared(msgspec.Struct, frozen=True, tag=True):
    number: int
    why: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: its ledger can no longer be written; it refuses everything and ends."""

    why: str


ToRoom = Prepare | Activate | Refuse | Drain | Compile | Serve | KeysWanted
FromRoom = Compiled | NotCompiled | Keys | KeysAnswered | Ready | Prepared | Unprepared | Failed | KeysWanted

In = TypeVar("In")
Out = TypeVar("Out")


class Channel(Generic[In, Out]):
    """One end of the talk. `receive` gives None when the other end is gone."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: "msgspec.json.Decoder[In]"
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    async def receive(self) -> In | None:
        try:
            (size,) = struct.unpack(">I", await self._reader.readexactly(4))
            return self._decoder.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def send(self, message: Out) -> None:
        """Queue `message`; a room that is gone loses it, and its end is seen elsewhere."""
        body = msgspec.json.encode(message)
        if len(body) > MAX_MESSAGE_BYTES:
            raise ValueError("a control message is too large")
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(struct.pack(">I", len(body)) + body)

    def close(self) -> None:
        self._writer.close()


async def room_end(fd: int) -> Channel[ToRoom, FromRoom]:
    """The room's end, from the inherited descriptor."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))
    return Channel(reader, writer, msgspec.json.Decoder(ToRoom))


async def supervisor_end(sock: socket.socket) -> Channel[FromRoom, ToRoom]:
    """The supervisor's end of one room's talk."""
    reader, writer = await asyncio.open_connection(sock=sock)
    return Channel(reader, writer, msgspec.json.Decoder(FromRoom))
