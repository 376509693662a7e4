"""`desk.database`: where the desk's memory lies, if not in data_dir. What its URL may say, and what it then means."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from gatebook.config import schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read

VERIFIED: Final = "verify-full"


def url_of(given: str, directory: Path) -> str:
    """The URL as libpq shall read it: beyond this machine with TLS and the server's name verified, by the system's authorities or by `sslrootcert`."""
    parts = urlsplit(given)
    asked = dict(parse_qsl(parts.query))
    if "sslrootcert" in asked:
        asked["sslrootcert"] = str(directory / asked["sslrootcert"])
    if _leaves(parts):
        asked = {"sslmode": VERIFIED, "sslrootcert": "system", **asked}
    return parts._replace(query=urlencode(asked, quote_via=quote)).geturl()


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    desk = file.desk
    if desk is None:
        return
    password = desk.database_password
    if password is not None and desk.database is None:
        yield error(read.where("desk", "database_password"), "has no effect without desk.database", "remove it")
    if password is not None and password.startswith(values.LITERAL):
        make = error if file.profile == "pci" else warning
        mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the secret: it stood in a file"
        yield make(read.where("desk", "database_password"), "the secret itself stands in the configuration", mend)


def _leaves(parts: SplitResult) -> bool:
    """Whether what is sent leaves this machine."""
    return bool(parts.hostname) and not values.is_loopback(parts.hostname or "")
