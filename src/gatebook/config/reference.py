"""docs/reference/configuration.md, made from the schema: `python -m gatebook.config.reference > docs/reference/configuration.md`."""

import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gatebook.config.reading import tables

_INTRODUCTION = """# gatebook.toml

<!-- Made from src/gatebook/config/schema.py; a test holds it current. -->

One file describes a deployment. Every key of every table stands below, with its unit and default; any other key is refused, with the
nearest known one named. Relative paths count from the file's directory. `gatebook check` lists every problem of a file and of the
deployment at once and changes nothing; SIGHUP makes a running gate read the file again, and a bad file changes nothing.

No secret stands in this file: a credential is a reference (`file:PATH` or `env:NAME`). What is not granted by a role is denied.

In globs `*` is anything up to a `/`, `**` is anything, and every other character is itself. URIs with `.` or `..` segments, backslashes,
control characters, or escapes of characters that need none (also of `/`) are refused before any glob is tried,
and so are names of tools and prompts with control characters.
"""
_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "true or false"}


def reference() -> str:
    """The whole page, ending in a newline. Deterministic."""
    parts = [_INTRODUCTION]
    for where, table in tables().items():
        title = "Top level" if table.__name__ == "File" else f"`{where}`"
        parts.append(f"## {title}\n\n{_sentence(table)}\n\n" + "\n".join(_rows(table)) + "\n")
    return "\n".join(parts)


def _sentence(table: type[BaseModel]) -> str:
    return " ".join((table.__doc__ or "").split())


def _rows(table: type[BaseModel]) -> Iterator[str]:
    yield "| key | type | default | what |"
    yield "| --- | --- | --- | --- |"
    for name, field in table.model_fields.items():
        cells = (f"`{name}`", _type(field), _default(field), field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(field: FieldInfo) -> str:
    bounds = [bound for constraint in field.metadata if (bound := _bound(constraint))]
    return _type_words(field.annotation) + (f", {' and '.join(bounds)}" if bounds else "")


def _type_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return ""
    if origin is Literal:
        return " or ".join(f'`"{word}"`' for word in arguments)
    if origin is list and get_origin(arguments[0]) is dict:
        return "list of tables of strings"
    if origin is list:
        return "tables" if _is_table(arguments[0]) else f"list of {_type_words(arguments[0])}s"
    if origin is dict:
        return "table of strings"
    if hasattr(annotation, "__metadata__"):
        return _type_words(arguments[0])
    if arguments:
        return " or ".join(words for argument in arguments if (words := _type_words(argument)))
    return "table" if _is_table(annotation) else _WORDS[annotation.__name__]


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bound(constraint: object) -> str | None:
    match constraint:
        case annotated_types.Ge(ge=bound):
            return f"at least {bound}"
        case annotated_types.Gt(gt=bound):
            return f"more than {bound}"
        case annotated_types.Le(le=bound):
            return f"at most {bound}"
        case annotated_types.MinLen(min_length=bound):
            return f"at least {bound}"
        case _:
            return None


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "by_default" in extra:
        return str(extra["by_default"])
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, list):
        return f"`[{', '.join(_toml(item) for item in default)}]`"
    return f"`{_toml(default)}`"


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
