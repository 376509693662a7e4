"""How the tour is told: each step with what is done, what came back and what was checked. A step that does not hold ends it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text


class StepFailed(Exception):
    """Something that the tour promises did not happen. The text says what."""


class Told(msgspec.Struct):
    """One step as it went: for `--json`, and for the last line."""

    title: str
    checks: list[str] = []
    seconds: float = 0.0
    failed: str | None = None


class Teller:
    """Prints the story on `console` as it happens and keeps it in `told`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.told: list[Told] = []

    @contextmanager
    def step(self, title: str, story: str) -> Iterator[None]:
        """One step of the tour. An error inside becomes StepFailed with the step's title."""
        told = Told(title)
        self.told.append(told)
        self._console.print()
        self._console.rule(Text(f"{len(self.told)} · {title}", style="bold"), align="left", style="dim")
        self._console.print(Text(story))
        began = time.monotonic()
        try:
            yield
        except StepFailed as failed:
            told.failed = str(failed)
            raise
        except Exception as error:
            told.failed = _words(error)
            raise StepFailed(told.failed) from error
        finally:
            told.seconds = round(time.monotonic() - began, 3)

    def sends(self, what: str) -> None:
        self._line("  →", what, "cyan")

    def gets(self, what: str) -> None:
        self._line("  ←", what, "dim")

    def types(self, command: str) -> None:
        """A command line as the reader would type it."""
        self._line("  $", command, "bold")

    def shows(self, output: str, *, lines: int, start: str = "") -> None:
        """`lines` lines of a command's output, from the first that holds `start`."""
        every = output.rstrip().splitlines()
        first = next((number for number, line in enumerate(every) if start in line), 0)
        if first:
            self._console.print(Text(f"    … {first} lines before", style="dim"))
        for line in every[first : first + lines]:
            self._console.print(Text(f"    {line}"), soft_wrap=True)
        if len(every) > first + lines:
            self._console.print(Text(f"    … {len(every) - first - lines} more lines", style="dim"))

    def check(self, holds: bool, promise: str, otherwise: object = "") -> None:
        """Raises StepFailed unless the promise holds; `otherwise` is what was there instead."""
        if not holds:
            instead = f"; instead: {_printable(str(otherwise))[:600]}" if otherwise != "" else ""
            raise StepFailed(f"{promise} – this did not happen{instead}")
        self.told[-1].checks.append(promise)
        self._console.print(Text.assemble(("  ✓ ", "bold green"), promise))

    def _line(self, sign: str, words: str, style: str) -> None:
        self._console.print(Text.assemble((f"{sign} ", style), (_printable(words), style)), soft_wrap=True)


def shortened(value: Any, limit: int = 300) -> str:
    """A value as one line of JSON."""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= limit else f"{line[:limit]} …"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def innermost(error: BaseException) -> BaseException:
    """The error itself where task groups have wrapped it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    inner = innermost(error)
    return f"{type(inner).__name__}: {inner}"
