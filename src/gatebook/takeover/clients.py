"""The files in which MCP clients keep their servers: where each stands, what an entry means, and what is written in its place.

Sources: code.claude.com/docs/en/mcp; modelcontextprotocol.io, "Connect to local MCP servers" (Claude Desktop);
code.visualstudio.com/docs/copilot/reference/mcp-configuration; cursor.com/docs/mcp; docs.windsurf.com/windsurf/cascade/mcp.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Final, Literal

import msgspec

from gatebook.takeover.jsonc import Node

ClientName = Literal["claude-code", "claude-desktop", "vscode", "cursor", "windsurf"]
Syntax = Literal["braces", "editor", "none"]
"""How a client writes a variable: `${NAME}` and `${NAME:-default}`; `${env:NAME}`, `${input:ID}`, `${workspaceFolder}`; not at all."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One client program. `places`: where in its file servers may stand, as paths of keys; `*` is any key. `remote`: how it writes a server
    at a URL, None for one that only starts programs. `project`: how many folders above its file the project is, None: it has none."""

    name: ClientName
    title: str
    places: tuple[tuple[str, ...], ...]
    syntax: Syntax
    remote: dict[str, str] | None
    project: int | None


CLIENTS: Final[dict[ClientName, Client]] = {
    "claude-code": Client(
        name="claude-code",
        title="Claude Code",
        places=(("mcpServers",), ("projects", "*", "mcpServers")),
        syntax="braces",
        remote={"type": "http", "url": ""},
        project=0,
    ),
    "claude-desktop": Client(
        name="claude-desktop",
        title="Claude Desktop",
        places=(("mcpServers",),),
        syntax="none",
        remote=None,
        project=None,
    ),
    "vscode": Client(
        name="vscode",
        title="VS Code",
        places=(("servers",), ("mcp", "servers")),
        syntax="editor",
        remote={"type": "http", "url": ""},
        project=1,
    ),
    "cursor": Client(
        name="cursor",
        title="Cursor",
        places=(("mcpServers",),),
        syntax="editor",
        remote={"url": ""},
        project=1,
    ),
    "windsurf": Client(
        name="windsurf",
        title="Windsurf",
        places=(("mcpServers",),),
        syntax="editor",
        remote={"serverUrl": ""},
        project=None,
    ),
}

_TRANSPORT = frozenset("type command args env envFile cwd url serverUrl headers sandbox sandboxEnabled dev".split())
"""What of an entry says how the server is reached: replaced as a whole. What else stands there (`disabled`, `timeout`) is kept."""
_OWN_LOGIN = frozenset("oauth auth headersHelper".split())


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One server of a client's file. `node`: its value and place; `depth`: how many objects it stands in. Exactly one of `command` and `url` is
    there where `obstacle` is None; `obstacle` says why this one cannot be taken over."""

    name: str
    node: Node
    depth: int
    command: tuple[str, ...] = ()
    url: str = ""
    environment: dict[str, str] = {}
    environment_file: str | None = None
    headers: dict[str, str] = {}
    directory: str | None = None
    obstacle: str | None = None


def client_of(path: PurePath, root: Node) -> Client | None:
    """Whose file that is, by its name and what stands in it; None where neither tells."""
    folder, name = path.parent.name, path.name
    if root.get("servers") is not None or root.get("mcp", "servers") is not None:
        return CLIENTS["vscode"]
    by_name: dict[str, ClientName] = {
        ".mcp.json": "claude-code",
        ".claude.json": "claude-code",
        "claude_desktop_config.json": "claude-desktop",
        "mcp_config.json": "windsurf",
    }
    if name in by_name:
        return CLIENTS[by_name[name]]
    if name == "mcp.json" and folder == ".cursor":
        return CLIENTS["cursor"]
    return CLIENTS["vscode"] if folder == ".vscode" else None


def project_of(client: Client, path: PurePath) -> PurePath | None:
    """The folder that `${workspaceFolder}` means and relative paths count from; None for a file that belongs to a person, not to a project."""
    if client.project is None or path.name == ".claude.json":
        return None
    if client.project == 0:
        return path.parent
    return path.parent.parent if path.parent.name in (".vscode", ".cursor") else None


def entries(client: Client, root: Node) -> Iterator[Entry]:
    """The servers in the file, in its order."""
    for place in client.places:
        for depth, servers in _at(root, place, 1):
            for name, node in (servers.members or {}).items():
                yield _entry(name, node, depth)


def _at(node: Node, place: tuple[str, ...], depth: int) -> Iterator[tuple[int, Node]]:
    if not place:
        yield depth, node
    elif node.members is not None:
        for name, member in node.members.items():
            if place[0] in ("*", name):
                yield from _at(member, place[1:], depth + 1)


