"""A PostgreSQL of the tests' own: Debian's programs, a new cluster in a temporary folder, on a Unix socket and nowhere else."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tests.e2e.gate import free_port

INSTALL = "apt-get install postgresql"
WITH_PASSWORD, PASSWORD = "gatebook_with_password", "a-test-database-password"
_MADE = itertools.count(1)


def programs() -> Path | None:
    """The folder of the newest `postgres` that Debian has installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Cluster:
    """A running server. `gatebook` is let in without a password, WITH_PASSWORD with PASSWORD alone."""

    def __init__(self, folder: Path, postgres: list[str], *, tls: bool) -> None:
        self.folder = folder
        self.port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1" if tls else "",
            "ssl": "on" if tls else "off",
            "port": str(self.port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "max_connections": "100",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._command = [*postgres, "-D", str(folder / "data"), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It answers."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        self._process = process
        for _ in range(300):
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres", "postgres")).close()
                return
            assert process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.1)
        self.stop()
        raise AssertionError("PostgreSQL did not come up")

    def stop(self) -> None:
        """It is gone, as by a crash: it waits for no client and writes nothing more. What was committed is there at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def url(self, database: str, user: str = "gatebook") -> str:
        return f"postgresql://{user}@:{self.port}/{database}?host={quote(str(self.folder), safe='')}"

    def database(self, owner: str = "gatebook") -> str:
        """The name of a new, empty database of this owner."""
        name = f"test_{next(_MADE)}"
        self.run(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )
        return name

    def run(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def cluster(tls: tuple[Path, Path] | None = None) -> Iterator[Cluster]:
    """Running until the block ends. `tls`: certificate and key; then it also listens on 127.0.0.1, and there wants TLS and passwords. Skips where Debian's package is not installed. Nothing is flushed to disk: a power loss is not what is tested."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip(f"PostgreSQL is not installed: {INSTALL}")
    # Not pytest's folder: the path of a socket has at most 107 bytes, and the unprivileged user must get there.
    folder = Path(tempfile.mkdtemp(prefix="gatebook-pg-"))
    unprivileged: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        folder.chmod(0o711)
        unprivileged = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    try:
        initdb = [str(bin_ / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(
            [*unprivileged, *initdb, "-E", "UTF8", "--locale=C"], check=True, capture_output=True, cwd=folder
        )
        (folder / "data" / "pg_hba.conf").write_text(
            f"local all {WITH_PASSWORD} scram-sha-256\nlocal all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        for path, source in zip(("server.crt", "server.key"), tls or (), strict=False):
            (folder / "data" / path).write_bytes(source.read_bytes())
            (folder / "data" / path).chmod(0o600)
            shutil.chown(folder / "data" / path, folder.stat().st_uid, folder.stat().st_gid)
        made = Cluster(folder, [*unprivileged, str(bin_ / "postgres")], tls=tls is not None)
        made.start()
        try:
            made.run(sql.SQL("CREATE ROLE gatebook LOGIN"))
            made.run(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(WITH_PASSWORD), sql.Literal(PASSWORD))
            )
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder)
