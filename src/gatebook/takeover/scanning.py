"""MCP credentials that lie in repositories and client files: where, never what. Follows no links, reads only what is a file of a sensible size."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gatebook.takeover import jsonc, spotting
from gatebook.takeover.jsonc import Node

MAX_FILE_BYTES: Final = 4 << 20
MAX_FILES: Final = 500_000
MAX_FINDINGS: Final = 10_000
LONGEST: Final = 16_384
"""Of a line or a string; no credential stands farther in, and a minified program of megabytes costs no more."""

_SKIPPED: Final = frozenset(
    ".git .hg .svn node_modules .venv venv __pycache__ .cache .tox .mypy_cache .ruff_cache .pytest_cache target dist build".split()
)
"""Folders of things that others made. LIMIT: what was ever committed is in `.git`, and is not looked for there."""
_CLIENT_FILES: Final = frozenset(
    ".mcp.json mcp.json .claude.json claude_desktop_config.json mcp_config.json mcp-config.json mcp_settings.json cline_mcp_settings.json"
    " settings.json settings.local.json client.before".split()
)
_DOTENV: Final = re.compile(r"\.env(?:\..+)?|.+\.env|\.envrc")
_TEXTS: Final = re.compile(
    r".+\.(?:json|jsonc|json5|toml|ya?ml|ini|cfg|conf|properties|sh|bash|zsh|fish|py|js|mjs|cjs|ts|tsx|jsx|go|rs|rb|md|txt|env)"
    r"|\.(?:bashrc|zshrc|profile|npmrc|pypirc|netrc)|Dockerfile|Makefile|compose\.ya?ml"
)
_ASSIGNED: Final = re.compile(r"""^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]{1,80})\s*=\s*["']?([^"'\s#]{1,8192})""")


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `line`: from 1. `pointer`: its place in a JSON file (RFC 6901), else None. `kind`: what it looks like."""

    path: str
    line: int
    pointer: str | None
    kind: str


class Scanned(msgspec.Struct, kw_only=True):
    """How far a scan has come. `unread`: files that could not be looked into, with the reason. `cut`: whether a bound ended it."""

    files: int = 0
    found: list[Credential] = []
    unread: list[tuple[str, str]] = []
    cut: bool = False


def scan(root: Path, progress: Callable[[Scanned], None] = lambda _: None) -> Scanned:
    """Everything below `root`, or that one file. `progress` is called after each file."""
    scanned = Scanned(found=[], unread=[])
    for path in _files(root, scanned):
        if scanned.files >= MAX_FILES or len(scanned.found) >= MAX_FINDINGS:
            scanned.cut = True
            return scanned
        scanned.files += 1
        try:
            text = _text_of(path)
        except OSError as failure:
            if failure.errno == errno.ELOOP:
                continue  # a link: not followed, and nothing is missed for it that is not somewhere else
            scanned.unread.append((str(path), failure.strerror or type(failure).__name__))
            continue
        if text is not None:
            scanned.found += _in_file(path, text)
        progress(scanned)
    return scanned


def _files(root: Path, scanned: Scanned) -> Iterator[Path]:
    """Regular files that may hold something, in a fixed order. Links are not followed, not even to `root`."""
    if stat.S_ISREG(root.lstat().st_mode):
        yield root
        return

    def unread(failure: OSError) -> None:
        scanned.unread.append((str(failure.filename), failure.strerror or "cannot be read"))

    for folder, folders, files in os.walk(root, followlinks=False, onerror=unread):
        folders[:] = sorted(each for each in folders if each not in _SKIPPED)
        for name in sorted(files):
            if name in _CLIENT_FILES or _DOTENV.fullmatch(name) or _TEXTS.fullmatch(name):
                yield Path(folder, name)


def _text_of(path: Path) -> str | None:
    """The file's text; None where it is no regular file, is too large, or is no text. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return None
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES or b"\0" in raw[:8192]:
        return None
    return raw.decode("utf-8", "replace")


def _in_file(path: Path, text: str) -> list[Credential]:
    if path.suffix in (".json", ".jsonc", ".json5") or path.name in _CLIENT_FILES:
        try:
            return list(_in_json(path, text, jsonc.parse(text)))
        except (jsonc.Unreadable, RecursionError):
            pass  # then line by line, like any text
    return list(_in_lines(path, text))


def _in_json(path: Path, text: str, root: Node) -> Iterator[Credential]:
    """Every string by its own form; where servers are configured, also what only its name tells: `env`, `headers`, arguments, URLs."""
    seen: set[int] = set()
    for pointer, node, kind in (*_of_servers(root), *_of_leaves(root)):
        if node.start not in seen:
            seen.add(node.start)
            line = text.count("\n", 0, node.start) + 1
            yield Credential(path=str(path), line=line, pointer=pointer, kind=kind)


def _of_leaves(root: Node) -> Iterator[tuple[str, Node, str]]:
    for pointer, node in jsonc.leaves(root):
        value = node.text()
        if value is not None and (kind := spotting.kind_of(value[:LONGEST])) is not None:
            yield pointer, node, kind


def _of_servers(root: Node) -> Iterator[tuple[str, Node, str]]:
    for pointer, server in _servers(root, ""):
        for table, what in (("env", "variable"), ("headers", "header")):
            for name, node in (getattr(server.get(table), "members", None) or {}).items():
                if _left(name, node.text()):
                    yield f"{pointer}/{table}/{_escaped(name)}", node, f"{what} {_shown(name)}"
        for name in ("url", "serverUrl"):
            url = server.get(name)
            if url is not None and _url_holds_one(url.text() or ""):
                yield f"{pointer}/{name}", url, "credential in a url"
        before = ""
        for number, node in enumerate(getattr(server.get("args"), "items", None) or ()):
            word = node.text() or ""
            option, equals, value = word.partition("=")
            named, held = (option, value) if equals else (before, word)
            if named and not held.startswith("-") and _left(named.lstrip("-"), held):
                yield f"{pointer}/args/{number}", node, f"argument {_shown(named)}"
            before = word if word.startswith("-") and not equals else ""


def _servers(node: Node, pointer: str) -> Iterator[tuple[str, Node]]:
    """Every object that says how a server is reached, wherever it stands."""
    if node.members is not None:
        if any(name in node.members for name in ("command", "url", "serverUrl")):
            yield pointer, node
        for name, member in node.members.items():
            yield from _servers(member, f"{pointer}/{_escaped(name)}")
    for number, item in enumerate(node.items or ()):
        yield from _servers(item, f"{pointer}/{number}")


def _in_lines(path: Path, text: str) -> Iterator[Credential]:
    dotenv = _DOTENV.fullmatch(path.name) is not None
    for number, line in enumerate(text.splitlines(), start=1):
        kind = spotting.kind_of(line[:LONGEST])
        assigned = _ASSIGNED.match(line[:LONGEST]) if kind is None and dotenv else None
        if assigned is not None and _left(assigned[1], assigned[2]):
            kind = f"variable {_shown(assigned[1])}"
        if kind is not None:
            yield Credential(path=str(path), line=number, pointer=None, kind=kind)


def _left(name: str, value: str | None) -> bool:
    """Whether that value is a credential by its name, and really there: no variable, no placeholder, no path."""
    if value is None or spotting.is_placeholder(value) or "${" in value or value.startswith(("/", "./", "~/", "$")):
        return False
    bare = spotting.split_scheme(value)[1]
    return spotting.names_credential(name) and not spotting.is_placeholder(bare)


def _url_holds_one(url: str) -> bool:
    try:
        pairs = parse_qsl(urlsplit(url).query)
    except ValueError:
        return False
    return any(_left(name, value) for name, value in pairs)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _shown(name: str) -> str:
    """A name, cut: one that is itself a secret in the wrong place is not repeated whole."""
    return name[:40] if spotting.kind_of(name) is None and not spotting.looks_random(name) else "…"
