"""A room whose supervisor is gone ends by itself, also where the supervisor had not heard all that the room said."""

import select
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gatebook.config.load import load
from gatebook.model.deployment import Deployment
from gatebook.serve import keys
from gatebook.serve.control import WorkerStart
from tests.e2e.gate import config_for, free_port

PATIENCE_S = 60


def start_of(room: str, deployment: Deployment) -> bytes:
    """What the supervisor gives this room on stdin."""
    match room:
        case "gate":
            return msgspec.json.encode(WorkerStart(deployment=deployment, slot=0, sockets=()))
        case "sealer":
            return msgspec.json.encode(deployment)
        case _:
            return b""


@pytest.mark.parametrize("room", ["gate", "desk", "sealer"])
def test_a_room_ends_whose_supervisor_was_killed_before_it_read_that_the_room_is_ready(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end of the talk is closed with a message unread: the kernel then resets it, and a read fails instead of coming to an end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gatebook.toml").write_text(config_for(free_port(), {"nowhere": "http://127.0.0.1:9/mcp"}))
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    deployment = load(tmp_path / "gatebook.toml").deployment
    Path(deployment.data_dir).mkdir()
    keys.make_missing(deployment)
    ours, theirs = socket.socketpair()
    with theirs, (tmp_path / "start").open("w+b") as start, (tmp_path / "said").open("wb") as stderr:
        start.write(start_of(room, deployment))
        start.seek(0)
        command = [sys.executable, "-m", "gatebook.wiring", room, str(theirs.fileno())]
        process = subprocess.Popen(command, stdin=start, stderr=stderr, pass_fds=(theirs.fileno(),))
    try:
        said, _, _ = select.select([ours], [], [], PATIENCE_S)
        assert said, "it has said that it is ready, and nobody has read it"
        ours.close()
        assert process.wait(PATIENCE_S) == 0
        assert "Traceback" not in (tmp_path / "said").read_text()
    finally:
        process.kill()
        process.wait()
