"""An entry of a client → the `[[server]]` table that does the same, and the secrets that become files. Pure: nothing is read or written.

A secret is whatever `spotting` takes for one, in a variable, a header or an argument. Gatebook's own references stay references: what a client
wrote as `${env:NAME}` becomes `env:NAME`, and must then stand in the gate's environment instead of the client's.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

import msgspec

from gatebook.config import values
from gatebook.model.secret import Secret
from gatebook.takeover import spotting
from gatebook.takeover.clients import Client, Entry, Part, Variable, parts
from gatebook.takeover.toml_text import array, comment, inline, quoted

_LAUNCHERS: Final = frozenset("npx npm pnpm bunx bun yarn uvx uv pipx docker podman deno".split())
_REMOTES: Final = frozenset({"mcp-remote"})
_PAIR: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OPTION: Final = re.compile(r"(--?[A-Za-z][\w-]*)=(.*)", re.DOTALL)
_PATH: Final = re.compile(r"(?:\.{0,2}|~)/[\w.-]+(?:/[\w.-]+)+|[\w./~-]+\.(?:pem|key|crt|json|toml|ya?ml)")
_PASSES_VARIABLES: Final = frozenset({"-e", "--env"})


class NotTaken(Exception):
    """Why an entry stays as it is, in words that repeat no secret."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry's variables mean. `inputs`: VS Code's input id → a reference of Gatebook's."""

    project: PurePath | None
    home: PurePath
    variables: Mapping[str, str]
    inputs: Mapping[str, str] = {}
    present: frozenset[str] = frozenset()
    """Arguments that name something in the project's folder."""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One secret and where it goes. `where`: where in the client's entry it stood (`env API_KEY`). `label`: of the file's name."""

    where: str
    label: str
    value: Secret[str]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a table holds. `moved`: key → secret; `references`: key → `env:NAME` or `file:PATH`: each key is a variable of the command, or
    `credential`. `notes`: what the operator should know."""

    url: str = ""
    header: str = ""
    template: str = ""
    command: tuple[str, ...] = ()
    directory: str | None = None
    environment: dict[str, str] = {}
    moved: dict[str, Moved] = {}
    references: dict[str, str] = {}
    network: bool = False
    launcher: bool = False
    """Whether it fetches a program before it runs it."""
    notes: tuple[str, ...] = ()


CREDENTIAL: Final = "credential"


