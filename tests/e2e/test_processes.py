"""What the operating system says of a gate's processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.demo.running import descendants
from tests.e2e.gate import ISSUER_URL, config_for, free_port, running
from tests.e2e.life.deployed import until
from tests.issuing import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_no_process_of_a_gate_leaves_a_core_dump(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path / "gate", config_for(port, {"nowhere": "http://127.0.0.1:9/mcp"}), port) as gate:
        processes = [gate.process.pid, *descendants(gate.process.pid)]
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in processes]
    assert len(processes) == 5, "supervisor, desk, sealer and two workers"
    for text in limits:
        (line,) = [line for line in text.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]


def test_nothing_that_lies_in_the_working_directory_is_run(tmp_path: Path) -> None:
    """Whoever starts or restarts a gate in a folder of somebody else's, a checkout or /tmp, must not run that somebody's `msgspec.py`."""
    (tmp_path / "gatebook.toml").write_text(config_for(free_port(), {"nowhere": "http://127.0.0.1:9/mcp"}))
    (tmp_path / "jwks.json").write_text(json.dumps(Issuer(ISSUER_URL, name="corp").jwks()))
    (tmp_path / "msgspec.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nraise SystemExit(3)\n")
    said = tmp_path / "gate.log"
    with said.open("wb") as log:
        # As the `gatebook` of an installation: its own folder comes first there, not this one.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gatebook", "serve"], cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        until(lambda: process.poll() is not None or "config.loaded" in said.read_text(), "its start", 60)
        assert process.poll() is None and not (tmp_path / "run").exists(), said.read_text()[-2000:]
    finally:
        process.terminate()
        process.wait(60)
