"""Where one demonstration lives: its directory, ports and addresses, and the configuration that Gatebook is started with."""

import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gatebook.demo.people import CLIENT_ID

MARKER: Final = ".gatebook-demo"
DEFAULT_PORT: Final = 8080
DEFAULT_DESK_PORT: Final = 8081
ORIGIN: Final = "gatebook.example/demo"


class DemoError(Exception):
    """The demonstration cannot go on. The text says what happened and what to do."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Directory and ports of one demonstration. All its addresses are on 127.0.0.1."""

    directory: Path
    gate_port: int
    desk_port: int
    idp_port: int
    payments_port: int

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.gate_port}"

    @property
    def mcp_url(self) -> str:
        """The payments server as clients see it; also the audience their tokens must name."""
        return f"{self.public_url}/payments/mcp"

    @property
    def desk_url(self) -> str:
        """Where MCP clients and browsers log in."""
        return f"http://127.0.0.1:{self.desk_port}"

    @property
    def login_callback(self) -> str:
        """Where the provider sends people back to."""
        return f"{self.desk_url}/login/oidc/people/callback"

    @property
    def people_url(self) -> str:
        return f"http://127.0.0.1:{self.idp_port}/people"

    @property
    def ci_url(self) -> str:
        return f"http://127.0.0.1:{self.idp_port}/ci"

    @property
    def payments_url(self) -> str:
        """The payments server itself, behind the gate."""
        return f"http://127.0.0.1:{self.payments_port}/mcp"

    @property
    def configuration(self) -> Path:
        return self.directory / "gatebook.toml"

    @property
    def book(self) -> Path:
        """Gatebook's own data directory."""
        return self.directory / "book"

    @property
    def log(self) -> Path:
        """The sealed log: what `gatebook verify` takes."""
        return self.book / "log"

    @property
    def log_verifier(self) -> Path:
        """The log's public key, which `serve` puts there in `dev`."""
        return self.book / "log.vkey"

    @property
    def api_key_file(self) -> Path:
        return self.directory / "payments-api-key"


@contextmanager
def occupied(directory: Path, *, keep: bool) -> Iterator[Path]:
    """The directory, ours alone until the block ends: empty, or with what an earlier demonstration left where `keep`.

    Raises DemoError where it holds something else than a demonstration, or another demonstration runs there.
    """
    directory = directory.absolute()
    marker = directory / MARKER
    if directory.exists() and not marker.exists() and any(directory.iterdir()):
        raise DemoError(f"{directory} is not empty and holds no demonstration; name another with --data-dir")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with marker.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demonstration is running in {directory}; stop it or use --data-dir") from None
        if not keep:
            _empty(directory, marker)
        yield directory


def settle(directory: Path, port: int | None) -> Place:
    """A place with ports free at this moment: the gate at `port`, else at 8080 where that is free, the desk at 8081 where that is free. Raises DemoError where `port` is taken."""
    if port is not None and not _is_free(port):
        raise DemoError(f"port {port} is in use; name another with --port")
    gate_port = port or (DEFAULT_PORT if _is_free(DEFAULT_PORT) else 0)
    desk_port = DEFAULT_DESK_PORT if gate_port != DEFAULT_DESK_PORT and _is_free(DEFAULT_DESK_PORT) else 0
    with socket.socket() as first, socket.socket() as second, socket.socket() as third, socket.socket() as fourth:
        for each in (first, second, third, fourth):
            each.bind(("127.0.0.1", 0))
        return Place(
            directory=directory,
            gate_port=gate_port or third.getsockname()[1],
            desk_port=desk_port or fourth.getsockname()[1],
            idp_port=first.getsockname()[1],
            payments_port=second.getsockname()[1],
        )


def furnish(place: Place) -> None:
    """Write gatebook.toml and, where there is none yet, the payments server's API key (mode 0600)."""
    if not place.api_key_file.exists():
        descriptor = os.open(place.api_key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    place.configuration.write_text(configuration(place), "utf-8")


def configuration(place: Place) -> str:
    """The gatebook.toml of the demonstration."""
    return f"""\
# Written by `gatebook demo`, anew at each start.
profile    = "dev"                    # allows http and loopback issuers; never for production
public_url = "{place.public_url}"
listen     = ["127.0.0.1:{place.gate_port}"]
workers    = 2
data_dir   = "{place.book.name}"

[log]
origin = "{ORIGIN}"

[desk]                                # MCP clients log in here; in dev on loopback any program may register itself
listen     = ["127.0.0.1:{place.desk_port}"]
public_url = "{place.desk_url}"

[[idp]]                               # where people log in, with a browser
name      = "people"
url       = "{place.people_url}"
client_id = "{CLIENT_ID}"
mfa       = {{ amr = ["mfa"] }}

[[issuer]]                            # the same provider's own tokens, pasted as a header: for scripts
name = "people-tokens"
url  = "{place.people_url}"
kind = "person"

[[issuer]]
name = "ci"
url  = "{place.ci_url}"
kind = "job"

[[server]]
name = "payments"
url  = "{place.payments_url}"
credential = {{ header = "Authorization", value = "Bearer {{secret}}", secret = "file:{place.api_key_file.name}" }}

[[role]]
name  = "support"
match = [ {{ issuer = "people", group = "support" }}, {{ issuer = "people-tokens", group = "support" }} ]
allow = [ {{ server = "payments", tools = ["get_order", "list_orders", "get_customer"], resources = ["orders://*"], prompts = ["apology"] }} ]

[[role]]
name  = "fraud-model-ci"
match = [ {{ issuer = "ci", claims = {{ repository_id = "700100200", ref_protected = "true" }} }} ]
allow = [ {{ server = "payments", tools = ["run_model_inference"] }} ]

# Nobody holds a role with refund, export_customers or delete_customer: what no role allows is refused.
"""


def short(path: Path) -> str:
    """The path relative to where the reader stands, if it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _empty(directory: Path, marker: Path) -> None:
    for entry in directory.iterdir():
        if entry == marker:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
