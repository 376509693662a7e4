"""Real servers that are commands, as they come from npm and PyPI, behind a real gate."""

import json
from pathlib import Path
from typing import NamedTuple

from tests.e2e import nodejs
from tests.e2e.gate import config_for

ROOT = Path(__file__).parents[3]
SQLITE = ROOT / ".cache" / "servers-venv" / "bin" / "mcp-server-sqlite"
INSTALLED = nodejs.npm_packages_installed() and SQLITE.exists()
HOW_TO_INSTALL = "the servers of npm and PyPI are not installed; type: make setup"


class Real(NamedTuple):
    """`call`: one tool and its arguments that it answers. `writable`: what it is allowed to write."""

    command: list[str]
    call: tuple[str, dict[str, object]]
    environment: tuple[tuple[str, str], ...] = ()
    writable: tuple[str, ...] = ()


def five(ground: Path) -> dict[str, Real]:
    """The five of them; what they keep lies in folders of `ground`, which are made."""
    files, tables = ground / "files", ground / "tables"
    for folder in (files, tables):
        folder.mkdir(parents=True, exist_ok=True)
    (files / "note.txt").write_text("a note")
    thought = {"thought": "so", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False}
    return {
        "everything": Real(_node("everything", "stdio"), ("echo", {"message": "hello"})),
        "filesystem": Real(
            _node("filesystem", str(files)),
            ("read_text_file", {"path": str(files / "note.txt")}),
            writable=(str(files),),
        ),
        "memory": Real(_node("memory"), ("read_graph", {}), environment=(("MEMORY_FILE_PATH", "/tmp/memory.jsonl"),)),
        "thinking": Real(_node("sequential-thinking"), ("sequentialthinking", thought)),
        "sqlite": Real(
            [str(SQLITE), "--db-path", str(tables / "cards.db")], ("list_tables", {}), writable=(str(tables),)
        ),
    }


def _node(server: str, *arguments: str) -> list[str]:
    program = nodejs.NODE_MODULES / "@modelcontextprotocol" / f"server-{server}" / "dist" / "index.js"
    return [str(nodejs.node()), str(program), *arguments]


def config_of(port: int, servers: dict[str, Real], *, run: str = "", more: str = "", workers: int = 2) -> str:
    """A dev configuration in which everybody may do everything on these; each demands its sandbox. `run`: lines for each `[server.run]`."""
    text = config_for(port, {name: f"unix:/nowhere/{name}.sock:/mcp" for name in servers}, more=more, workers=workers)
    for name, real in servers.items():
        variables = ", ".join(f"{variable} = {json.dumps(value)}" for variable, value in real.environment)
        # The programs lie in the checkout, wherever that is: even under /tmp they are to be seen.
        lines = (
            f"command = {json.dumps(real.command)}\n[server.run]\nsandbox = 'required'\ndirectory = {json.dumps(str(ROOT))}\n"
            f"environment = {{ {variables} }}\nwritable = {json.dumps(real.writable)}\n{run}"
        )
        text = text.replace(f'url = "unix:/nowhere/{name}.sock:/mcp"\n', lines)
    return text