def server_name(name: str) -> str:
    """A name that Gatebook takes, as near to the client's as can be."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "server"
    return f"mcp-{plain}" if plain in values.RESERVED else plain


def propose(entry: Entry, client: Client, surroundings: Surroundings, file_variables: Mapping[str, str]) -> Proposal:
    """What the entry becomes. `file_variables`: what its `envFile` holds. Raises NotTaken."""
    if entry.obstacle is not None:
        raise NotTaken(entry.obstacle)
    reading = _Reading(client, surroundings)
    if entry.url:
        return reading.remote(entry.url, entry.headers)
    if (bridged := _bridged(entry)) is not None:
        return reading.remote(*bridged)
    return reading.program(entry, {**file_variables, **entry.environment})


def table_of(proposal: Proposal, name: str, source: str, secrets: Mapping[str, str]) -> str:
    """The table as it is appended to gatebook.toml. `secrets`: key → reference of every secret of it."""
    head = f"From {source} by `gatebook import`. Nobody may use it until a role grants something of it."
    lines = ["\n", comment(head), *(comment(note) for note in proposal.notes)]
    lines += ["[[server]]\n", f"name = {quoted(name)}\n"]
    if proposal.url:
        lines.append(f"url = {quoted(proposal.url)}\n")
        if CREDENTIAL in secrets:
            credential = {"header": proposal.header, "value": proposal.template, "secret": secrets[CREDENTIAL]}
            lines.append(f"credential = {inline(credential)}\n")
        return "".join(lines)
    lines += [f"command = {array(proposal.command)}\n", "\n[server.run]\n"]
    if proposal.directory is not None:
        lines.append(f"directory = {quoted(proposal.directory)}\n")
    if proposal.environment:
        lines.append(f"environment = {inline(proposal.environment)}\n")
    if secrets:
        lines.append(f"secrets = {inline(secrets)}\n")
    if proposal.launcher:
        lines.append("start_s = 120 # time to fetch it\n")
    if proposal.network:
        lines.append("network = true # a guess: it looks like one that fetches or calls something. Try without.\n")
    else:
        lines.append("#network = true # if it has to reach something\n")
    lines.append('#writable = ["/srv/…"] # what it may change on disk: nothing, until it stands here\n')
    return "".join(lines)


def _bridged(entry: Entry) -> tuple[str, dict[str, str]] | None:
    """(url, headers) of a command that only leads to a server at a URL (`npx mcp-remote URL --header "Name: value"`); None for any other."""
    words = [*entry.command]
    at = next((n for n, word in enumerate(words) if word.rpartition("@")[0] in _REMOTES or word in _REMOTES), None)
    if at is None or len(words) <= at + 1 or not words[at + 1].startswith(("https://", "http://")):
        return None
    headers: dict[str, str] = {}
    rest = iter(words[at + 2 :])
    for word in rest:
        if word in ("--header", "--allow-http", "--transport"):
            value = "" if word == "--allow-http" else next(rest, "")
            if word == "--header":
                name, _, text = value.partition(":")
                headers[name.strip()] = _filled(text.strip(), entry.environment)
            elif value.startswith("sse"):
                return None
        else:
            return None  # an option that means something here is not lost silently
    return words[at + 1], headers


def _filled(text: str, environment: Mapping[str, str]) -> str:
    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda found: environment.get(found[1], found[0]), text)


class _Reading:
    """One entry being read: what its texts mean in its client's surroundings."""

    def __init__(self, client: Client, surroundings: Surroundings) -> None:
        self._client = client
        self._around = surroundings

    # --- a server at a URL

    def remote(self, url: str, headers: Mapping[str, str]) -> Proposal:
        plain = self._plain(url, "its URL")
        if spotting.secret_in_query(plain) or spotting.kind_of(plain) is not None:
            raise NotTaken(
                "its URL holds what looks like a credential, and a URL is no place to keep one: use a header"
            )
        wanted = {name: value for name, value in headers.items() if not spotting.harmless_header(name)}
        if len(wanted) > 1:
            names = ", ".join(sorted(wanted))
            raise NotTaken(
                f"it sends several headers of its own ({names}), and the gate puts in one: keep what is needed"
            )
        for name, value in wanted.items():
            return self._with_header(plain, name, value)
        note = "It has no credential here. If the server wants one, write `credential`; the client's own login does not reach it."
        return Proposal(url=plain, notes=(note,))

    def _with_header(self, url: str, name: str, value: str) -> Proposal:
        found = self._expanded(value, f"header {name}")
        references = [part for part in found if not isinstance(part, str)]
        if len(references) > 1:
            raise NotTaken(f"header {name} is made of several variables")
        if references:
            template = "".join(part if isinstance(part, str) else "{secret}" for part in found).strip()
            reference = self._reference(references[0], f"header {name}")
            return Proposal(url=url, header=name, template=template, references={CREDENTIAL: reference})
        text = "".join(str(part) for part in found)
        if not re.fullmatch(r"[ -~]+", text.strip()):
            raise NotTaken(f"header {name} is empty, or holds what no header can carry")
        template, secret = spotting.split_scheme(text)
        moved = Moved(where=f"header {name}", label=name, value=Secret(secret))
        return Proposal(url=url, header=name, template=template, moved={CREDENTIAL: moved})

    # --- a command

    def program(self, entry: Entry, variables: Mapping[str, str]) -> Proposal:
        environment: dict[str, str] = {}
        moved: dict[str, Moved] = {}
        references: dict[str, str] = {}
        for name, value in variables.items():
            where = f"env {name}"
            found = self._expanded(value, where)
            if len(found) == 1 and not isinstance(found[0], str):
                references[name] = self._reference(found[0], where)
                continue
            text = self._joined(found, where)
            if spotting.is_secret(name, text) or not all(isinstance(part, str) for part in found):
                moved[name] = Moved(where=where, label=name, value=Secret(text))
            else:
                environment[name] = text
        command = self._command(entry.command, {*variables}, moved, references)
        notes: tuple[str, ...] = ()
        if any(name not in variables for name in (*moved, *references)):
            notes = ("A secret stood among the arguments: the shell puts it there again, out of a variable.",)
        launcher = PurePath(entry.command[0]).name in _LAUNCHERS
        if launcher:
            notes += (
                "Each process fetches its package anew: install it once and name its program, and it starts in a second.",
            )
        return Proposal(
            command=command,
            directory=self._directory(entry),
            environment=environment,
            moved=moved,
            references=references,
            network=launcher or bool(moved) or bool(references),
            launcher=launcher,
            notes=notes,
        )

    def _directory(self, entry: Entry) -> str | None:
        project = self._around.project
        if entry.directory is not None:
            return self._in_project(self._plain(entry.directory, "its directory"), "its directory")
        if project is not None and any(word in self._around.present for word in entry.command):
            return str(project)
        return None

    def _in_project(self, path: str, what: str) -> str:
        if PurePath(path).is_absolute():
            return path
        if self._around.project is None:
            raise NotTaken(f"{what} is a relative path, and this file belongs to no project")
        return str(self._around.project / path)

    def _command(
        self, words: tuple[str, ...], taken: set[str], moved: dict[str, Moved], references: dict[str, str]
    ) -> tuple[str, ...]:
        """The words, a secret among them put in by the shell from a variable, which `moved` or `references` then holds."""
        shell: list[str] = []
        plain: list[str] = []
        before = ""
        for number, word in enumerate(words):
            where = f"argument {number}"
            prefix, name, value = _split(before, word)
            found = self._expanded(value, where)
            text = self._known_text(found)
            if number == 0 and text is not None and not text.startswith("/") and "/" in text:
                text = self._in_project(text, "its program")
            if text is not None and not (number > 0 and _secret_argument(name, text)):
                shell.append(shlex.quote(prefix + text))
                plain.append(prefix + text)
            else:
                variable = _free(name, taken)
                if text is None and len(found) == 1 and isinstance(found[0], Variable):
                    references[variable] = self._reference(found[0], where)
                else:
                    moved[variable] = Moved(where=where, label=variable, value=Secret(self._joined(found, where)))
                shell.append((shlex.quote(prefix) if prefix else "") + f'"${variable}"')
            before = word
        return tuple(plain) if len(plain) == len(words) else ("sh", "-c", f"exec {' '.join(shell)}")

    def _known_text(self, found: list[Part]) -> str | None:
        """The text, where nothing in it is kept elsewhere but variables that are set here and hold no secret; else None."""
        for part in found:
            if isinstance(part, Variable):
                value = self._around.variables.get(part.name) if part.kind == "env" else None
                if value is None or spotting.is_secret(part.name, value):
                    return None
        return self._joined(found, "")

    # --- texts with variables

    def _expanded(self, text: str, where: str) -> list[Part]:
        """The text, folders put in; what remains are pieces of text and variables that stand for a value kept elsewhere."""
        found: list[Part] = []
        for part in parts(text, self._client.syntax):
            piece = part if isinstance(part, str) else self._known(part, where)
            if isinstance(piece, str) and found and isinstance(found[-1], str):
                found[-1] += piece
            else:
                found.append(piece)
        return found

    def _known(self, variable: Variable, where: str) -> Part:
        match variable.kind, variable.name:
            case "folder", "userHome":
                return str(self._around.home)
            case "folder", "pathSeparator" | "/":
                return "/"
            case "folder", name if self._around.project is not None:
                return self._around.project.name if name == "workspaceFolderBasename" else str(self._around.project)
            case "env", name if variable.default is not None and name not in self._around.variables:
                return variable.default
            case "env" | "input" | "file", _:
                return variable
            case _:
                raise NotTaken(f"{where} uses ${{{variable.name}}}, which means nothing outside of its client")

    def _joined(self, found: list[Part], where: str) -> str:
        """One text, variables of the environment put in as they are now."""
        pieces = []
        for part in found:
            if isinstance(part, str):
                pieces.append(part)
            elif part.kind == "env" and part.name in self._around.variables:
                pieces.append(self._around.variables[part.name])
            else:
                raise NotTaken(f"{where} is made of a text and ${{{part.name}}}, which is not set here")
        return "".join(pieces)

    def _plain(self, text: str, where: str) -> str:
        return self._joined(self._expanded(text, where), where)

    def _reference(self, part: Part, where: str) -> str:
        assert isinstance(part, Variable)
        match part.kind:
            case "env":
                return f"env:{part.name}"
            case "file":
                path = PurePath(
                    part.name.replace("~", str(self._around.home), 1) if part.name[:1] == "~" else part.name
                )
                if not path.is_absolute():
                    raise NotTaken(f"{where} names a file by a relative path")
                return f"file:{path}"
            case _:
                if part.name not in self._around.inputs:
                    raise NotTaken(
                        f"{where} is asked for by the client: say where it lies, --input {part.name}=file:PATH"
                    )
                return self._around.inputs[part.name]


