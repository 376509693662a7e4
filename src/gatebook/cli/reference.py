"""docs/reference/commands.md, made from the commands: `python -m gatebook.cli.reference > docs/reference/commands.md`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from gatebook.cli.app import app

_INTRODUCTION = """# Commands

<!-- Made from src/gatebook/cli/; a test holds it current. -->

Every command has `--help`. Run them as the user that the deployment runs as (as root where `[users]` gives each room its own), but for `verify`, which needs only files that it may read, and
`init`. Commands that read the log write that reading into it, durably, before they show anything; `verify` does not. With `--desk`, and where it
says so, they ask a desk as the person who is logged in there ([how](../howto/command-line.md)): then any user may run them, on any machine.
"""
_KINDS: dict[Any, str] = {str: "TEXT", int: "NUMBER", Path: "PATH"}


def reference() -> str:
    """The whole page, ending in a newline. Deterministic."""
    parts = [_INTRODUCTION]
    for name, command in commands().items():
        parts.append(f"## gatebook {name}\n\n```text\n{_usage(name, command)}\n```\n\n{_prose(command.help)}\n")
        parts.append("| | default | what |\n| --- | --- | --- |\n" + "\n".join(_rows(command)) + "\n")
    parts.append("## gatebook\n\n| | default | what |\n| --- | --- | --- |\n" + "\n".join(_rows(_group())) + "\n")
    return "\n".join(parts)


def commands() -> dict[str, Any]:
    """Name → command as typer makes it, in the order of the help; those of a group by both names, `server add`."""
    found: dict[str, Any] = {}
    for name, command in _group().commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {each}": one for each, one in inner.items()}
    return found


def _group() -> Any:
    return typer.main.get_command(app)


def _usage(name: str, command: Any) -> str:
    words = [f"gatebook {name}"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append(_kind(parameter) if parameter.required else f"[{_kind(parameter)}]")
        elif parameter.required:
            words.append(_spelled(parameter))
    return " ".join([*words, "[OPTIONS]"])


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        name = _kind(parameter) if parameter.param_type_name == "argument" else _spelled(parameter)
        cells = (f"`{name}`", _default(parameter), " ".join((parameter.help or "").split()))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _spelled(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {_kind(parameter)}"


def _kind(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return _KINDS.get(annotation, "TEXT")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, False) or getattr(parameter, "is_flag", False):
        return ""
    return f"`{parameter.default}`"


def _prose(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


if __name__ == "__main__":
    sys.stdout.write(reference())
