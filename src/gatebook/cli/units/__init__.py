"""`gatebook units`."""

import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import typer

from gatebook.cli.printing import give_up
from gatebook.cli.visible import visible

PLACES: Final = {
    "gatebook.service": "systemd/system/gatebook.service",
    "runner.conf": "systemd/system/gatebook.service.d/runner.conf",
    "sysusers.conf": "sysusers.d/gatebook.conf",
    "tmpfiles.conf": "tmpfiles.d/gatebook.conf",
    "gatebook.nft": "nftables.d/gatebook.nft",
}
"""A file of this package → where it goes under the directory that is given."""
RUNNER: Final = "runner.conf"


def units(
    directory: Path = typer.Option(
        Path("/etc"), "--directory", "-d", help="Where to write; made where it is not there."
    ),
    runner: bool = typer.Option(False, "--runner", help="Also what a deployment needs whose servers are commands."),
    force: bool = typer.Option(False, "--force", help="Write also over files that differ."),
) -> None:
    """Write the systemd unit, the list of users (sysusers.d), the folders (tmpfiles.d) and an example for nftables, for this installation.

    The unit starts this program by the name that you type: as /opt/gatebook/current/bin/gatebook whatever release `current` names then.
    The configuration is expected at /etc/gatebook/gatebook.toml, with data_dir = "/var/lib/gatebook".

    Exit codes: 0 written, 1 nothing written, and why."""
    texts = {directory / place: _text(name) for name, place in PLACES.items() if runner or name != RUNNER}
    different = [path for path, text in texts.items() if path.exists() and path.read_text("utf-8") != text]
    if different and not force:
        give_up(
            "nothing is written, for these differ: " + ", ".join(map(str, different)) + "; --force replaces them", 1
        )
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as failure:
            give_up(f"{failure.filename or path}: {failure.strerror}", 1)
        typer.echo(visible(str(path)))


def _text(name: str) -> str:
    return (
        (files(__package__ or "") / "files" / name).read_text("utf-8").replace("@GATEBOOK@", str(program(sys.argv[0])))
    )


def program(typed: str) -> Path:
    """The `gatebook` that a unit starts: as it was typed, also by way of other links, if that leads into our environment; else where that lies.
    Typed as /opt/gatebook/current/bin/gatebook it keeps `current`, so that the unit starts whatever release the link names one day."""
    folder = Path(sys.executable).parent
    path = Path(typed).absolute()
    for _ in range(40):
        if path.parent.resolve() == folder.resolve():
            return path if path.name == "gatebook" else folder / "gatebook"
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    return folder / "gatebook"
