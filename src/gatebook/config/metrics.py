"""`[metrics]` and `[traces]`: what their keys must be together, and what they mean."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from gatebook.config import schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.model import extras
from gatebook.model.deployment import Metrics, SecretReference, Traces


def trace_problems(read: Read, file: schema.File) -> Iterator[Problem]:
    traces = file.traces
    if traces is None:
        return
    if not _installed():
        yield error(read.where("traces"), "needs a package that is not installed", extras.how_to_add(extras.OTEL))
    if traces.token is not None and traces.token.startswith(values.LITERAL):
        yield _literal(read, file, "traces")


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False  # not even the package above it


def traces_of(
    traces: schema.Traces | None, directory: Path, reference: Callable[[str, Path], SecretReference]
) -> Traces | None:
    if traces is None:
        return None
    return Traces(
        endpoint=traces.endpoint,
        share=float(traces.share),
        ca_file=str(directory / traces.ca_file) if traces.ca_file else None,
        token=reference(traces.token, directory) if traces.token else None,
    )


def _literal(read: Read, file: schema.File, table: str) -> Problem:
    make = error if file.profile == "pci" else warning
    mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the token: it stood in a file"
    return make(read.where(table, "token"), "the token itself stands in the configuration", mend)


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    metrics = file.metrics
    if metrics is None:
        return
    unix = metrics.listen.startswith("unix:")
    if not unix and not values.is_loopback(values.host_of(metrics.listen)):
        what = "can be reached from other machines, and the numbers tell who is busy, and with which servers"
        lacking = [name for name, value in (("tls", metrics.tls), ("token", metrics.token)) if value is None]
        if lacking:
            yield error(read.where("metrics", "listen"), what, f"give {' and '.join(lacking)}, or listen on 127.0.0.1")
    if unix and metrics.tls is not None:
        yield error(read.where("metrics", "tls"), "has no effect on a socket of this machine", "remove it")
    if metrics.listen in (*(file.listen or ()), *(file.desk.listen if file.desk is not None else ())):
        yield error(read.where("metrics", "listen"), "is the address of the gate or of the desk", "choose another port")
    if metrics.token is not None and metrics.token.startswith(values.LITERAL):
        yield _literal(read, file, "metrics")


def metrics_of(
    metrics: schema.Metrics | None, directory: Path, reference: Callable[[str, Path], SecretReference]
) -> Metrics | None:
    if metrics is None:
        return None
    return Metrics(
        listen=metrics.listen,
        tls_certificate=str(directory / metrics.tls.certificate) if metrics.tls else None,
        tls_key=str(directory / metrics.tls.key) if metrics.tls else None,
        token=reference(metrics.token, directory) if metrics.token else None,
    )
