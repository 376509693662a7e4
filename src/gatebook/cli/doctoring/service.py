"""What runs: the supervisor, the sealer, the workers behind each address, the desk."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatebook.cli.doctoring.findings import Finding, now
from gatebook.cli.doctoring.patient import Patient
from gatebook.locks import held
from gatebook.model.deployment import RESTORING, Deployment

ANSWER_S: Final = 3.0
_JOURNAL: Final = "journalctl -u gatebook -n 50"


def service(patient: Patient) -> Iterator[Finding]:
    """What keeps it from serving, if anything does."""
    if patient.visible:
        if not held(patient.data_dir / "lock"):
            yield from _stopped(patient)
            return
        if not _worked_on(patient.data_dir / "log"):
            yield now(
                "sealer",
                "no sealer works: what is recorded is not signed, and after a minute calls are refused",
                _JOURNAL,
            )
    for address in patient.deployment.listen:
        yield from _worker(patient.deployment, address)
    if patient.deployment.desk is not None:
        for address in patient.deployment.desk.listen:
            if (why := _unanswered(address)) is not None:
                yield now("desk", f"nobody can log in: {address}: {why}", _JOURNAL)


def _worked_on(log: Path) -> bool:
    """Whether a sealer works. Also where its lock is another user's: what cannot be seen is no finding, and `evidence` says that it was not seen."""
    try:
        return held(log / ".lock")
    except PermissionError:
        return True


def _stopped(patient: Patient) -> Iterator[Finding]:
    if (patient.data_dir / RESTORING).exists():
        return  # `check` says what is to be done first
    line = "systemctl start gatebook" if Path("/run/systemd/system").exists() else f"gatebook serve {patient.config}"
    yield now("service", "the gate does not run: every call is lost, and no log is kept", line)


def _worker(deployment: Deployment, address: str) -> Iterator[Finding]:
    """Each worker of this address is asked often enough that all of several are met, most likely."""
    answers: set[int | str] = set()
    for _ in range(2 * deployment.workers + 1):
        answers.add(_ready(deployment, address))
    for answer in answers - {200}:
        if answer == 503:
            what = f"{address}: a worker is not ready and refuses everything: no segment, no sealer, no space, or not active yet"
            yield now("gate", what, _JOURNAL)
        else:
            yield now("gate", f"{address}: {answer}", _JOURNAL)


def _ready(deployment: Deployment, address: str) -> int | str:
    """The status of /readyz, or why there is none. Its certificate is not our matter here: `check` looks at it."""
    connection = http.client.HTTPConnection("localhost", timeout=ANSWER_S)
    try:
        connection.sock = _connected(address)
        if deployment.tls_certificate is not None:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection.sock = context.wrap_socket(connection.sock)
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as failure:
        return f"no answer ({_words(failure)})"
    finally:
        connection.close()


def _unanswered(address: str) -> str | None:
    try:
        with contextlib.closing(_connected(address)):
            return None
    except OSError as failure:
        return _words(failure)


def _connected(address: str) -> socket.socket:
    """A connection to where a listener of ours is, as the configuration writes it. Raises OSError."""
    if address.startswith("unix:"):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(ANSWER_S)
        try:
            made.connect(address.removeprefix("unix:"))
        except OSError:
            made.close()
            raise
        return made
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    return socket.create_connection((host, int(port)), timeout=ANSWER_S)


def _words(failure: Exception) -> str:
    return (failure.strerror if isinstance(failure, OSError) else None) or type(failure).__name__
