"""What befalls a deployment in the course of years, where each room has a user of its own: other keys, backup, restore, reload, restart. All of it typed in a
shell of root's that masks whatever it can, as hardened machines have it."""

import contextlib
import json
import os
import shutil
import signal
import tomllib
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.gate import free_port
from tests.e2e.install.owned import (
    UIDS,
    USERS,
    Installed,
    as_user,
    prepared,
    rooms_of,
    serving,
    status,
    typed,
    with_command,
)
from tests.e2e.life.deployed import alive, call, until
from tests.e2e.life.upstream import Upstream
from tests.issuing import Issuer

pytestmark = [pytest.mark.usefixtures("root"), pytest.mark.timeout(600)]
HARDENED = 0o077
METADATA = "/.well-known/oauth-authorization-server"


class Place:
    """One deployment with all rooms, and a watermark that its sealer alone may write."""

    def __init__(self, installed: Path, folder: Path, upstream: Upstream, users: str = USERS) -> None:
        self.folder, self.port = folder, free_port()
        self.issuer: Issuer = prepared(folder, self.port, upstream, with_command(folder) + users)
        self._installed = installed
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir(mode=0o755)
        os.chown(elsewhere, UIDS["sealer"], UIDS["sealer"])
        named = 'origin = "localhost/test"\n'
        config = folder / "gatebook.toml"
        assert named in config.read_text()
        config.write_text(config.read_text().replace(named, f'{named}watermark = "{elsewhere / "mark"}"\n'))

    def serving(self, prefix: tuple[str, ...] = ()) -> contextlib.AbstractContextManager[Installed]:
        return serving(self._installed, self.folder, self.port, self.issuer, prefix, umask=HARDENED)

    def type(self, *arguments: str) -> str:
        done = typed(self._installed / "gatebook", self.folder, *arguments, umask=HARDENED)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        done = typed(self._installed / "gatebook", self.folder, *arguments, umask=HARDENED)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    @property
    def desk_url(self) -> str:
        config = tomllib.loads((self.folder / "gatebook.toml").read_text())
        return str(config["desk"]["public_url"])

    @property
    def keys(self) -> list[str]:
        """The ids of what verifies the desk's tokens, the newest first."""
        return [key["kid"] for key in json.loads((self.folder / "data/published/desk.jwks").read_bytes())["keys"]]


@pytest.fixture
def place(installed: Path, folder: Path, upstream: Upstream) -> Place:
    return Place(installed, folder, upstream)


def worked(gate: Installed, key: str) -> None:
    answer = gate.ask(call("work", key), gate.token("counting"))
    assert (answer.status, answer.reason) == (200, None)


def every_room_can_do_its_work(place: Place) -> None:
    """By the command that asks as each of them."""
    problems = json.loads(place.type("check", "--offline", "--json"))
    assert [each for each in problems if each["where"].startswith("users")] == []


def test_what_is_backed_up_under_users_is_restored_under_them_and_named_as_a_roll_back(place: Place) -> None:
    with place.serving() as gate:
        worked(gate, "one")
        made = json.loads(gate.command("backup", str(place.folder / "backups"), "--json").stdout)
        worked(gate, "lost")
        assert gate.stop() == 0
    gate.verify()
    old_key = (gate.data_dir / "log.vkey").read_text().strip()
    shutil.rmtree(gate.data_dir)
    restored = json.loads(place.type("restore", str(place.folder / "backups"), "--key", old_key, "--json"))
    assert (restored["size"], restored["rolled_back"]) == (made["size"], True)
    every_room_can_do_its_work(place)
    for name in ("formats.json", "log.vkey", "payloads.pub"):
        assert all(as_user(uid, "head", "-c1", gate.data_dir / name) for uid in UIDS.values()), name
    with place.serving() as gate:
        worked(gate, "after")
        assert {room: bool(pids) for room, pids in rooms_of(gate).items()} == dict.fromkeys(UIDS, True)
        found = json.loads(gate.command("doctor", "--offline", "--json").stdout)
        said = " ".join(finding["what"] for finding in found)
        assert "ROLLED BACK by" in said and "nobody asked" not in said
        assert gate.stop() == 0
        assert gate.said("room.failed") == gate.said("room.ended") == []
        [told] = gate.log("log.restore")
        assert told.entry.out.reason == "rolled_back"
    assert "begun by a restore" in place.type("verify", "data", "--key", "data/log.vkey")
    former = gate.data_dir / restored["former"]
    assert "INTACT" in place.type("verify", str(former), "--key", old_key)
    assert all(not as_user(uid, "ls", former) for uid in UIDS.values()), "the old log is nobody's of these"


