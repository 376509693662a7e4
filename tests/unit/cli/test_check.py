"""`gatebook check`: what it prints, and what it tells a script."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gatebook.cli import check as command
from gatebook.ledger.entry import Clocked
from gatebook.ports import Instant


class FixedClock:
    def now(self) -> Instant:
        return Instant(unix_us=1_795_000_000_000_000, clocked=Clocked(src="test", off=0, ok=True))


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SystemClock", FixedClock)


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(command.check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gatebook.toml"
    path.write_text('profile = "dev"\n')
    return path


def test_warnings_alone_are_exit_code_0(config: Path) -> None:
    said = run("--config", config, "--offline")
    assert said.exit_code == 0, said.output
    assert "UNANCHORED" in said.stdout
    assert "dev profile" in said.stdout
    assert "0 error(s)" in said.stdout


def test_an_error_is_exit_code_1_and_stands_first(config: Path) -> None:
    config.write_text('profile = "dev"\nworkers = 0\n')
    said = run("--config", config, "--offline")
    assert said.exit_code == 1
    first = next(line for line in said.stdout.splitlines() if line.startswith(("error", "warning")))
    assert "workers (line 2)" in first
    assert "1 error(s)" in said.stdout


def test_without_a_terminal_each_problem_is_one_line(config: Path) -> None:
    """So that grep finds it, and what is to be pasted is whole."""
    lines = run("--config", config, "--offline").stdout.splitlines()
    found = json.loads(run("--config", config, "--offline", "--json").stdout)
    assert len(lines) == len(found) + 2, "a head, and the count"
    assert any(problem["mend"] in line for problem in found for line in lines if len(line) > 200)
    assert not any(line.endswith(" ") for line in lines)


def test_json_is_for_scripts(config: Path) -> None:
    said = run("--config", config, "--offline", "--json")
    problems = json.loads(said.stdout)
    assert said.exit_code == 0
    assert all(set(problem) == {"severity", "where", "what", "mend"} for problem in problems)


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    said = run("--config", tmp_path / "nowhere.toml", "--json")
    assert said.exit_code == 1
    [problem] = json.loads(said.stdout)
    assert "cannot be read" in problem["what"]


def test_a_key_cannot_act_on_the_terminal(config: Path) -> None:
    config.write_text('profile = "dev"\n"\\u001b]0;x\\u0007[red]" = 1\n')
    said = run("--config", config, "--offline")
    assert said.exit_code == 1
    assert "\x1b" not in said.stdout
    assert "\\x1b]0;x\\x07[red]" in said.stdout
