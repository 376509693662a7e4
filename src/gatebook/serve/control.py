"""What the supervisor and its rooms say to each other: typed messages in length-prefixed JSON over a socket pair that each room inherits."""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Generic, TypeVar

import msgspec

from gatebook.model.deployment import Deployment, Issuer, KeySet, Snapshot

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
    """To a worker or the desk: take on nothing more, finish what is under way in at most `within_s` seconds, then end."""

    within_s: float


class Tell(msgspec.Struct, frozen=True, tag=True):
    """To a worker: say on standard error what you hold."""


class Compile(msgspec.Struct, frozen=True, tag=True):
    """To the desk: read and check this configuration file. The answer bears the same number."""

    number: int
    path: str


class Keys(msgspec.Struct, frozen=True, tag=True):
    """From the desk: the key sets changed. `issuers`: whose they are, so that a set never serves another issuer of the same name."""

    issuers: tuple[Issuer, ...] = ()
    key_sets: dict[str, KeySet] = {}

    def of(self, issuers: tuple[Issuer, ...]) -> dict[str, KeySet]:
        """The sets of those issuers that are still found where these sets came from."""
        sources = {issuer.name: _source(issuer) for issuer in self.issuers}
        return {
            issuer.name: self.key_sets[issuer.name]
            for issuer in issuers
            if issuer.name in self.key_sets and sources.get(issuer.name) == _source(issuer)
        }


class Serve(msgspec.Struct, frozen=True, tag=True):
    """To the desk: keep the key sets of this deployment's issuers from now on; `known` are those of before."""

    deployment: Deployment
    known: Keys


class KeysWanted(msgspec.Struct, frozen=True, tag=True):
    """From a worker through the supervisor to the desk: a token named a key that the issuer's set does not hold."""

    issuer: str


class Compiled(msgspec.Struct, frozen=True, tag=True):
    """From the desk: the configuration is good. `raw`: the file's bytes."""

    number: int
    deployment: Deployment
    sha256: str
    raw: bytes


class NotCompiled(msgspec.Struct, frozen=True, tag=True):
    """From the desk: the configuration is not good, and why, all at once."""

    number: int
    problems: tuple[str, ...]


class KeysAnswered(msgspec.Struct, frozen=True, tag=True):
    """From the desk: every issuer has answered or failed once, so a first snapshot is worth preparing."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From any room: started. A worker and the desk wait to be told things; the sealer has signed all that it found."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    number: int


class Unprepared(msgspec.Struct, frozen=True, tag=True):
    number: int
    why: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From any room: it cannot go on and ends. A worker whose ledger cannot be written refuses everything until then."""

    why: str


def _source(issuer: Issuer) -> tuple[str, str | None, str | None]:
    return issuer.url, issuer.jwks_file, issuer.ca_file


ToRoom = Prepare | Activate | Refuse | Drain | Tell | Compile | Serve | KeysWanted
FromRoom = Compiled | NotCompiled | Keys | KeysAnswered | Ready | Prepared | Unprepared | Failed | KeysWanted


def _framed(message: object) -> bytes:
    body = msgspec.json.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError("a control message is too large")
    return struct.pack(">I", len(body)) + body


def tell(fd: int, message: FromRoom) -> None:
    """As `Channel.send`, at once, for a room that has no event loop or did not come to have one."""
    with contextlib.suppress(OSError):
        os.write(fd, _framed(message))


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
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(_framed(message))

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
