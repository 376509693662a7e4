"""Names in the log were chosen by strangers; showing them must not obey them."""

import pytest
from typer.testing import CliRunner

from gatebook import wiring
from gatebook.cli.app import app
from gatebook.cli.visible import visible
from gatebook.model.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("get_order", "get_order"),
        ("Müller, 東京", "Müller, 東京"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\rb\nc\td", "a\\x0db\\x0ac\\x09d"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("line\u2028end", "line\\u2028end"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_a_terminal_would_act_on_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_why_a_gate_does_not_start_is_neither_markup_nor_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment's name, which a worker chose, ended the program with an error in its markup, and could have driven the terminal."""

    def refuse(*_: object) -> None:
        raise ConfigurationError(("segments/[/red]\x1b]0;x\x07.seg: in another writer's name",))

    monkeypatch.setattr(wiring, "serve", refuse)
    done = CliRunner().invoke(app, ["serve"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "segments/[/red]\\x1b]0;x\\x07.seg" in done.output and "\x1b" not in done.output
