"""The official filesystem server (npm) and a server of PyPI, as they are, behind the gate: called, masked, recorded, replayed, and reached in
no other way."""

import json
import os
import socket
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import visits
from tests.e2e.gate import free_port
from tests.e2e.life.deployed import Deployed, deployed
from tests.e2e.runner import real
from tests.e2e.runner.legacy import Session
from tests.e2e.runner.starting import needs_bubblewrap

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not real.INSTALLED, reason=real.HOW_TO_INSTALL),
    needs_bubblewrap,
]

PAN = "4111111111111111"  # Visa's published test number


@pytest.fixture(scope="module")
def gate() -> Iterator[Deployed]:
    # Not pytest's folder: everybody may come as far as the data directory, so that what stops them is ours.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        servers = {name: each for name, each in real.five(root / "ground").items() if name in ("filesystem", "sqlite")}
        servers["misplaced"] = servers["filesystem"]._replace(writable=(str(root / "gate" / "data"),))
        (root / "ground" / "files" / "customer.txt").write_text(f"Ada Lovelace, card {PAN}, expires some day")
        with sqlite3.connect(root / "ground" / "tables" / "cards.db") as database:
            database.execute("CREATE TABLE cards (owner TEXT, pan TEXT)")
            database.execute("INSERT INTO cards VALUES ('Ada Lovelace', ?)", (PAN,))
        port = free_port()
        with deployed(root / "gate", real.config_of(port, servers), port) as gate:
            yield gate


def inspected(gate: Deployed, home: Path, server: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """What the Inspector is answered to one call."""
    done = visits.inspector(
        gate.url(server), gate.token(server), "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments), home=home
    )  # fmt: skip
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (not answer["result"].get("isError")), done.stderr
    return answer


def the_call(gate: Deployed, server: str, tool: str) -> dict[str, Any]:
    """The session, by `gatebook sessions`, in which `tool` was called last, replayed by `gatebook replay`."""
    sessions = [json.loads(line) for line in gate.command("sessions", "--json").stdout.splitlines()]
    for session in sessions:
        if session["server"] == server:
            replayed = gate.command("replay", "--json", session["session"]).stdout
            if tool in replayed:
                found: dict[str, Any] = {"text": gate.command("replay", session["session"]).stdout, "json": replayed}
                return found
    raise AssertionError(f"no session with {tool}: {sessions}")


def test_a_file_with_a_card_number_is_read_by_the_inspector_masked_recorded_and_replayed(
    gate: Deployed, tmp_path: Path
) -> None:
    path = str(gate.directory.parent / "ground" / "files" / "customer.txt")
    answer = inspected(gate, tmp_path, "filesystem", "read_text_file", path=path)
    assert "Ada Lovelace, card 411111******1111" in json.dumps(answer) and PAN not in json.dumps(answer)
    replayed = the_call(gate, "filesystem", "read_text_file")
    for form in ("text", "json"):
        assert "411111******1111" in replayed[form] and PAN not in replayed[form]


def test_a_table_with_card_numbers_is_read_by_the_inspector_masked_recorded_and_replayed(
    gate: Deployed, tmp_path: Path
) -> None:
    answer = inspected(gate, tmp_path, "sqlite", "read_query", query="SELECT owner, pan FROM cards")
    assert "Ada Lovelace" in json.dumps(answer) and "411111******1111" in json.dumps(answer)
    assert PAN not in json.dumps(answer)
    replayed = the_call(gate, "sqlite", "read_query")
    assert "411111******1111" in replayed["text"] and PAN not in replayed["text"] + replayed["json"]
    gate.verify()


def test_what_a_server_writes_stays_where_it_may_write(gate: Deployed, tmp_path: Path) -> None:
    files = gate.directory.parent / "ground" / "files"
    inspected(gate, tmp_path, "filesystem", "write_file", path=str(files / "new.txt"), content="written")
    assert (files / "new.txt").read_text() == "written"
    outside = str(gate.directory.parent / "ground" / "tables" / "cards.db")
    assert "denied" in json.dumps(inspected(gate, tmp_path, "filesystem", "read_text_file", path=outside)).lower()


def test_a_server_that_cannot_have_its_sandbox_is_not_started_and_only_the_operator_is_told_why(gate: Deployed) -> None:
    session = Session(gate, "misplaced", gate.token("misplaced"))
    session.connection.close()
    assert session.begun.status == 503
    assert b"it cannot have its sandbox" in session.begun.body and str(gate.data_dir).encode() not in session.begun.body
    why = f"run.writable lies in {gate.data_dir}, which no server may see"
    assert why in gate.said("command.unstarted")[-1]["last"]
    checked = json.loads(gate.command("check", "--offline", "--json", check=False).stdout)
    assert [each["what"] for each in checked if each["where"] == "server misplaced: run"] == [why]


def test_no_process_listens_but_the_gate_at_its_port_and_the_runner_at_its_sockets(
    gate: Deployed, tmp_path: Path
) -> None:
    inspected(gate, tmp_path, "sqlite", "list_tables")  # a server runs while we look
    family = gate.everyone()
    assert len([pid for pid in family if b"bwrap" in Path(f"/proc/{pid}/cmdline").read_bytes()]) >= 2
    inodes = {inode for pid in family for inode in sockets(pid)}
    heard = {line for pid in family for line in listening(pid)}
    assert {line.split()[0] for line in heard if line.split()[1] in inodes} == {f"127.0.0.1:{gate.port}"}
    # Nor is there an abstract socket, which knows no permissions.
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    named = {words[6]: words[7] for words in unix if words[6] in inodes and len(words) > 7}
    assert [name for name in named.values() if name.startswith("@")] == []
    [runner] = gate.rooms("runner")
    folder = gate.data_dir / "run" / "runner"
    assert {named[inode] for inode in sockets(runner) if inode in named} == {
        str(folder / f"{name}.sock") for name in ("filesystem", "sqlite", "misplaced")
    }


CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); print('in')"


def as_nobody(socket_path: Path) -> str:
    """What another user of this machine gets who connects there, without any group of ours."""
    command = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        CONNECT,
        str(socket_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_another_user_of_this_machine_reaches_no_server(gate: Deployed) -> None:
    folder = gate.data_dir / "run" / "runner"
    path = folder / "sqlite.sock"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(gate.data_dir.stat().st_mode) & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(str(path))  # we, who are the runner's user
    if os.getuid() != 0:
        return  # to be somebody else takes root; the modes are what the kernel goes by
    assert as_nobody(path).startswith("PermissionError")
    # Each of the two is enough alone, and without both he would be in: the question was put rightly.
    gate.data_dir.chmod(0o711)
    (gate.data_dir / "run").chmod(0o711)
    try:
        assert as_nobody(path).startswith("PermissionError")
        folder.chmod(0o711)
        assert as_nobody(path).startswith("PermissionError")
        path.chmod(0o666)
        assert as_nobody(path) == "in"
        folder.chmod(0o700)
        assert as_nobody(path).startswith("PermissionError")
    finally:
        path.chmod(0o600)
        for each in (folder, gate.data_dir / "run", gate.data_dir):
            each.chmod(0o700)


def sockets(pid: int) -> set[str]:
    """The inodes of its open sockets."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def listening(pid: int) -> Iterator[str]:
    """`ADDRESS:PORT INODE` of what listens, or takes datagrams, in the network of this process."""
    for table, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] in states:
                address, _, port = words[1].rpartition(":")
                host = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
                yield f"{host}:{int(port, 16)} {words[9]}"
