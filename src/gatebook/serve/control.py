"""What the supervisor and its rooms say to each other: typed messages in length-prefixed JSON over a socket pair that each room inherits.

Rooms of one release may be led by the supervisor of another, while the one hands over to the other: `VERSION` is what both must have.
A field with a default may be added to a message under the same version, as a field may to a snapshot; everything else needs the next one.
"""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Generic, Literal, TypeVar

import msgspec

from gatebook import __version__
from gatebook.model.counting import Report
from gatebook.model.deployment import Deployment, Issuer, KeySet, Metrics, Snapshot, Traces, Trust
from gatebook.model.spans import Span

VERSION = 1
MAX_MESSAGE_BYTES = 64 << 20
TAKEN_S = 5.0


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """To a worker: make this snapshot ready, answer Prepared or Unprepared, go on with the old one."""

    snapshot: Snapshot


class Activate(msgspec.Struct, frozen=True, tag=True):
    """To a worker: judge new calls by the prepared snapshot of this number."""

    number: int


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """To a worker: refuse calls from now on, or no longer, for this one cause; `why` goes to the diagnostics."""

    on: bool
    why: str
    cause: Literal["unsealed", "disk"] = "unsealed"


class Adopt(msgspec.Struct, frozen=True, tag=True):
    """To a worker: from now on these logins count no more. Answered by Adopted; nothing is prepared, and no cache is emptied."""

    trust: Trust


