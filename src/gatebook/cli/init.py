"""`gatebook init`."""

import json
import os
from pathlib import Path
from typing import Literal, NoReturn

import msgspec
import typer
from pydantic_core import PydanticCustomError

from gatebook.cli.visible import visible
from gatebook.config import values
from gatebook.config.key_files import DESK_KEY, LOG_KEY, LOG_VKEY, PAYLOAD_PRIVATE_KEY, PAYLOAD_PUBLIC_KEY
from gatebook.config.listening import DEV_DATA_DIR
from gatebook.config.resolve import DEV_ORIGIN
from gatebook.config.template import template
from gatebook.durable import make_folder, sync_folder
from gatebook.federation import minting
from gatebook.ledger import note, payload


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What `init` wrote (absolute paths), and the log's verifier key."""

    config: str
    log_key: str
    verifier_file: str
    payload_public_key: str
    payload_private_key: str
    desk_signing_key: str
    verifier_key: str


def init(
    directory: Path = typer.Argument(Path(), help="Where to write; made if it is not there."),
    profile: Literal["pci", "dev"] = typer.Option("pci", help="pci, or dev for a machine without cardholder data."),
    origin: str | None = typer.Option(
        None, help="The log's name, for ever, as in mcp.example.com/prod. Required in pci."
    ),
    public_url: str | None = typer.Option(
        None, help="Scheme, host and port as clients see them, as in https://mcp.example.com. Required in pci."
    ),
    data_dir: Path | None = typer.Option(
        None,
        help="Where records, log and recordings will lie, instead of `data` in the directory: on a disk of their own.",
    ),
    users: bool = typer.Option(
        False, "--users", help="Give each room the user that the file of `gatebook units` makes."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print paths and the verifier key as JSON."),
) -> None:
    """Write a commented gatebook.toml, a fresh log key, a fresh payload key pair and a key for the desk's tokens. Overwrites nothing.

    Prints the log's verifier key: keep it where whoever can reach this machine cannot change it.

    Exit codes: 0 written, 1 nothing written, and why."""
    _refuse_what_could_not_load(profile, origin, public_url)
    made = _write(directory.absolute(), data_dir, template(profile, public_url, origin, data_dir, users=users), origin)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(made), indent=2))
    else:
        _say(made, profile)


def _refuse_what_could_not_load(profile: str, origin: str | None, public_url: str | None) -> None:
    if profile == "pci" and (origin is None or public_url is None):
        _refuse("the pci profile needs --origin and --public-url: neither can be guessed, and the origin is for ever")
    try:
        if origin is not None:
            values.origin(origin)
        if public_url is not None:
            values.public_url(public_url)
    except PydanticCustomError as fault:
        context = fault.context or {}
        _refuse(f"--origin or --public-url {context.get('what')}; {context.get('mend')}")
    if profile == "pci" and public_url is not None and not public_url.startswith("https://"):
        _refuse("--public-url is not https; the pci profile serves https only")


def _write(directory: Path, elsewhere: Path | None, text: str, origin: str | None) -> Made:
    data_dir = directory / DEV_DATA_DIR if elsewhere is None else elsewhere.absolute()
    config, private = directory / "gatebook.toml", directory / PAYLOAD_PRIVATE_KEY
    signer, verifier = note.generate_key(origin or DEV_ORIGIN)
    payload_private, payload_public = payload.generate_key_pair()
    files = {
        data_dir / LOG_KEY: (0o600, signer.encode() + b"\n"),
        data_dir / LOG_VKEY: (0o644, verifier.encode() + b"\n"),
        data_dir / PAYLOAD_PUBLIC_KEY: (0o644, payload_public),
        private: (0o600, payload_private),
        data_dir / DESK_KEY: (0o600, minting.new_key()),
        config: (0o644, text.encode()),
    }
    if there := [path for path in files if os.path.lexists(path)]:
        _refuse("nothing is overwritten, and these are there already: " + ", ".join(str(path) for path in there))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in (data_dir, data_dir / "keys"):
            make_folder(path)
        for path, (mode, content) in files.items():
            _create(path, mode, content)
            sync_folder(path.parent)
    except OSError as failure:
        _refuse(
            f"{failure.filename or directory} cannot be written: {failure.strerror}; what was written before it is still there"
        )
    return Made(
        config=str(config),
        log_key=str(data_dir / LOG_KEY),
        verifier_file=str(data_dir / LOG_VKEY),
        payload_public_key=str(data_dir / PAYLOAD_PUBLIC_KEY),
        payload_private_key=str(private),
        desk_signing_key=str(data_dir / DESK_KEY),
        verifier_key=verifier,
    )


def _create(path: Path, mode: int, content: bytes) -> None:
    """A new file with `content`, durable. Raises FileExistsError: also where somebody was faster, or a dangling link stands there."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _say(made: Made, profile: str) -> None:
    typer.echo(f"{made.config}: the configuration; every section is explained in it, and nothing is granted yet")
    typer.echo(f"{made.log_key}: the log's signing key; never leaves this machine, and has a backup all the same")
    typer.echo(f"{made.verifier_file}: its verifier key")
    typer.echo(f"{made.payload_public_key}: what recordings are encrypted to")
    typer.echo(
        f"{made.payload_private_key}: OPENS EVERY RECORDING. It belongs elsewhere: move it to where recordings are read, now"
    )
    typer.echo(
        f"{made.desk_signing_key}: signs access tokens where [desk] is configured; whoever has it can be anybody"
    )
    if profile == "dev":
        typer.echo("DEV PROFILE: http and loopback issuers are accepted. Not for cardholder data.")
    typer.echo("")
    typer.echo(
        "Keep this verifier key where whoever can reach this machine cannot change it; `gatebook verify` needs it:"
    )
    typer.echo(f"  {made.verifier_key}")
    typer.echo("Then: edit the configuration, `gatebook check`, `gatebook serve`.")


def _refuse(words: str) -> NoReturn:
    typer.echo(f"gatebook init: {visible(words)}", err=True)
    raise typer.Exit(1)
