"""The gate is replaced while it serves: the session of a command ends with its process, its client is told so, and begins another one."""

from pathlib import Path

import pytest

from tests.e2e.gate import ISSUER_URL, free_port
from tests.e2e.life.deployed import deployed
from tests.e2e.outside_tmp import outside_tmp
from tests.e2e.runner.configured import commands_config, python
from tests.e2e.runner.legacy import Session, result
from tests.e2e.runner.starting import needs_bubblewrap
from tests.issuing import Issuer

pytestmark = [outside_tmp, pytest.mark.e2e, pytest.mark.slow, needs_bubblewrap]


@pytest.mark.timeout(300)
def test_a_session_of_a_command_ends_with_its_process_and_its_client_sees_404(short_path: Path) -> None:
    ground = short_path / "ground"
    ground.mkdir()
    port = free_port()
    command = python("counting.py", str(ground / "executed"))
    config = commands_config(port, {"own": command}, run=f'writable = ["{ground}"]\n')
    with deployed(short_path / "gate", config, port, issuer=Issuer(ISSUER_URL, name="corp")) as gate:
        token = gate.token("own")
        sessions = [Session(gate, "own", token) for _ in range(3)]
        for number, session in enumerate(sessions):
            assert result(session.call("work", {"key": f"before-{number}"}))
        [runner] = gate.rooms("runner")
        gate.command("restart", timeout_s=250)
        assert gate.rooms("runner") not in ([], [runner])
        ended = [session.call("work", {"key": f"ended-{number}"}).status for number, session in enumerate(sessions)]
        assert ended == [404] * 3
        sessions.append(Session(gate, "own", token))
        assert result(sessions[-1].call("work", {"key": "after"}))
        for session in sessions:
            session.connection.close()
        assert (ground / "executed").read_text().split() == ["before-0", "before-1", "before-2", "after"]
        assert gate.stop() == 0
        gate.verify()