class Adopted(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it refuses what the trust of this number calls revoked."""

    number: int


class NewTrust(msgspec.Struct, frozen=True, tag=True):
    """From the desk: what counts no more, as its store has it. Numbers grow, also over restarts of the desk."""

    trust: Trust


class InForce(msgspec.Struct, frozen=True, tag=True):
    """To the desk: every worker that runs has adopted the trust of this number."""

    number: int


class Drain(msgspec.Struct, frozen=True, tag=True):
    """To a worker, the desk or the runner: take on nothing more, finish what is under way in at most `within_s` seconds, then end."""

    within_s: float


class Leave(msgspec.Struct, frozen=True, tag=True):
    """To a worker whose successor listens on the same sockets: accept nobody more, answer who is connected, and say goodbye with each answer.
    It goes on obeying, and ends by itself; `finish_s` as `within_s` of Drain, for calls that nobody else waits for any more."""

    finish_s: float


class Tell(msgspec.Struct, frozen=True, tag=True):
    """To a worker or the runner: say on standard error what you hold."""


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
    """To the desk: keep the key sets of this deployment's issuers from now on, and let people log in where it says so. `known`: the sets of
    before; `trust_number`: that of the trust in force, 0 where there is none."""

    deployment: Deployment
    known: Keys
    trust_number: int = 0


class Run(msgspec.Struct, frozen=True, tag=True):
    """To the runner: serve the commands of this deployment from now on. Processes of commands that changed or went end, sessions with them.
    `config`: where the configuration file lies, which no server may see."""

    deployment: Deployment
    config: str


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

    release: str = ""
    control: int = 0


def ready() -> Ready:
    """What a room of this release says."""
    return Ready(release=__version__, control=VERSION)


class Listening(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it accepts on its sockets, and judges by its first snapshot."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    number: int


class Unprepared(msgspec.Struct, frozen=True, tag=True):
    number: int
    why: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From any room: it cannot go on and ends. A worker whose ledger cannot be written refuses everything until then."""

    why: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """From a worker through the supervisor to the meter: calls that ended, for whoever traces."""

    spans: tuple[Span, ...]


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor gives a worker on stdin. `sockets`: inherited listening descriptors."""

    deployment: Deployment
    slot: int
    sockets: tuple[int, ...]


class MeterStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor gives the meter on stdin. `sockets`: inherited listening descriptors; none without `metrics`."""

    metrics: Metrics | None
    traces: Traces | None
    sockets: tuple[int, ...]


class Counted(msgspec.Struct, frozen=True, tag=True):
    """From any room, once a second where there are metrics: what it has counted since it began."""

    report: Report


class Totals(msgspec.Struct, frozen=True, tag=True):
    """To the meter, once a second: for each room, and for the supervisor, what it and its predecessors have counted."""

    reports: dict[str, Report]


def _source(issuer: Issuer) -> tuple[str, str | None, str | None]:
    return issuer.url, issuer.jwks_file, issuer.ca_file


ToRoom = (
    Adopt
    | InForce
    | Prepare
    | Activate
    | Refuse
    | Drain
    | Leave
    | Tell
    | Compile
    | Serve
    | Run
    | KeysWanted
    | Totals
    | Told
)
FromRoom = (
    Adopted
    | NewTrust
    | Compiled
    | NotCompiled
    | Keys
    | KeysAnswered
    | Ready
    | Listening
    | Prepared
    | Unprepared
    | Failed
    | KeysWanted
    | Counted
    | Told
)


def _framed(message: object) -> bytes:
    body = msgspec.json.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError("a control message is too large")
    return struct.pack(">I", len(body)) + body


def tell(fd: int, message: FromRoom) -> None:
    """As `Channel.send`, at once, for a room that has no event loop or did not come to have one."""
    with contextlib.suppress(OSError):
        os.write(fd, _framed(message))


def tell_if_heard(fd: int, message: FromRoom) -> None:
    """As `tell`, for what may be lost: where the supervisor has stopped listening, the caller does not wait for it.

    A message of some kilobytes is taken whole or not at all (unix(7): one buffer for each send)."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as ours:
        ours.send(_framed(message), socket.MSG_DONTWAIT)


In = TypeVar("In")
Out = TypeVar("Out")


class _Bytes(asyncio.Protocol):
    """What came in and was not taken yet."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.over = False
        self.came = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.held += data
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self.came.set()


class Channel(Generic[In, Out]):
    """One end of the talk. `receive` gives None when the other end is gone."""

    def __init__(
        self,
        sock: socket.socket,
        transport: asyncio.Transport,
        incoming: _Bytes,
        decoder: "msgspec.json.Decoder[In]",
    ) -> None:
        self._sock = sock
        self._transport = transport
        self._incoming = incoming
        self._decoder = decoder

    async def receive(self) -> In | None:
        """The next message. To be called by one task at a time; cancelled, it has taken nothing. Raises ValueError where the other end does not
        speak as we do, or says more than anybody has to say: a supervisor must not hold whatever a room sends."""
        incoming = self._incoming
        while True:
            if len(incoming.held) >= 4:
                (size,) = struct.unpack_from(">I", incoming.held)
                if size > MAX_MESSAGE_BYTES:
                    raise ValueError("a control message is too large")
                if len(incoming.held) >= 4 + size:
                    body = bytes(incoming.held[4 : 4 + size])
                    del incoming.held[: 4 + size]
                    return self._decoder.decode(body)
            if incoming.over:
                return None
            incoming.came.clear()
            await incoming.came.wait()

    def send(self, message: Out) -> None:
        """Queue `message`; a room that is gone loses it, and its end is seen elsewhere."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._transport.write(_framed(message))

    @property
    def waiting_bytes(self) -> int:
        """What was sent and the other end has not taken."""
        return self._transport.get_write_buffer_size()

    @property
    def over(self) -> bool:
        """The other end is gone, or nothing more is sent to it."""
        return self._incoming.over or self._transport.is_closing()

    async def flushed(self) -> None:
        """Everything sent is on its way. Raises TimeoutError where the other end takes nothing."""
        async with asyncio.timeout(TAKEN_S):
            # A room takes what it is sent within milliseconds; once per hand-over.
            while self._transport.get_write_buffer_size():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def rest(self) -> tuple[int, bytes]:
        """Nothing is read here any more: the descriptor, for another program to go on with, and what came but was not received."""
        self._transport.pause_reading()
        return self._sock.fileno(), bytes(self._incoming.held)

    def close(self) -> None:
        self._transport.close()


async def _channel(
    sock: socket.socket, decoder: "msgspec.json.Decoder[In]", unread: bytes = b""
) -> tuple[socket.socket, asyncio.Transport, _Bytes, "msgspec.json.Decoder[In]"]:
    sock.setblocking(False)
    incoming = _Bytes()
    incoming.held += unread
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: incoming, sock=sock)
    return sock, transport, incoming, decoder


async def room_end(fd: int) -> Channel[ToRoom, FromRoom]:
    """The room's end, from the inherited descriptor."""
    return Channel(*await _channel(socket.socket(fileno=fd), msgspec.json.Decoder(ToRoom)))


async def supervisor_end(sock: socket.socket, unread: bytes = b"") -> Channel[FromRoom, ToRoom]:
    """The supervisor's end of one room's talk. `unread`: what came before and was not understood yet."""
    return Channel(*await _channel(sock, msgspec.json.Decoder(FromRoom), unread))