def _entry(name: str, node: Node, depth: int) -> Entry:
    def refused(why: str) -> Entry:
        return Entry(name=name, node=node, depth=depth, obstacle=why)

    if node.members is None:
        return refused("it is no object")
    if own := sorted(_OWN_LOGIN & node.members.keys()):
        return refused(
            f"`{own[0]}` is a login that the client makes by itself; give the gate a credential of its own for it"
        )
    kind = _text(node, "type") or ""
    url = _text(node, "url") or _text(node, "serverUrl")
    command = _text(node, "command")
    if (url is None) == (command is None):
        return refused("it has neither a command nor a URL" if url is None else "it has both a command and a URL")
    if url is not None:
        if kind == "sse" or url.rstrip("/").endswith("/sse"):
            return refused("it speaks HTTP+SSE of 2024-11-05, which the gate does not; ask for its streamable HTTP URL")
        headers = _table(node, "headers")
        return (
            refused("its headers are no strings")
            if headers is None
            else Entry(name=name, node=node, depth=depth, url=url, headers=headers)
        )
    arguments = node.members["args"].texts() if "args" in node.members else ()
    environment = _table(node, "env")
    if arguments is None or environment is None:
        return refused("its arguments or its environment are no strings")
    return Entry(
        name=name,
        node=node,
        depth=depth,
        command=(str(command), *arguments),
        environment=environment,
        environment_file=_text(node, "envFile"),
        directory=_text(node, "cwd"),
    )


def _text(node: Node, name: str) -> str | None:
    member = node.get(name)
    return member.text() if member is not None else None


def _table(node: Node, name: str) -> dict[str, str] | None:
    member = node.get(name)
    return {} if member is None else member.table()


def behind_gate(entry: Entry, public_url: str) -> bool:
    """Whether the entry leads to the gate already, by its URL or through `gatebook connect`."""
    prefix = f"{public_url}/"
    if entry.url:
        return entry.url.startswith(prefix)
    words = entry.command
    return (
        len(words) >= 3
        and PurePath(words[0]).name == "gatebook"
        and words[1] == "connect"
        and any(word.startswith(prefix) for word in words[2:])
    )


def gate_entry(client: Client, text: str, entry: Entry, url: str, gatebook: str) -> str:
    """The entry as it is written back: the gate's URL, or `gatebook connect` for a client that only starts programs, and what else stood there."""
    assert entry.node.members is not None
    if client.remote is not None:
        new = {name: json.dumps(value or url) for name, value in client.remote.items()}
    else:
        new = {"command": json.dumps(gatebook), "args": json.dumps(["connect", url])}
    for name, member in entry.node.members.items():
        if name not in _TRANSPORT:
            new[name] = text[member.start : member.end]
    return _object(new, *_indents(text, entry), "\r\n" if "\r\n" in text else "\n")


def _indents(text: str, entry: Entry) -> tuple[str, str]:
    """(what stands before the line of the entry, one step further)."""
    line = text[text.rfind("\n", 0, entry.node.start) + 1 : entry.node.start]
    base = line[: len(line) - len(line.lstrip())]
    return base, base[: len(base) // entry.depth] or "  "


def _object(members: dict[str, str], base: str, step: str, newline: str) -> str:
    lines = [f"{base}{step}{json.dumps(name)}: {value}" for name, value in members.items()]
    return "{" + newline + f",{newline}".join(lines) + newline + base + "}"


# --- variables in an entry's texts -------------------------------------------------------------------------------------------------


class Variable(msgspec.Struct, frozen=True):
    """Something that the client puts in: `kind` env (`default` where it has one), input, file, folder (`name`: which), or unknown."""

    kind: Literal["env", "input", "file", "folder", "unknown"]
    name: str
    default: str | None = None


Part = str | Variable
_BRACES = re.compile(r"\$\{([^{}]*)\}")
_FOLDERS = frozenset("workspaceFolder workspaceFolderBasename userHome pathSeparator /".split())


def parts(text: str, syntax: Syntax) -> list[Part]:
    """`text` as its plain pieces and the variables between them, in the way of one client."""
    if syntax == "none":
        return [text] if text else []
    meaning: Callable[[str], Variable] = _braces if syntax == "braces" else _editor
    found: list[Part] = []
    at = 0
    for variable in _BRACES.finditer(text):
        found += [text[at : variable.start()], meaning(variable[1])]
        at = variable.end()
    return [part for part in [*found, text[at:]] if part != ""]


def _braces(inside: str) -> Variable:
    name, separator, default = inside.partition(":-")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return Variable("unknown", inside)
    return Variable("env", name, default if separator else None)


def _editor(inside: str) -> Variable:
    kind, separator, name = inside.partition(":")
    if separator and kind == "env":
        return Variable("env", name)
    if separator and kind == "input":
        return Variable("input", name)
    if separator and kind == "file":
        return Variable("file", name)
    return Variable("folder" if inside in _FOLDERS else "unknown", inside)
