"""One client's file taken over: what would be written (`plan`), ready for `journal` to write it."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from gatebook.config import examine_bytes
from gatebook.config.problem import Problem
from gatebook.model.deployment import Deployment, Server
from gatebook.model.secret import Secret
from gatebook.takeover import clients, jsonc, proposing
from gatebook.takeover.clients import Client, Entry
from gatebook.takeover.journal import PINS, SECRETS, Change, NewFile
from gatebook.takeover.proposing import NotTaken, Proposal, Surroundings
from gatebook.takeover.toml_text import quoted

MAX_BYTES: Final = 8 << 20


class CannotImport(Exception):
    """The whole file cannot be taken over, in words for the operator."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one entry. `server`: its name at the gate, None where it stays as it is; `why`: then why. `moved`: where each secret stood → the file
    it is in. `references`: what must be there when the gate starts (`env:NAME`). `notes`: what to know."""

    client_name: str
    state: Literal["new", "known", "behind", "stays"]
    server: str | None = None
    url: str | None = None
    why: str | None = None
    moved: dict[str, str] = {}
    references: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    client: Client
    taken: tuple[Taken, ...]
    change: Change | None
    """None: nothing has to be written."""


class NotLooked(Exception):
    """The server could not be asked what it offers. The words say why."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What a server offers: the content of its file of pins, and the text of a role. `tools`: how many."""

    pins: bytes
    role: str
    tools: int


Look = Callable[[Server, Deployment, Mapping[str, bytes]], Looked]
"""Asks a server: (the server, the deployment with it, absolute path → content of secret files that are not written yet). Raises NotLooked."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator said. `client`: whose file it is, None: as it looks. `gatebook`: how a client starts this command line."""

    file: Path
    config: Path
    client: clients.ClientName | None = None
    inputs: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}
    home: Path
    gatebook: str = "gatebook"
    look: Look | None = None
    """How a new server is asked what it offers, so that it gets pins and a role; None: it gets neither."""


def plan(asked: Asked) -> Plan:
    """What the import would do; nothing is changed. `asked.file` and `asked.config` are absolute, without links. Raises CannotImport."""
    raw, text, root = _client_file(asked.file)
    client = clients.CLIENTS[asked.client] if asked.client is not None else clients.client_of(asked.file, root)
    if client is None:
        raise CannotImport(
            f"{asked.file}: it does not tell whose it is; say it with --client ({', '.join(clients.CLIENTS)})"
        )
    config = _bytes(asked.config, "`gatebook init` makes one")
    deployment = examine_bytes(config, asked.config).deployment
    if deployment is None or not deployment.public_url:
        raise CannotImport(f"{asked.config} is wrong, or has no public_url: `gatebook check` says more")
    writing = _Writing(asked, client, config, deployment)
    changes: dict[int, tuple[int, str]] = {}
    for entry in clients.entries(client, root):
        taken = writing.take(entry)
        if taken.url is not None and taken.state != "behind":
            new = clients.gate_entry(client, text, entry, taken.url, asked.gatebook)
            changes[entry.node.start] = (entry.node.end, new)
    change = None
    if changes:
        change = Change(
            client=asked.file,
            client_before=raw,
            client_after=jsonc.replaced(text, changes).encode(),
            config=asked.config,
            config_before=config,
            block=writing.block,
            files=tuple(writing.files.values()),
        )
    return Plan(client=client, taken=tuple(writing.taken), change=change)


def _client_file(path: Path) -> tuple[bytes, str, jsonc.Node]:
    raw = _bytes(path, "name a client's file")
    try:
        text = raw.decode("utf-8")
        return raw, text, jsonc.parse(text)
    except UnicodeDecodeError as failure:
        raise CannotImport(f"{path} is no UTF-8") from failure
    except jsonc.Unreadable as failure:
        raise CannotImport(f"{path} is no JSON: {failure}") from failure


def _bytes(path: Path, mend: str) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as failure:
        raise CannotImport(f"{path} cannot be read: {failure.strerror}; {mend}") from failure
    if len(raw) > MAX_BYTES:
        raise CannotImport(f"{path} is larger than 8 MiB: is it the right file?")
    return raw


