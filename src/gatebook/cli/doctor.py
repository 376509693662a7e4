"""`gatebook doctor`."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.check import probe_for
from gatebook.cli.doctoring.configured import configured
from gatebook.cli.doctoring.evidence import evidence
from gatebook.cli.doctoring.findings import Finding, in_order, later, now
from gatebook.cli.doctoring.patient import Patient
from gatebook.cli.doctoring.service import service
from gatebook.cli.doctoring.speed import speed
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.config.checking.probe import Probe
from gatebook.speed import looker, reader, speed_up

WELL, ILL, CANNOT_LOOK = 0, 1, 2
_COLOURS = {"now": "bold red", "soon": "yellow", "later": "dim"}


def doctor(
    config: Path = book.CONFIG,
    as_json: bool = typer.Option(False, "--json", help="Print the findings as JSON."),
    offline: bool = typer.Option(False, "--offline", help="Connect to no server and no issuer, only to this gate."),
) -> None:
    """Tell what is wrong with a deployment, running or not, the most urgent first, each with the line to type. Changes nothing.

    Looks at the service, the newest part of the log (its signature, its tiles, what was refused lately), keys, disk, clock, certificates, servers
    and the configuration, also whether the file is the one that is active. As another user it says what it cannot see.

    Exit codes: 0 nothing for now or soon, 1 something is, 2 there is no configuration to go by.
    """
    examined = examine(config)
    if examined.deployment is None:
        printing.give_up("\n".join(str(problem) for problem in examined.problems), CANNOT_LOOK)
    patient = Patient(examined=examined, deployment=examined.deployment, now_s=time.time())
    found = in_order([*_looked(patient, probe_for(config, offline=offline))])
    if as_json:
        typer.echo(json.dumps([msgspec.to_builtins(finding) for finding in found], indent=2))
    else:
        _print(found)
    if any(finding.urgency != "later" for finding in found):
        raise typer.Exit(ILL)


def _looked(patient: Patient, probe: Probe) -> Iterator[Finding]:
    yield from service(patient)
    native = speed_up()
    unasked = not getattr(native.module, "PREFILTERS", False)
    yield from speed(native, reads=reader() is not None, looks=unasked or looker() is not None)
    if patient.data_dir.exists() and not patient.visible:
        line = f"sudo -u {patient.owner} gatebook doctor {patient.config}"
        what = f"as {book.user_name()} nothing in {patient.data_dir} can be seen: log, keys, sealer, disk and roll-backs were not looked at"
        yield now("user", what, line)
        yield from (later(problem.where, problem.what, problem.mend) for problem in patient.examined.problems)
        return
    try:
        yield from evidence(patient)
        yield from configured(patient, probe)
    except PermissionError as failure:
        line = f"sudo -u {patient.owner} gatebook doctor {patient.config}"
        yield now(
            "user",
            f"as {book.user_name()} {failure.filename} cannot be seen, and what comes after it was not looked at",
            line,
        )


def _print(found: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in found:
        head = (f"{finding.urgency:<6}", _COLOURS[finding.urgency])
        console.print(Text.assemble(head, f"{visible(finding.where)}: {visible(finding.what)}"))
        console.print(Text(f"      → {visible(finding.line)}"))
    counts = ", ".join(f"{sum(f.urgency == word for f in found)} {word}" for word in _COLOURS)
    console.print(counts)
