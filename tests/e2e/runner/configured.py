"""Configurations with servers that are commands."""

import json
import sys
from pathlib import Path

from tests.e2e.gate import config_for

HERE = Path(__file__).parent
WITHOUT_SANDBOX = {"PATH": str(Path(sys.executable).parent)}
"""The environment of a machine without bubblewrap: there a program's number is the machine's own, and it reads and writes as we do."""


def commands_config(port: int, servers: dict[str, list[str]], *, run: str = "", more: str = "", **options: str) -> str:
    """A dev configuration in which everybody may do everything on these commands. `run`: lines for each `[server.run]`."""
    text = config_for(port, {name: f"unix:/nowhere/{name}.sock:/mcp" for name in servers}, more=more, **options)
    for name, command in servers.items():
        url = f'url = "unix:/nowhere/{name}.sock:/mcp"\n'
        text = text.replace(url, f"command = {json.dumps(command)}\n[server.run]\n{run}")
    return text


def python(script: str, *arguments: str) -> list[str]:
    """One of the programs beside this file."""
    return [sys.executable, str(HERE / script), *arguments]