class _Writing:
    """The configuration growing, one entry after the other: each is taken only if gatebook.toml is still good with it."""

    def __init__(self, asked: Asked, client: Client, config: bytes, deployment: Deployment) -> None:
        self._asked = asked
        self._client = client
        self._config = config
        self._deployment = deployment
        self._known = _errors(config, asked.config)
        self._tables: list[dict[str, Any]] = tomllib.loads(config.decode()).get("server", [])
        self.block = b""
        self.files: dict[Path, NewFile] = {}
        self.taken: list[Taken] = []

    def take(self, entry: Entry) -> Taken:
        taken = self._take(entry)
        self.taken.append(taken)
        return taken

    def _take(self, entry: Entry) -> Taken:
        if clients.behind_gate(entry, self._deployment.public_url):
            return Taken(client_name=entry.name, state="behind")
        try:
            proposal = proposing.propose(entry, self._client, self._around(entry), self._file_variables(entry))
            return self._written(entry, proposal)
        except NotTaken as why:
            return Taken(client_name=entry.name, state="stays", why=str(why))

    def _around(self, entry: Entry) -> Surroundings:
        project = clients.project_of(self._client, self._asked.file)
        present = frozenset(
            word
            for word in entry.command[1:]
            if project is not None and "/" not in word[:1] and Path(project, word).exists()
        )
        return Surroundings(
            project=project,
            home=self._asked.home,
            variables=self._asked.variables,
            inputs=self._asked.inputs,
            present=present,
        )

    def _file_variables(self, entry: Entry) -> dict[str, str]:
        if entry.environment_file is None:
            return {}
        project = clients.project_of(self._client, self._asked.file)
        named = entry.environment_file.replace("${workspaceFolder}", str(project)).replace(
            "${userHome}", str(self._asked.home)
        )
        path = Path(project or self._asked.home, named)
        try:
            return _variables_in(_bytes(path, "").decode())
        except (CannotImport, UnicodeDecodeError, ValueError) as failure:
            raise NotTaken(f"its envFile cannot be read: {path}") from failure

    def _written(self, entry: Entry, proposal: Proposal) -> Taken:
        base = proposing.server_name(entry.name)
        for name in (base, *(f"{base}-{number}" for number in range(2, 100))):
            secrets, files = self._secrets(proposal, name)
            table = proposing.table_of(proposal, name, f"{self._asked.file.name} ({self._client.title})", secrets)
            [parsed] = tomllib.loads(table)["server"]
            there = next((each for each in self._tables if each.get("name") == name), None)
            if there is None:
                return self._new(entry, proposal, name, table, parsed, files)
            # The same server in another client's file: its table, and its secret if that is the same one.
            if _identity(there) == _identity(parsed) and not files:
                return self._result("known", entry, proposal, name, secrets, [])
        raise NotTaken("there are too many servers of its name")

    def _new(
        self,
        entry: Entry,
        proposal: Proposal,
        name: str,
        table: str,
        parsed: dict[str, Any],
        files: dict[Path, NewFile],
    ) -> Taken:
        new, added = self._with(table)
        if new:
            raise NotTaken(
                "gatebook.toml would be wrong: " + "; ".join(sorted(f"{each.what}: {each.mend}" for each in new))
            )
        notes: list[str] = []
        if self._asked.look is not None:
            table, notes = self._looked_at(name, table, files, self._asked.look)
            new, added = self._with(table)
            if new:
                raise NotTaken("; ".join(sorted(f"its role or pins: {each.what}: {each.mend}" for each in new)))
        self.block = added
        self.files |= files
        self._tables.append(parsed)
        secrets, _ = self._secrets(proposal, name)
        return self._result("new", entry, proposal, name, secrets, notes)

    def _with(self, table: str) -> tuple[frozenset[Problem], bytes]:
        """The errors that the configuration would have with the table too, and what is added then. Pins are not there yet: they are written before."""
        unended = not self.block and not self._config.endswith(b"\n")
        block = self.block + (b"\n" if unended else b"") + table.encode()
        found = _errors(self._config + block, self._asked.config) - self._known
        return frozenset(each for each in found if not each.where.endswith(": pins")), block

    def _looked_at(self, name: str, table: str, files: dict[Path, NewFile], look: Look) -> tuple[str, list[str]]:
        """The table with pins and a role behind it, where the server says what it offers; and what to say of that."""
        whole = examine_bytes(self._config + self._with(table)[1], self._asked.config).deployment
        assert whole is not None, "it has no error of this table's"
        server = next(each for each in whole.servers if each.name == name)
        waiting = {str(path): new.value.reveal() for path, new in {**self.files, **files}.items()}
        try:
            looked = look(server, whole, waiting)
        except NotLooked as why:
            return table, [f"It was not asked what it offers, so it has neither pins nor a role: {why}"]
        folder = self._asked.config.parent / PINS
        path = next(
            each
            for each in (folder / f"{name}.json", *(folder / f"{name}-{number}.json" for number in range(2, 1000)))
            if not os.path.lexists(each) or _content(each) == looked.pins
        )
        if not path.exists():
            files[path] = NewFile(path=path, value=Secret(looked.pins))
        named = f"name = {quoted(name)}\n"
        pins = f"pins = {quoted(str(path.relative_to(self._asked.config.parent)))}\n"
        return table.replace(named, named + pins, 1) + looked.role, [f"{looked.tools} tool(s) pinned; role written"]

    def _result(
        self,
        state: Literal["new", "known"],
        entry: Entry,
        proposal: Proposal,
        name: str,
        secrets: Mapping[str, str],
        looked: list[str],
    ) -> Taken:
        notes = [*proposal.notes, *looked]
        if entry.environment_file is not None:
            notes.append(f"Its envFile {entry.environment_file} still holds what was moved: remove it there.")
        return Taken(
            client_name=entry.name,
            state=state,
            server=name,
            url=f"{self._deployment.public_url}/{name}/mcp",
            moved={moved.where: secrets[key].removeprefix("file:") for key, moved in proposal.moved.items()},
            references=tuple(sorted(set(proposal.references.values()))),
            notes=tuple(notes),
        )

    def _secrets(self, proposal: Proposal, name: str) -> tuple[dict[str, str], dict[Path, NewFile]]:
        """Key → reference, and the files that have to be made for it: one that holds this very secret already is used."""
        references = dict(proposal.references)
        files: dict[Path, NewFile] = {}
        for key, moved in proposal.moved.items():
            path = self._place(name, moved, files)
            references[key] = f"file:{path.relative_to(self._asked.config.parent)}"
        return references, files

    def _place(self, name: str, moved: proposing.Moved, files: dict[Path, NewFile]) -> Path:
        content = Secret(f"{moved.value.reveal()}\n".encode())
        stem = f"{name}-{proposing.server_name(moved.label)}"
        for ending in ("", *(f"-{number}" for number in range(2, 100))):
            path = self._asked.config.parent / SECRETS / f"{stem}{ending}"
            waiting = self.files.get(path) or files.get(path)
            if waiting is None and not os.path.lexists(path):
                files[path] = NewFile(path=path, value=content)
                return path
            if (waiting.value.reveal() if waiting is not None else _content(path)) == content.reveal():
                return path
        raise NotTaken("there are too many secret files of its name")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _errors(config: bytes, path: Path) -> frozenset[Problem]:
    return frozenset(each for each in examine_bytes(config, path).problems if each.severity == "error")


def _identity(table: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes two tables one server: where it is or how it is started, and with which credentials."""
    run = table.get("run", {})
    credential = table.get("credential", {})
    return (
        table.get("url"),
        table.get("command"),
        run.get("directory"),
        run.get("environment", {}),
        run.get("secrets", {}),
        credential.get("header"),
        credential.get("value"),
        credential.get("secret"),
    )


def _variables_in(text: str) -> dict[str, str]:
    """A dotenv file: `NAME=value` lines, quotes around a value taken off, comments and `export` too. Raises ValueError for any other line."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.strip().removeprefix("export ").strip()
        if not words or words.startswith("#"):
            continue
        name, equals, value = words.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ValueError("no line of NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name.strip()] = value
    return found
