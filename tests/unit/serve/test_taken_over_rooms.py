"""A room that was taken over, against the supervisor, which may be root: it says what is another's to say, names files, plants links where root writes;
and a folder of somebody else's in which it was started."""

import asyncio
import errno
import hashlib
import os
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import cast

import msgspec
import pytest

from gatebook.model.counting import Report, Sample, Spread
from gatebook.model.deployment import Deployment, Trust
from gatebook.model.errors import ConfigurationError
from gatebook.model.spans import Span
from gatebook.model.users import Account, Users
from gatebook.serve import configs_kept
from gatebook.serve.activation import Activation, DeskSide
from gatebook.serve.configs_kept import keep_by_hash
from gatebook.serve.control import (
    MAX_MESSAGE_BYTES,
    Adopted,
    Compile,
    Compiled,
    Counted,
    FromRoom,
    Keys,
    KeysAnswered,
    KeysWanted,
    NewTrust,
    NotCompiled,
    Prepared,
    Told,
    Unprepared,
    supervisor_end,
)
from gatebook.serve.house import House
from gatebook.serve.metering.gathering import Gathering
from gatebook.serve.replacing import line_of, require_able
from gatebook.serve.rooms import PASSED_ON_BYTES, Room
from tests.world_ledger import a_place

RAW = b"profile = 'dev'\n"
SHA256 = hashlib.sha256(RAW).hexdigest()


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return msgspec.structs.replace(a_place(tmp_path).deployment, data_dir=str(tmp_path / "data"))


def with_users(deployment: Deployment) -> Deployment:
    """The supervisor is whoever runs the tests."""
    names = ("supervisor", "gate", "sealer", "desk")
    accounts = {name: Account(name=name, uid=61000 + number, gid=61000 + number) for number, name in enumerate(names)}
    return msgspec.structs.replace(deployment, users=Users(**accounts))


def compiled(deployment: Deployment, sha256: str = SHA256) -> Compiled:
    return Compiled(number=1, deployment=deployment, sha256=sha256, raw=RAW)


# What it says


class Child:
    """Of a room that does not run."""

    pid = 1
    returncode: int | None = None

    async def wait(self) -> int:
        return self.returncode or 0

    def kill(self) -> None:
        self.returncode = -9

    def terminate(self) -> None:
        self.returncode = -15


OF_THE_DESK: list[FromRoom] = [
    NewTrust(trust=Trust(number=9, revoked=frozenset())),
    NotCompiled(number=1, problems=("nothing",)),
    Keys(),
    KeysAnswered(),
]
OF_WORKERS: list[FromRoom] = [Adopted(number=1), Prepared(number=1), Unprepared(number=1, why=""), KeysWanted(issuer="corp"), Told(spans=())]  # fmt: skip


def a_house() -> House:
    return House(Path("gatebook.toml"), lambda _: pytest.fail("nothing is written"), 60)


async def after(name: str, message: FromRoom, house: House | None = None) -> tuple[House, Child]:
    """The house, and the room of this name, once it has said so and ended."""
    house = house or a_house()
    ours, theirs = socket.socketpair()
    child = Child()
    room = Room(name, child, await supervisor_end(ours))
    house.rooms[name] = room
    room.listen(house.hear)
    body = msgspec.json.encode(message)
    with theirs:
        theirs.sendall(len(body).to_bytes(4, "big") + body)
    assert room._listening is not None
    await room._listening
    return house, child


@pytest.mark.parametrize("name", ["gate-0", "gate-1.4711", "sealer", "runner", "meter"])
@pytest.mark.parametrize("message", OF_THE_DESK, ids=lambda message: type(message).__name__)
async def test_no_other_room_speaks_for_the_desk(
    name: str, message: FromRoom, capsys: pytest.CaptureFixture[str]
) -> None:
    house, child = await after(name, message)
    assert child.returncode == -9
    assert "room.overstepped" in capsys.readouterr().err
    assert house.trusting.trust is None and not house.desk.first_keys.is_set()


async def test_a_worker_gives_nobody_a_configuration(deployment: Deployment) -> None:
    _, child = await after("gate-0", compiled(deployment))
    assert child.returncode == -9


@pytest.mark.parametrize("message", OF_WORKERS, ids=lambda message: type(message).__name__)
async def test_the_desk_does_not_speak_for_workers(message: FromRoom) -> None:
    _, child = await after("desk", message)
    assert child.returncode == -9


async def test_whose_it_is_is_heard() -> None:
    house, child = await after("desk.4711", NewTrust(trust=Trust(number=9, revoked=frozenset({"a"}))))
    assert child.returncode is None
    assert house.trusting.trust is not None and house.trusting.trust.number == 9


class Asked:
    """An activation that counts how often it is told of new keys."""

    times = 0

    async def new_keys(self) -> None:
        self.times += 1


async def test_keys_that_come_during_the_stop_are_not_told_to_workers_that_have_gone() -> None:
    """That no worker could take them was said as `keys.refused`, for which a person comes."""
    house, asked = a_house(), Asked()
    house.activation = cast(Activation, asked)
    await after("desk", Keys(), house)
    await asyncio.sleep(0)
    assert asked.times == 1
    await house.end()
    await after("desk", Keys(), house)
    await asyncio.sleep(0)
    assert asked.times == 1


@pytest.mark.parametrize(
    "report", [Report(samples=(Sample("mine", (), 1.0),)), Report(spreads=(Spread("mine", (), (1,), 1.0),))]
)
async def test_a_sealer_that_counts_what_nobody_counts_is_still_seen_to_end(
    deployment: Deployment, report: Report
) -> None:
    """Adding up what it had said failed, and nobody began to count the time without a sealer."""
    house = a_house()
    house.gathering = Gathering(deployment, house.rooms.values, lambda: house.grace.refusing)
    await after("sealer", Counted(report=report), house)
    assert house.grace._timer is not None


