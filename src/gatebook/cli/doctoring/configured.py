"""What `gatebook check` finds, in order of urgency and with a line to type."""

from collections.abc import Iterator

from gatebook.cli.doctoring.findings import Finding, Urgency
from gatebook.cli.doctoring.patient import Patient
from gatebook.config.check import problems
from gatebook.config.checking.probe import Probe
from gatebook.config.problem import Problem
from gatebook.config.rolled_back import NO_LOG

_NOW = ("clock", "data_dir", "log", "log.key", "log.watermark", "payloads.public_key", "desk.signing_key")
"""Errors there refuse calls or endanger the evidence."""


def configured(patient: Patient, probe: Probe) -> Iterator[Finding]:
    for problem in problems(patient.examined, probe):
        yield _finding(patient, problem)


def _finding(patient: Patient, problem: Problem) -> Finding:
    return Finding(
        urgency=_urgency(problem), where=problem.where, what=problem.what, line=_line(patient, problem) or problem.mend
    )


def _urgency(problem: Problem) -> Urgency:
    if problem.severity == "error":
        return "now" if problem.where in _NOW or "expired" in problem.what else "soon"
    return "soon" if problem.where == "data_dir" or "expires in" in problem.what else "later"


def _line(patient: Patient, problem: Problem) -> str | None:
    """None: the problem says itself what to do."""
    where, what = problem.where, problem.what
    if where == "clock":
        return "chronyc tracking"
    if where == "data_dir" and "MiB are free" in what:
        return f"df -h {patient.data_dir}"
    if where == "data_dir" and "more files can be made" in what:
        return f"df -i {patient.data_dir}"
    if where == "user":
        return f"sudo -u {patient.owner} gatebook doctor {patient.config}"
    if "ROLLED BACK: " in what:
        return f"gatebook restore {'FROM' if NO_LOG in what else '--in-place'} {patient.config}"
    for server in patient.deployment.servers:
        if where == f"server {server.name}: url" and server.url.startswith("http"):
            return f"curl -v {server.url}"
    if "UNANCHORED" in what:
        return f"cp {patient.data_dir}/log/checkpoint …  # to where nobody of this host can change it"
    return None
