"""Rooms under users of their own, run by root from an environment of /usr/bin/python3 that every user may read."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gate import free_port
from tests.e2e.install.owned import (
    SUPERVISOR,
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
from tests.e2e.life.deployed import call, until
from tests.e2e.life.upstream import Upstream

pytestmark = pytest.mark.usefixtures("root")


def with_credential(folder: Path) -> dict[str, str]:
    """The server's secret as systemd would load it: in a folder that the supervisor alone may enter. Gives the environment that names it."""
    loaded = folder / "credentials"
    loaded.mkdir(mode=0o700)
    (loaded / "counting").write_text("k-never-seen-either\n")
    for path in (loaded, loaded / "counting"):
        os.chown(path, SUPERVISOR, SUPERVISOR)
    config = folder / "gatebook.toml"
    config.write_text(config.read_text().replace(f"file:{folder / 'key-of-the-server'}", "credential:counting"))
    return {"CREDENTIALS_DIRECTORY": str(loaded)}


class Heard:
    """A service manager's ear. `environment`: what makes a service talk to it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._words: list[str] = []
        name = sock.getsockname().decode().replace("\0", "@")
        self.environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "600000"}

    def listen(self) -> None:
        """Until "that is all": few messages wait where nobody takes them."""
        while (said := self._sock.recv(4096)) != ENOUGH:
            self._words += said.decode().splitlines()

    def words(self) -> list[str]:
        return list(self._words)


ENOUGH = b"that is all"


@contextlib.contextmanager
def heard() -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # a name of its own in the abstract namespace, which every user may send to
        ear = Heard(sock)
        listening = threading.Thread(target=ear.listen)
        listening.start()
        try:
            yield ear
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.sendto(ENOUGH, sock.getsockname())
            listening.join()


@pytest.fixture(scope="module")
def gate(root: None, installed: Path, open_folder: Path, upstream: Upstream) -> Iterator[Installed]:
    """One deployment for those who only look, or kill a room; it has answered one call. Stopped at the end, its log is whole."""
    folder, port = open_folder / "looked-at", free_port()
    folder.mkdir(mode=0o755)
    issuer = prepared(folder, port, upstream, with_command(folder) + USERS)
    with serving(installed, folder, port, issuer) as gate:
        answer = gate.ask(call("work", "one"), gate.token("counting"))
        assert (answer.status, upstream.executed["one"]) == (200, 1)
        yield gate
        assert gate.stop() == 0
    gate.verify()


def test_each_room_is_a_user_of_its_own_who_has_no_way_to_be_another(gate: Installed) -> None:
    rooms = rooms_of(gate)
    assert {room: len(pids) for room, pids in rooms.items()} == dict.fromkeys(UIDS, 1) | {"gate": 2}
    for room, pids in rooms.items():
        for pid in pids:
            found, uid = status(pid), UIDS[room]
            print(room, {name: found[name] for name in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")})  # fmt: skip
            assert found["Uid"] == found["Gid"] == f"{uid} {uid} {uid} {uid}"
            assert found["Groups"] == "" and found["NoNewPrivs"] == "1"
            assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
            assert Path(f"/proc/{pid}/mem").stat().st_uid == 0, "its memory can be read by others of its user"
    until(
        lambda: "Each room has a user of its own: gate is 61001" in (gate.directory / "gate.log").read_text(),
        "who the rooms are is said",
    )
    until(
        lambda: "call.intent" in gate.command("log", "--json", check=False).stdout,
        "a log that our command reads as root, with the call in it",
    )


def test_no_room_can_reach_what_is_anothers(gate: Installed) -> None:
    data, folder = gate.data_dir, gate.directory
    # Who may open what for reading; nobody may open it for writing but the first.
    readers = {
        data / "keys/log.skey": ("sealer",),
        data / "keys/session.key": ("gate",),
        data / "keys/fingerprint.key": ("gate", "desk"),
        data / "keys/refresh.key": ("desk",),
        data / "keys/upstream.key": ("desk",),
        data / "keys/desk-signing.jwk": ("desk",),
        folder / "key-of-the-server": ("gate",),
        next((data / "segments/gate").glob("*.seg")): ("gate", "sealer"),
        next((data / "segments/desk").glob("*.seg")): ("desk", "sealer"),
        next((data / "segments/sealer").glob("*.seg")): ("sealer",),
        next((data / "segments/supervisor").glob("*.seg")): ("sealer",),
        next(path for path in (data / "log").rglob("*") if path.is_file() and "entries" in str(path)): (
            "sealer",
            "desk",
        ),
        next(path for path in (data / "log/configs").iterdir()): ("desk",),
        data / "run/sessions.map": ("gate", "desk"),
        folder / "secrets-of-commands/key": ("runner",),
        data / "desk/desk.db": ("desk",),
    }
    # What is there is what was asked about, and a stranger's user is as far from it as another room's.
    everyone = {**UIDS, "stranger": 61099}
    for path, allowed in readers.items():
        assert path.exists()
        opened = {name for name, uid in everyone.items() if as_user(uid, "head", "-c1", path)}
        print(path.relative_to(folder), "is read by", sorted(opened))
        assert opened == set(allowed), path
    for place in (
        "keys",
        "log",
        "log/configs",
        "payloads",
        "sealer",
        "desk",
        "segments/gate",
        "segments/desk",
        "run",
    ):
        owner = {"log": "sealer", "payloads": "sealer", "sealer": "sealer", "desk": "desk"}.get(place, "")
        made = {name for name, uid in everyone.items() if as_user(uid, "touch", data / place / f"by-{uid}")}
        allowed_to_make = {owner} - {""} or {
            "segments/gate": {"gate", "sealer"}, "segments/desk": {"desk", "sealer"},
        }.get(place, set())  # fmt: skip
        assert made == allowed_to_make, place
        for name in made:
            (data / place / f"by-{UIDS[name]}").unlink()


def test_a_server_that_is_a_command_is_the_runners_user_and_only_the_gate_reaches_it(gate: Installed) -> None:
    bearer = gate.token("command")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode()
    opened = gate.ask(opening, bearer, server="command")
    assert opened.status == 200, opened
    session = {"mcp-session-id": opened.headers["mcp-session-id"]}
    answer = gate.ask(call("who", "one"), bearer, server="command", headers=session)
    assert f"uid {UIDS['runner']}, secret of 16" in answer.body.decode(), answer
    sock = gate.data_dir / "run/runner/command.sock"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(sock)!r})"
    reached = {name for name, uid in UIDS.items() if as_user(uid, "/usr/bin/python3", "-c", connect)}
    assert reached == {"gate", "runner"}


def test_the_desk_may_publish_the_key_that_root_gave_it(gate: Installed) -> None:
    gate.command("roll-desk-key")
    until(lambda: gate.said("desk.key_published") or gate.said("desk.key_refused"), "the desk has seen it")
    assert gate.said("desk.key_refused") == []
    published = gate.data_dir / "published/desk.jwks"
    assert len(json.loads(published.read_bytes())["keys"]) == 2
    assert all(as_user(uid, "cat", published) for uid in UIDS.values())
    assert [room for room, uid in UIDS.items() if as_user(uid, "touch", published.with_name("x"))] == ["desk"]


def test_a_room_that_is_killed_comes_back_under_its_user(gate: Installed) -> None:
    for room in UIDS:
        before = gate.rooms(room)
        os.kill(before[0], signal.SIGKILL)
        new = until(lambda room=room, before=before: sorted(set(gate.rooms(room)) - set(before)), f"another {room}")
        until(lambda pid=new[0], room=room: status(pid)["Uid"].startswith(str(UIDS[room])), "under its user")
    until(lambda: gate.ask(call("work", "after"), gate.token("counting")).status == 200, "served again")


def test_a_supervisor_that_is_no_root_needs_the_three_capabilities_of_the_unit_and_no_more(
    installed: Path, folder: Path, upstream: Upstream
) -> None:
    port = free_port()
    issuer = prepared(folder, port, upstream, USERS + f'supervisor = "{SUPERVISOR}"\n')
    environment = with_credential(folder)
    refused = typed(installed / "gatebook", folder, "serve")
    assert refused.returncode == 1 and "this is root, and the file says 61000" in refused.stderr
    laid = typed(installed / "gatebook", folder, "layout")
    assert laid.returncode == 0, laid.stderr
    assert typed(installed / "gatebook", folder, "layout").stdout.splitlines() == laid.stdout.splitlines()[-1:], "twice"
    powers = "+setuid,+setgid,+kill"
    prefix = (
        "setpriv", f"--reuid={SUPERVISOR}", f"--regid={SUPERVISOR}", "--clear-groups", f"--inh-caps=-all,{powers}",
        f"--ambient-caps=-all,{powers}", f"--bounding-set=-all,{powers}", "--no-new-privs",
    )  # fmt: skip
    with (
        heard() as messages,
        serving(installed, folder, port, issuer, prefix, environment | messages.environment) as gate,
    ):
        assert status(gate.pid)["CapEff"] == f"{1 << 5 | 1 << 6 | 1 << 7:016x}"
        assert gate.ask(call("work", "one"), gate.token("counting")).status == 200
        rooms = {room: pids for room, pids in rooms_of(gate).items() if pids}
        assert rooms.keys() == {"gate", "sealer", "desk"}
        for room, pids in rooms.items():
            assert {(status(pid)["Uid"].split()[0], status(pid)["CapEff"], status(pid)["Groups"]) for pid in pids} == {
                (str(UIDS[room]), "0" * 16, "")
            }
        for pid in (pid for pids in rooms.values() for pid in pids):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert [each for each in environment if each.startswith(b"HOME=")] == [b"HOME=/"], "not of who started it"
        os.kill(gate.rooms("gate")[0], signal.SIGKILL)
        until(lambda: len(gate.rooms("gate")) == 2, "another worker")
        until(lambda: gate.ask(call("work", "two"), gate.token("counting")).status == 200, "it has the credential, too")
        until(lambda: "READY=1" in messages.words(), "the service manager hears that it serves")
        os.kill(gate.pid, signal.SIGHUP)
        until(lambda: messages.words().count("READY=1") == 2, "and that it has read its configuration anew")
        before = {room: set(pids) for room, pids in rooms_of(gate).items()}
        gate.command("restart")
        until(lambda: messages.words().count("READY=1") == 3, "and that another program serves in its place")
        assert gate.ask(call("work", "three"), gate.token("counting")).status == 200
        for room in ("gate", "sealer", "desk"):
            new = until(lambda room=room: set(gate.rooms(room)) - before[room] and gate.rooms(room), f"another {room}")
            assert {status(pid)["Uid"].split()[0] for pid in new} == {str(UIDS[room])}
        assert gate.stop() == 0
        words = messages.words()
        assert words.index("READY=1") < words.index("RELOADING=1") < words.index("STOPPING=1")
        assert "WATCHDOG=1" in words
    gate.verify()
    bare = (*prefix[:4], "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
    done = subprocess.run(
        [*bare, installed / "gatebook", "serve"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "this process may not change its user" in done.stderr


def test_a_start_names_the_path_that_a_room_cannot_reach(installed: Path, folder: Path, upstream: Upstream) -> None:
    port = free_port()
    prepared(folder, port, upstream)
    secret = folder / "key-of-the-server"
    os.chown(secret, 0, 0)
    refused = typed(installed / "gatebook", folder, "serve")
    assert refused.returncode == 1
    assert f"users.gate: {secret} cannot be read by user 61001" in refused.stderr
    assert "Traceback" not in refused.stderr and not (folder / "data/log/checkpoint").exists()
    os.chown(secret, UIDS["gate"], 0)
    secret.rename(folder / "elsewhere")
    refused = typed(installed / "gatebook", folder, "serve")
    assert f"users.gate: {secret} is not there, and gate (61001) needs it" in refused.stderr
    (folder / "elsewhere").rename(secret)
    closed = installed.parent
    closed.chmod(0o700)
    try:
        refused = typed(installed / "gatebook", folder, "serve")
    finally:
        closed.chmod(0o755)
    assert refused.returncode == 1, refused.stderr
    assert f"users.desk: {closed} cannot be entered" in refused.stderr
    folder.chmod(0o700)
    refused = typed(installed / "gatebook", folder, "serve")
    folder.chmod(0o755)
    assert f"users.desk: {folder} cannot be entered" in refused.stderr


def test_a_folder_that_the_unit_keeps_read_only_is_named_with_the_line_that_opens_it(
    installed: Path, folder: Path, upstream: Upstream
) -> None:
    """As ProtectSystem=strict does it: the folder is the sealer's, and no owner or group would help."""
    prepared(folder, free_port(), upstream)
    config, disk = folder / "gatebook.toml", folder / "disk"
    config.write_text(config.read_text().replace("[log]\n", f'[log]\nwatermark = "{disk}/mark"\n', 1))
    disk.mkdir()
    os.chown(disk, UIDS["sealer"], UIDS["sealer"])
    assert typed(installed / "gatebook", folder, "layout").returncode == 0
    mounted = f'mount -t tmpfs -o ro,uid={UIDS["sealer"]} tmpfs "$1" && exec "$2" check --offline --json'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", disk, installed / "gatebook"],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this container may mount nothing of its own")
    [said] = [problem for problem in json.loads(done.stdout) if problem["where"] == "users.sealer"]
    assert f"{disk} is on a file system that is read-only here" in said["what"]
    assert f"ReadWritePaths={disk}" in said["mend"]


def test_what_an_earlier_run_wrote_under_one_user_is_given_to_the_rooms(
    installed: Path, folder: Path, upstream: Upstream
) -> None:
    port = free_port()
    issuer = prepared(folder, port, upstream, "")
    with serving(installed, folder, port, issuer) as gate:
        assert gate.ask(call("work", "as-root"), gate.token("counting")).status == 200
        until(lambda: "All rooms run under one user" in (folder / "gate.log").read_text(), "who the rooms are is said")
        gate.kill_everything()
    config = folder / "gatebook.toml"
    config.write_text(config.read_text() + USERS)
    with serving(installed, folder, port, issuer) as gate:
        assert gate.ask(call("work", "as-users"), gate.token("counting")).status == 200
        assert gate.stop() == 0
    assert {each.stat().st_uid for each in (folder / "data/log/tile").rglob("*")} == {UIDS["sealer"]}
    assert not list((folder / "data/segments").glob("*.seg")), "what was left unsealed is in the log now"
    gate.verify()
