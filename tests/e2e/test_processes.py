"""What the operating system says of a gate's processes."""

from pathlib import Path

import pytest

from tests.e2e.demo.running import descendants
from tests.e2e.gate import config_for, free_port, running

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
