"""`gatebook formats`."""

import json
from pathlib import Path

import typer
from rich.table import Table

from gatebook import __version__
from gatebook import formats as durable
from gatebook.cli import printing
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.model.errors import ConfigurationError


def formats(
    config: Path = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file."),
    as_json: bool = typer.Option(False, "--json", help="Print them as JSON."),
) -> None:
    """Tell which formats this release writes, and whether it can read what lies in the data directory. Changes nothing.

    Before a downgrade, ask the older release. Exit codes: 0 it can, 1 something there is newer, or the configuration does not say where."""
    # What takes over from a gate that runs is asked this first: so it is also seen that the program which would do so can be loaded.
    from gatebook.serve import supervisor as _loaded  # noqa: F401
    from gatebook.serve.control import VERSION

    deployment = examine(config).deployment
    lying = None
    problems: tuple[str, ...] = (f"{config}: run `gatebook check`; it does not say where the data are",)
    if deployment is not None:
        try:
            lying, problems = durable.lying(Path(deployment.data_dir)), durable.newer(Path(deployment.data_dir))
        except ConfigurationError as failure:
            problems = failure.problems
    there = {} if lying is None else lying.formats
    told = {
        "release": __version__,
        "control": VERSION,
        "formats": {name: {"version": each.version, "files": each.files} for name, each in durable.KNOWN.items()},
        "data_dir": None if deployment is None else {"release": lying and lying.release, "formats": there},
        "problems": list(problems),
    }
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=True))
    else:
        _print(there, problems)
    if problems:
        raise typer.Exit(1)


def _print(there: dict[str, int], problems: tuple[str, ...]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("format", f"release {__version__}", "data_dir", "files"):
        table.add_column(title, overflow="fold")
    for name in sorted({*durable.KNOWN, *there}):
        known = durable.KNOWN.get(name)
        ours, files = (str(known.version), known.files) if known is not None else ("unknown", "")
        table.add_row(visible(name), ours, str(there.get(name, "")), files)
    printing.print_table(table)
    for problem in problems:
        typer.echo(f"error: {visible(problem)}")
