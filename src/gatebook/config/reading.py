"""The bytes of a gatebook.toml → its sound part and every problem of form. What several keys together must be is `resolve`'s.

A table with a fault in it is left out, and the rest is read on: so that one look shows everything that must be mended.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gatebook.config import places, schema
from gatebook.config.places import KeyPath
from gatebook.config.problem import Problem, error

MAX_BYTES = 1 << 20
_SECTIONS = ("issuer", "server", "role", "idp", "client", "workload", "job", "desk_role")


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A file read. `file` is the part without faults; None where nothing can be made of it.

    `numbers`: for each repeated section (issuer, server, …) the places in the text of the tables that are in `file`, in order. `names`: the names of all
    tables of a kind, faulty ones too, so that a reference to a faulty table is no second problem. `faulty`: top-level keys left out."""

    file: schema.File | None
    problems: tuple[Problem, ...]
    lines: dict[KeyPath, int] = {}
    numbers: dict[str, list[int]] = {}
    names: dict[str, set[str]] = {}
    faulty: frozenset[str] = frozenset()

    def where(self, *path: str | int) -> str:
        """The key path in words, with its line; an index counts the tables of `file` and is told as the text has it."""
        if len(path) > 1 and path[0] in self.numbers and isinstance(path[1], int):
            path = (path[0], self.numbers[str(path[0])][path[1]], *path[2:])
        return places.describe(path, self.lines)


def read(raw: bytes, path: str = "gatebook.toml") -> Read:
    """What stands in the file, which problems call `path`. Never raises; nothing is coerced, and no message repeats a value."""
    if len(raw) > MAX_BYTES:
        return _unreadable(
            path, "the file is larger than 1 MiB", "a configuration is a few kilobytes: is this the right file?"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as failure:
        line = raw.count(b"\n", 0, failure.start) + 1
        return _unreadable(path, f"line {line} is no UTF-8", "save the file as UTF-8")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        return _unreadable(
            path, f"this is no TOML: {_position(failure)}", "correct that place; what comes after it was not read"
        )
    except RecursionError:
        return _unreadable(path, "the tables are nested too deeply", "flatten them")
    return _validate(document, places.lines(text.replace("\r\n", "\n")))


def _unreadable(path: str, what: str, mend: str) -> Read:
    return Read(file=None, problems=(error(path, what, mend),))


def _position(failure: tomllib.TOMLDecodeError) -> str:
    """What tomllib says without what it quotes: a key may have been a secret with its `=` in the wrong place."""
    said, _, position = str(failure).rpartition(" (at ")
    words = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)", "…", said) if said else "cannot be parsed"
    return f"{words} (at {position}"


def _validate(document: dict[str, Any], lines: dict[KeyPath, int]) -> Read:
    names = {section: _names(document.get(section)) for section in _SECTIONS}
    try:
        file = schema.File.model_validate(document)
        numbers = {section: list(range(len(getattr(file, section)))) for section in _SECTIONS}
        return Read(file=file, problems=(), lines=lines, numbers=numbers, names=names)
    except ValidationError as failure:
        details = failure.errors(include_input=False, include_url=False)
    problems = tuple(
        _problem(detail, lines) for detail in sorted(details, key=lambda detail: _order(detail["loc"], lines))
    )
    faulty = frozenset(
        str(detail["loc"][0]) for detail in details if len(detail["loc"]) == 1 or detail["loc"][0] not in _SECTIONS
    )
    broken = {
        section: {d["loc"][1] for d in details if d["loc"][0] == section and len(d["loc"]) > 1} for section in _SECTIONS
    }
    sound = {name: value for name, value in document.items() if name not in faulty}
    numbers = {}
    for section in _SECTIONS:
        tables = sound.get(section, [])
        numbers[section] = [number for number in range(len(tables)) if number not in broken[section]]
        if section in sound:
            sound[section] = [tables[number] for number in numbers[section]]
    rest = schema.File.model_validate(sound) if "profile" not in faulty else None
    return Read(file=rest, problems=problems, lines=lines, numbers=numbers, names=names, faulty=faulty)


def _names(tables: object) -> set[str]:
    if not isinstance(tables, list):
        return set()
    return {table["name"] for table in tables if isinstance(table, dict) and isinstance(table.get("name"), str)}


def _order(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 0)


def _problem(detail: ErrorDetails, lines: dict[KeyPath, int]) -> Problem:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    what, mend = _words(detail, path)
    return error(places.describe(path, lines), what, mend)


_KINDS = {
    "string_type": "a string in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list: [ … ]",
    "dict_type": "a table: { … }",
    "model_type": "a table: { … }",
    "finite_number": "a finite number",
}


def _words(detail: ErrorDetails, path: KeyPath) -> tuple[str, str]:
    """What is wrong and how to mend it. The input is in neither: it may be a secret in the wrong place."""
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "gatebook":
        return str(context["what"]), str(context["mend"])
    if kind == "extra_forbidden":
        return "there is no such key", _nearest_key(path)
    if kind == "missing":
        return "is missing", f"write {path[-1]} = …"
    if kind == "literal_error":
        return "is none of the words allowed here", f"write {str(context['expected']).replace(chr(39), chr(34))}"
    if kind == "too_short":
        return "is empty", "give at least one"
    if kind in _KINDS:
        return "is of the wrong type", f"write {_KINDS[kind]}"
    bounds = {
        "greater_than": "more than",
        "greater_than_equal": "at least",
        "less_than": "less than",
        "less_than_equal": "at most",
    }
    if kind in bounds:
        bound = next(iter(context.values()))
        return "is out of range", f"write {bounds[kind]} {bound:g}" if isinstance(
            bound, float
        ) else f"write {bounds[kind]} {bound}"
    return "is not allowed here", "see docs/reference/configuration.md"


def _nearest_key(path: KeyPath) -> str:
    """The nearest key of that table; where there is none, the table in which a key of that name belongs."""
    unknown = str(path[-1])
    table = _table_at(path[:-1])
    known = list(table.model_fields) if table else []
    if close := difflib.get_close_matches(unknown.lower(), known, n=1, cutoff=0.5):
        return f"did you mean {close[0]}?"
    homes = [name for name, other in tables().items() if unknown in other.model_fields]
    if homes:
        return f"it belongs into {' or '.join(homes)}"
    return f"remove it; known here: {', '.join(known)}"


def tables() -> dict[str, type[BaseModel]]:
    """Every table of the schema, by the way it is written, the file itself first (as an empty name)."""
    found: dict[str, type[BaseModel]] = {"the top of the file": schema.File}
    _collect(schema.File, "", found)
    return found


def _collect(table: type[BaseModel], prefix: str, found: dict[str, type[BaseModel]]) -> None:
    for name, field in table.model_fields.items():
        for inner, many in _inner_tables(field.annotation):
            path = f"{prefix}{name}"
            found[f"[[{path}]]" if many else f"[{path}]"] = inner
            _collect(inner, f"{path}.", found)


def _inner_tables(annotation: Any, many: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
        return
    for argument in get_args(annotation):
        yield from _inner_tables(argument, many or str(annotation).startswith("list["))


def _table_at(path: KeyPath) -> type[BaseModel] | None:
    table: type[BaseModel] | None = schema.File
    for part in path:
        if isinstance(part, int):
            continue
        field = table.model_fields.get(part) if table else None
        table = next((inner for inner, _ in _inner_tables(field.annotation)), None) if field else None
    return table
