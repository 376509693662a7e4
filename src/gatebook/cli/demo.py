"""`gatebook demo`."""

from pathlib import Path

import typer

from gatebook.demo import start


def demo(
    tour: bool = typer.Option(False, "--tour", help="Play a checked story in less than a minute, then stop."),
    port: int | None = typer.Option(
        None, "--port", min=1, max=65535, help="The gate's port. Default: 8080, or a free one."
    ),
    data_dir: Path = typer.Option(
        Path("demo-data"), "--data-dir", help="Where everything lies; emptied at each start, unless --keep."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="Say what is there, or how the tour went, as one JSON document."
    ),
    keep: bool = typer.Option(False, "--keep", help="Go on with the book that an earlier demonstration left."),
) -> None:
    """Start a payments MCP server, two identity providers and Gatebook between them; say how to use them; run until Ctrl-C.

    Exit codes: 0 stopped as told, or every step of the tour held; 1 something died, or a step did not hold (it says which).
    """
    options = start.Options(directory=data_dir, port=port, tour=tour, as_json=as_json, keep=keep)
    raise typer.Exit(start.run(options))
