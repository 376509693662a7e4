"""The book as the commands read it: found through the configuration, read from sealed files, and no reading unrecorded."""

import os
import pwd
from pathlib import Path
from typing import Final

import msgspec
import typer

from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.adapters.log_files import LogFiles
from gatebook.config import examine
from gatebook.ledger import payload, reading
from gatebook.ledger.note import NoteError
from gatebook.masking import mask_text
from gatebook.model.deployment import Deployment
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Origin, Resource, Who
from gatebook.reading import book as reading_book
from gatebook.reading.playback import Opener

WRITER: Final = "cli"

CONFIG: Final = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file.")
DATA_DIR: Final = typer.Option(
    None,
    "--data-dir",
    readable=False,  # who may not read it is told so below, by name, and not by the parser of options
    help="The data directory itself. Default: the configuration's.",
)
PAYLOAD_KEY: Final = typer.Option(
    None,
    "--payload-key",
    help="The private payload key, to open recordings. Default: keys/payloads.key in the data directory (dev).",
)
AS_JSON: Final = typer.Option(False, "--json", help="For programs.")


_UNCONFIGURED: Final = Deployment(
    profile="pci", public_url="", listen=(), workers=0, data_dir="", origin="", log_key="", payload_public_key=""
)


class BookClosed(Exception):
    """The book cannot be read, or the reading cannot be recorded. The text says who, what, and how to mend it."""


UNREADABLE: Final = (BookClosed, ValueError, OSError)
"""What a reading command may meet: a closed book, a condition that makes no sense, a damaged log."""


def words(error: Exception) -> str:
    """Why, for the operator."""
    if isinstance(error, OSError):
        return f"the log cannot be read: {error}; `gatebook verify` says what is wrong with it"
    return str(error)


class Book(reading_book.Book, frozen=True, kw_only=True):
    """A deployment's book, in its data directory."""

    deployment: Deployment
    directory: Path


def open_book(config: Path, data_dir: Path | None) -> Book:
    """The book of the deployment in `config`, or in `data_dir` where that is given. Raises BookClosed."""
    deployment = _deployment(config, data_dir)
    directory = Path(deployment.data_dir)
    log = LogFiles(directory / "log")
    try:
        head = reading.head(log)
    except FileNotFoundError:
        raise BookClosed(_nothing_there(directory)) from None
    except PermissionError as error:
        raise BookClosed(_forbidden("read", error.filename or directory)) from error
    except (OSError, NoteError) as error:
        raise BookClosed(f"{directory / 'log' / 'checkpoint'} cannot be read: {error}") from error
    # Without a configuration the origin is what the log says of itself; it is only copied, never trusted.
    known = deployment if deployment.origin else msgspec.structs.replace(deployment, origin=head.origin)
    return Book(deployment=known, directory=directory, log=log, payloads=LogFiles(directory / "payloads"), head=head)


def recordings(book: Book, payload_key: Path | None) -> tuple[Opener, str | None]:
    """How to open recorded bodies, and None; or one that opens nothing, and the reason in words."""
    path = payload_key or book.directory / "keys" / "payloads.key"
    try:
        private = payload.load_private_key(path.read_text("utf-8"))
    except FileNotFoundError:
        return _nothing, f"no private payload key at {path}: give one with --payload-key to see what was recorded"
    except PermissionError:
        return _nothing, _forbidden("read", path)
    except (OSError, ValueError) as error:
        raise BookClosed(f"{path} is no private payload key: {error}") from error
    return reading.opener(book.payloads, private), None


def record_reading(book: Book, draft: Draft) -> None:
    """The reading is durable in this command's own segment; the sealer takes it from there, at its next start if none runs. Raises BookClosed."""
    try:
        hand = SegmentHand(book.deployment, WRITER, SystemClock())
        hand.write(draft)
        hand.close()
    except (LedgerUnavailable, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, PermissionError):
            raise BookClosed(_forbidden("write", cause.filename or book.directory)) from error
        raise BookClosed(f"the reading cannot be recorded, so nothing is shown: {error}") from error


def log_read(command: str, found: int, asked: dict[str, str]) -> Draft:
    """That the log was searched, by whom and for what. Card numbers in what was asked are masked, like everywhere."""
    return _draft("log.read", Resource(kind="log", method=command), found, asked)


def recording_read(session: str, found: int, asked: dict[str, str]) -> Draft:
    """That a session's recording was opened. Whatever was given as its id: a card number in it is masked."""
    return _draft(
        "recording.read", Resource(kind="recording", method="replay", name=mask_text(session)[0]), found, asked
    )


def operator() -> Who:
    """Who types, as the operating system says: declared, not proven. Behind sudo, the person who typed it."""
    return Who(kind="operator", iss="os", sub=f"os:{user_name()}", declared=True)


AS_WHOM = "run this as the user that the deployment runs as; as root where [users] gives each room its own"


def user_name() -> str:
    """SUDO_USER, else the name of our user id, else its number."""
    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _draft(event: str, resource: Resource, found: int, asked: dict[str, str]) -> Draft:
    detail: dict[str, str | int | bool] = {name: mask_text(value)[0] for name, value in asked.items()}
    return Draft(
        event="recording.read" if event == "recording.read" else "log.read",
        ok=True,
        reason="completed",
        who=operator(),
        origin=Origin(ip="local", client="gatebook cli"),
        resource=resource,
        detail={**detail, "found": found},
    )


def _deployment(config: Path, data_dir: Path | None) -> Deployment:
    # Reading must not depend on a configuration that is right in every point: an incident is when it is not.
    examined = examine(config)
    if data_dir is None and examined.deployment is None:
        words = "\n".join(str(problem) for problem in examined.problems)
        raise BookClosed(f"{words}\nor name the data directory itself with --data-dir")
    deployment = examined.deployment or _UNCONFIGURED
    return deployment if data_dir is None else msgspec.structs.replace(deployment, data_dir=str(data_dir.absolute()))


def _nothing_there(directory: Path) -> str:
    if not directory.exists():
        return f"there is no data directory {directory}; correct data_dir, or start `gatebook serve` first"
    return f"no checkpoint in {directory / 'log'}: nothing was sealed there yet"


def _forbidden(verb: str, path: object) -> str:
    return f"user {user_name()} may not {verb} {path}: {AS_WHOM}"


def _nothing(_entry: object, _pay: object) -> reading.Opened:
    return reading.Opened(None)
