"""`gatebook demo` before anything is started."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from gatebook.demo import start


def test_without_the_sdk_it_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(start.signal, "signal", lambda *_: None)
    assert start.run(start.Options(directory=tmp_path / "demo")) == 1
    assert "bin/pip install 'mcp>=" in capsys.readouterr().out
    assert not (tmp_path / "demo").exists()


def test_the_command_line_itself_never_loads_the_sdk() -> None:
    program = "import sys, gatebook.cli.app; print(sorted({'mcp', 'starlette', 'uvicorn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
