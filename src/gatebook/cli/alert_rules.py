"""`gatebook alert-rules`."""

from importlib.resources import files

import typer

_RUNBOOKS = "runbooks.md"


def alert_rules(
    runbooks: str = typer.Option(
        _RUNBOOKS,
        "--runbooks",
        metavar="URL",
        help="Where your people find docs/howto/runbooks.md; stands before each #section.",
    ),
) -> None:
    """Print alert rules for Prometheus, over the metrics that `[metrics]` shows. `promtool check rules` accepts them.

    Write them where Prometheus finds its rule files, and look at them again after an upgrade.
    """
    typer.echo(rules().replace(f"runbook: {_RUNBOOKS}#", f"runbook: {runbooks}#"), nl=False)


def rules() -> str:
    return files("gatebook.serve.metering").joinpath("alerts.yml").read_text(encoding="utf-8")