@pytest.mark.nightly
def test_the_desk_of_another_user_takes_another_key_and_comes_back_with_it(place: Place) -> None:
    with place.serving() as gate:
        [first] = place.keys
        gate.command("roll-desk-key")
        until(lambda: gate.said("desk.key_published"), "the desk shows another key beside the first")
        second, kept = place.keys
        assert (second != first, kept) == (True, first)
        [desk] = gate.rooms("desk")
        os.kill(desk, signal.SIGKILL)
        until(lambda: gate.rooms("desk") not in ([], [desk]), "another desk")
        until(lambda: desk_answers(place), "at which people log in")
        gate.command("roll-desk-key", "--now")
        [third] = place.keys
        assert third not in (first, second)
        until(lambda: gate.said("desk.key_signs"), "the stolen key's successor signs at once")
        assert all(as_user(uid, "cat", gate.data_dir / "published/desk.jwks") for uid in UIDS.values())
        assert [uid for uid in UIDS.values() if as_user(uid, "touch", gate.data_dir / "published/x")] == [UIDS["desk"]]
        worked(gate, "one")
        assert gate.stop() == 0
        assert gate.said("room.failed") == gate.said("desk.key_refused") == []
    # What a desk could lay there instead leads root nowhere at the next start.
    shown = gate.data_dir / "published/desk.jwks"
    shown.unlink()
    shown.symlink_to(gate.data_dir / "keys/log.skey")
    with place.serving() as gate:
        assert not shown.is_symlink() and place.keys == [third]
        assert status_of(gate.data_dir / "keys/log.skey") == (UIDS["sealer"], 0o600)
        assert gate.stop() == 0
    gate.verify()


@pytest.mark.nightly
def test_reloaded_restarted_killed_and_put_back_by_other_means(place: Place) -> None:
    with place.serving() as gate:
        worked(gate, "one")
        os.kill(gate.pid, signal.SIGHUP)
        until(lambda: len(gate.said("config.loaded")) == 2, "the configuration read anew")
        before = {room: set(pids) for room, pids in rooms_of(gate).items()}
        gate.command("restart")
        for room, pids in before.items():
            new = until(lambda room=room, pids=pids: set(gate.rooms(room)) - pids, f"another {room}")
            assert {status(pid)["Uid"].split()[0] for pid in new} == {str(UIDS[room])}
        worked(gate, "two")
        assert gate.stop() == 0
    gate.verify()
    older = place.folder / "older"
    shutil.copytree(gate.data_dir, older)  # which knows nothing of owners, as `cp -r` makes it
    with place.serving() as gate:
        worked(gate, "lost")
        until(lambda: len(gate.log("call.result")) == 3, "signed, and so in the watermark")
        family = gate.everyone()
        gate.kill_everything()
        until(lambda: not alive(family), "all are gone")
    shutil.rmtree(gate.data_dir)
    older.rename(gate.data_dir)
    assert "ROLLED BACK: a log of" in place.refused("serve")
    restored = json.loads(place.type("restore", "--in-place", "--json"))
    every_room_can_do_its_work(place)
    with place.serving() as gate:
        worked(gate, "after")
        assert gate.stop() == 0
        assert gate.log("log.restore")[0].entry.out.reason == "rolled_back"
    gate.verify()
    assert "INTACT" in place.type(
        "verify", str(gate.data_dir / restored["former"]), "--key", str(gate.data_dir / restored["former"] / "log.vkey")
    )


def desk_answers(place: Place) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(place.desk_url + METADATA, timeout=5) as answer:
        return answer.status == 200
    return False


def status_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_mode & 0o7777
