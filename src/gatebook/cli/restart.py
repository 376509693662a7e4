"""`gatebook restart`."""

from pathlib import Path

import typer

from gatebook.cli import ordering

CONFIG = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file of the gate that runs.")
AS_JSON = typer.Option(False, "--json", help="Print what happens as JSON, one line each.")


def restart(config: Path = CONFIG, as_json: bool = AS_JSON) -> None:
    """Replace every process of the gate that runs, one after the other, and lose no call: the supervisor under its process id, then sealer,
    workers and desk. A worker that was replaced goes when everybody connected to it has had an answer more, or was idle for limits.idle_s.

    The configuration is read again, and checked before: all of it may change but listen, workers, data_dir, users, log.origin and log.key.

    Exit codes: 0 replaced, 1 not, or not all, and why; 2 no gate runs, or it cannot be asked."""
    ordering.give(config, None, as_json=as_json)