async def test_what_one_room_says_to_another_that_takes_nothing_does_not_pile_up() -> None:
    house = a_house()
    ours, theirs = socket.socketpair()
    channel = await supervisor_end(ours)
    meter = house.rooms["meter"] = Room("meter", Child(), channel)
    worker, other = socket.socketpair()
    room = Room("gate-0", Child(), await supervisor_end(worker))
    span = Span(
        trace="", parent="", call="", server="", method="x" * (1 << 20), protocol="", started_ns=0, ended_ns=0, sent_ns=None,
        answered_ns=None, status=0, refused=None,
    )  # fmt: skip
    for _ in range(100):
        house.hear(room, Told(spans=(span,)))
    assert PASSED_ON_BYTES <= channel.waiting_bytes < 2 * PASSED_ON_BYTES
    assert meter.alive
    for end in (theirs, other):
        end.close()


async def test_a_message_that_is_too_large_to_be_one_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    child = Child()
    room = Room("gate-0", child, await supervisor_end(ours))
    room.listen(lambda _room, _message: None)
    with theirs:
        theirs.sendall((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
        assert room._listening is not None
        await room._listening
    assert child.returncode == -9


# What it names


@pytest.mark.parametrize("named", ["0" * 64, SHA256.upper(), "/../../desk/x", ""])
async def test_a_hash_that_is_not_the_files_is_no_configuration(deployment: Deployment, named: str) -> None:
    class Desk:
        def send(self, message: Compile) -> None:
            side.heard(msgspec.structs.replace(compiled(deployment, named), number=message.number))

        async def patiently(self, work: Awaitable[Compiled], what: str, within_s: float) -> Compiled:
            return await work

    desk = cast(Room, Desk())
    side = DeskSide(Path("gatebook.toml"), lambda: desk, lambda: (desk,))
    with pytest.raises(ConfigurationError, match="another hash"):
        await side.compile()


def test_a_hash_that_is_a_path_writes_nothing_anywhere(deployment: Deployment, tmp_path: Path) -> None:
    """A desk that was taken over had root write a file of its own wherever it wanted."""
    victim = tmp_path / "cron"
    data_dir = Path(deployment.data_dir)
    (data_dir / "desk").mkdir(parents=True)
    (data_dir / "desk" / "x.tmp").symlink_to(victim)
    with pytest.raises(ConfigurationError):
        keep_by_hash(deployment, RAW, "/../../desk/x")
    assert not victim.exists()


# What it plants


def test_a_link_where_the_configuration_is_kept_is_not_written_through(deployment: Deployment, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    configs = Path(deployment.data_dir) / "log" / "configs"
    configs.mkdir(parents=True)
    (configs / f".{SHA256}.tmp").symlink_to(victim)
    keep_by_hash(deployment, RAW, SHA256)
    assert victim.read_bytes() == b"mine"
    assert (configs / f"{SHA256}.toml").read_bytes() == RAW


def test_a_folder_in_the_place_of_ours_gets_nothing(deployment: Deployment, tmp_path: Path) -> None:
    """The sealer, whose `log` is, can put another folder there: a link, or one that it may write into."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    log = Path(deployment.data_dir) / "log"
    log.mkdir(parents=True)
    (log / "configs").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="could not be kept"):
        keep_by_hash(deployment, RAW, SHA256)
    (log / "configs").unlink()
    (log / "configs").mkdir()
    (log / "configs").chmod(0o2770)
    with pytest.raises(ConfigurationError, match="not the supervisor's alone"):
        keep_by_hash(with_users(deployment), RAW, SHA256)
    assert not list(elsewhere.iterdir()) and not list((log / "configs").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to the sealer")
def test_a_folder_of_the_sealers_gets_nothing(deployment: Deployment) -> None:
    configs = Path(deployment.data_dir) / "log" / "configs"
    configs.mkdir(parents=True)
    os.chown(configs, 61002, 61002)
    with pytest.raises(ConfigurationError, match="not the supervisor's alone"):
        keep_by_hash(with_users(deployment), RAW, SHA256)


def test_a_configuration_that_could_not_be_kept_leaves_nothing_in_the_log(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there and no entry names is BROKEN for verify, for ever."""
    configs = Path(deployment.data_dir) / "log" / "configs"

    class FullDisk:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def fsync(self, descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(configs_kept, "os", FullDisk())
    with pytest.raises(ConfigurationError, match="No space left"):
        keep_by_hash(deployment, RAW, SHA256)
    assert list(configs.iterdir()) == []


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_supervisor_left_that_died_while_it_kept_a_configuration_is_cleared_away(
    deployment: Deployment, kept: bool
) -> None:
    configs = Path(deployment.data_dir) / "log" / "configs"
    if kept:
        keep_by_hash(deployment, RAW, SHA256)
    configs.mkdir(parents=True, exist_ok=True)
    (configs / f".{hashlib.sha256(b'another').hexdigest()}.tmp").write_bytes(b"half of ano")
    keep_by_hash(deployment, RAW, SHA256)
    assert [file.name for file in configs.iterdir()] == [f"{SHA256}.toml"]


# Where it was started


@pytest.mark.slow
async def test_a_release_that_is_asked_runs_nothing_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it can take over is asked of it by the supervisor, which may be root."""
    (tmp_path / "msgspec.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="missing"):
        await require_able(sys.executable, tmp_path / "missing.toml")
    assert not (tmp_path / "run").exists()
    assert line_of("python", Path("gatebook.toml"))[:2] == ("python", "-P")
