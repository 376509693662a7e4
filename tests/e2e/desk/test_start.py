"""A desk that cannot be what the configuration says is told at the start, not to the first person who wants to log in."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.desk import configuration
from tests.e2e.gate import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_an_address_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("key")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        issuer = f"http://127.0.0.1:{taken.getsockname()[1]}"
        text = configuration(free_port(), issuer, "http://127.0.0.1:1/mcp", "http://localhost:1")
        (tmp_path / "gatebook.toml").write_text(text)
        command = [sys.executable, "-m", "gatebook", "serve"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "is another program using it?" in ended.stderr.splitlines()[-1]