def _split(before: str, word: str) -> tuple[str, str, str]:
    """(what stands before the value, what the value is called, the value) of one argument."""
    if before in _PASSES_VARIABLES and (pair := _PAIR.fullmatch(word)):
        return f"{pair[1]}=", pair[1], pair[2]
    if option := _OPTION.fullmatch(word):
        return f"{option[1]}=", option[1].lstrip("-"), option[2]
    if pair := _PAIR.fullmatch(word):
        return f"{pair[1]}=", pair[1], pair[2]
    if before.startswith("-") and "=" not in before and not word.startswith("-"):
        if before in ("--header", "-H") and ":" in word:
            name, _, value = word.partition(":")
            return f"{name}:{value[: len(value) - len(value.lstrip())]}", name, value.lstrip()
        return "", before.lstrip("-"), word
    return "", "", word


def _secret_argument(name: str, text: str) -> bool:
    """Arguments are mostly names of packages and paths: one that only looks random is not taken for a secret unless its option says so."""
    if not text or text.startswith("-") or _PATH.fullmatch(text):
        return False
    return (bool(name) and spotting.names_credential(name)) or spotting.kind_of(text) is not None


def _free(name: str, taken: set[str]) -> str:
    """A variable's name of its own, added to `taken`."""
    base = re.sub(r"[^A-Z0-9_]+", "_", name.upper()).strip("_") or "SECRET"
    base = f"_{base}" if base[0].isdigit() else base
    found = next(each for each in (base, *(f"{base}_{n}" for n in range(2, 1000))) if each not in taken)
    taken.add(found)
    return found
