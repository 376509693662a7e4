"""`gatebook init`: fresh keys, a file that loads, and nothing overwritten."""

import json
import stat
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gatebook.cli.init import init
from gatebook.config import load
from gatebook.ledger import note, payload

app = typer.Typer()
app.command()(init)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_writes_a_file_that_loads_and_keys_that_fit_together(tmp_path: Path) -> None:
    said = run(tmp_path / "new", "--profile", "dev", "--origin", "example.com/log", "--json")
    assert said.exit_code == 0, said.output
    made = json.loads(said.stdout)
    deployment = load(Path(made["config"])).deployment
    assert (deployment.origin, deployment.log_key) == ("example.com/log", made["log_key"])
    assert deployment.payload_public_key == made["payload_public_key"]
    signer = note.load_signer(Path(made["log_key"]).read_text())
    assert signer.name == "example.com/log"
    assert signer.vkey == made["verifier_key"] == Path(made["verifier_file"]).read_text().strip()
    payload.load_public_key(Path(made["payload_public_key"]).read_text())
    payload.load_private_key(Path(made["payload_private_key"]).read_text())


def test_private_halves_are_their_owner_s_alone_and_the_one_that_belongs_elsewhere_is_said_to(tmp_path: Path) -> None:
    said = run(tmp_path, "--origin", "example.com/log", "--public-url", "https://example.com")
    assert said.exit_code == 0, said.output
    for name in ("data/keys/log.skey", "payloads.key"):
        assert mode(tmp_path / name) == 0o600
    assert mode(tmp_path / "data") == mode(tmp_path / "data/keys") == 0o700
    assert f"{tmp_path / 'payloads.key'}: OPENS EVERY RECORDING. It belongs elsewhere" in said.stdout
    assert (tmp_path / "data/log.vkey").read_text().strip() in said.stdout
    assert "PRIVATE" not in said.output


@pytest.mark.parametrize(
    "name", ["gatebook.toml", "payloads.key", "data/payloads.pub", "data/log.vkey", "data/keys/log.skey"]
)
@pytest.mark.parametrize("dangling", [False, True])
def test_nothing_is_overwritten_and_then_nothing_is_written(tmp_path: Path, name: str, dangling: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if dangling:
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    said = run(tmp_path, "--profile", "dev")
    assert said.exit_code == 1
    assert str(path) in said.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--origin", "example.com/log"),
        ("--public-url", "https://example.com"),
        ("--origin", "a+b", "--public-url", "https://example.com"),
        ("--origin", "a", "--public-url", "http://example.com"),
        ("--origin", "a", "--public-url", "https://example.com/"),
        ("--profile", "dev", "--public-url", 'x"\nprofile = "pci'),
    ],
)
def test_what_could_not_load_is_refused_before_anything_is_written(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = run(tmp_path, *arguments)
    assert said.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run(tmp_path / "file", "--profile", "dev")
    assert said.exit_code == 1
    assert "cannot be written" in said.stderr
