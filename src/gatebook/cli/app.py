"""`gatebook`: the list of commands. Each is loaded when it is asked for, so that none waits for what the others need."""

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import typer
from typer.core import TyperGroup

from gatebook import __version__

NAMES = (
    *("serve", "check", "restart", "upgrade", "formats", "init", "units", "layout", "idp", "saml-metadata"),
    *("roll-desk-key", "alert-rules", "doctor", "backup", "restore"),
    *("log", "why", "sessions", "replay", "verify", "prove"),
    *("login", "logout", "whoami", "token", "connect", "grants", "revoke"),
    *("demo", "import", "scan-secrets", "server"),
)
"""In the order of the help."""
_ELSEWHERE = {"import": "import_clients"}


class _Loading(MutableMapping[str, Any]):
    """Name → command, made of the function of that name in the module of that name."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded and name in NAMES:
            self._loaded[name] = _load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


def _load(name: str) -> Any:
    function = _ELSEWHERE.get(name, name.replace("-", "_"))
    found = getattr(importlib.import_module(f"gatebook.cli.{function}"), function)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


class _Commands(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Loading()


app = typer.Typer(
    cls=_Commands,
    name="gatebook",
    help="The identity-aware gate in front of MCP servers, and the book kept at that gate.",
    no_args_is_help=True,
    rich_markup_mode=None,  # else `[[idp]]` in a help text is taken for markup
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatebook {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_say_version, is_eager=True, help="Show the version."),
) -> None:
    """The identity-aware gate in front of MCP servers, and the book kept at that gate."""


def main() -> None:
    app()
