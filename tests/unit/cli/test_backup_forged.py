"""A backup that somebody else could write into, with a manifest that fits: nothing of it acts, and nothing is signed or believed that no backup holds."""

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatebook.adapters.desk_store import SqlStore
from gatebook.cli.backing import restoring
from gatebook.federation.records import Grant, LoggedIn, Login, Person, Turn, hashed
from gatebook.model.errors import ConfigurationError
from gatebook.serve.layout import give_whole
from gatebook.serve.premises import locked
from tests.unit.cli.by_commands import Deployed
from tests.unit.cli.test_backup import DESK

pytestmark = pytest.mark.slow


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    made = Deployed(tmp_path / "gate", more=DESK)
    made.write(1, 2, 3)
    with closing(SqlStore.in_folder(made.data_dir / "desk")):
        return made


def forge(folder: Path, files: dict[str, bytes], *, private_keys: bool = False) -> None:
    """These files are in the backup too, and the manifest says so: it is signed by nobody."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["private_keys"] = private_keys or manifest["private_keys"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "name",
    ["segments/gate-0-000000000001-000001.seg", "sealer/state", "sealer/memory", "run/sessions.map", "desk/desk.db-wal",
     "lock", ".restoring/former", "keys/session.key", "anything"],
)  # fmt: skip
def test_what_no_backup_holds_is_not_put_back(deployed: Deployed, name: str) -> None:
    """A segment would be taken and signed by the log that goes on; a known key of sessions opens them."""
    forge(Path(deployed.backup()["folder"]), {name: b"mine"})
    shutil.rmtree(deployed.data_dir)
    assert f"names {name}, which no backup holds" in deployed.restore(code=1)["why"]
    assert not deployed.data_dir.exists()


@pytest.mark.parametrize("name", ["keys/log.skey", "keys/payloads.key", "keys/log.skey.retired-1", "keys/a/b"])
def test_keys_that_are_in_no_backup_are_not_put_back_with_those_that_may_be(deployed: Deployed, name: str) -> None:
    forge(Path(deployed.backup("--with-private-keys")["folder"]), {name: b"mine"})
    shutil.rmtree(deployed.data_dir)
    assert f"names {name}, which no backup holds" in deployed.restore("--with-private-keys", code=1)["why"]


def test_private_keys_of_a_backup_are_put_back_only_where_that_is_asked_for(deployed: Deployed) -> None:
    planted = {"keys/session.key": bytes(32), "keys/refresh.key": bytes(32)}
    forge(Path(deployed.backup()["folder"]), planted, private_keys=True)
    keys = deployed.data_dir / "keys"
    shutil.rmtree(deployed.data_dir)
    deployed.restore()
    assert not [name for name in planted if (deployed.data_dir / name).exists()]
    shutil.rmtree(deployed.data_dir)
    deployed.restore("--with-private-keys")
    assert (keys / "refresh.key").read_bytes() == bytes(32)


TRIGGER = "CREATE TRIGGER t AFTER UPDATE ON grants BEGIN UPDATE grants SET revoked_at = NULL, expires_at = 4e9 WHERE sid = NEW.sid; END"
ANOTHER = "CREATE TRIGGER t AFTER INSERT ON logins BEGIN UPDATE logins SET subject = 'alice' WHERE id = NEW.id; END"


@pytest.mark.parametrize(
    ("statement", "what"),
    [(TRIGGER, "trigger"), (ANOTHER, "trigger"), ("CREATE VIEW v AS SELECT 1", "view"),
     ("ALTER TABLE grants ADD COLUMN g TEXT GENERATED ALWAYS AS (sid)", "generated column")],
)  # fmt: skip
def test_a_database_that_acts_is_not_put_back(deployed: Deployed, statement: str, what: str) -> None:
    """By a trigger a grant that was revoked after the backup lived on, and whoever logged in was somebody else."""
    person = LoggedIn(person=Person(issuer="https://idp.example", subject="mallory"), idp="corp")
    login = Login(id="1" * 32, seen=person, browser_hash=hashed("b"), created_at=1.0, expires_at=4e9)
    grant = Grant(
        sid="a" * 32, login_id=login.id, client_id="c", client_name="C", server="payments", resource="r", scope="s",
        created_at=1.0, expires_at=4e9,
    )  # fmt: skip
    with closing(SqlStore.in_folder(deployed.data_dir / "desk")) as store:
        assert store.open_grant(login, grant, Turn(sid=grant.sid, number=0, token_hash=hashed("t")))
    folder = Path(deployed.backup()["folder"])
    database = folder / "desk" / "desk.db"
    with closing(sqlite3.connect(database)) as here, here:
        here.execute(statement)
    forge(folder, {"desk/desk.db": database.read_bytes()})
    shutil.rmtree(deployed.data_dir)
    assert f"holds a {what}" in deployed.restore(code=1)["why"]
    assert not deployed.data_dir.exists()


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_is_no_plain_file_is_neither_waited_for_nor_followed(
    deployed: Deployed, kind: str, tmp_path: Path
) -> None:
    folder = Path(deployed.backup()["folder"])
    vkey = folder / "log.vkey"
    vkey.rename(tmp_path / "elsewhere")
    if kind == "fifo":
        os.mkfifo(vkey)
    else:
        vkey.symlink_to(tmp_path / "elsewhere")
    shutil.rmtree(deployed.data_dir)
    assert "log.vkey: " in deployed.restore(code=1)["why"]


@pytest.mark.parametrize("name", ["payloads/00/pipe.pay", "log/configs/pipe.toml"])
def test_a_backup_waits_for_no_pipe_that_a_room_left(deployed: Deployed, name: str) -> None:
    pipe = deployed.data_dir / name
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    assert "is no regular file" in deployed.backup(code=1)["why"]


# Root restores into the folder of another user, who is at work there


OWNER = 61000
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root restores into the folder of another user")


def of_another_user(deployed: Deployed) -> None:
    shutil.rmtree(deployed.data_dir)
    deployed.data_dir.mkdir(mode=0o750)
    os.chown(deployed.data_dir, OWNER, OWNER)


@as_root
def test_nobody_else_gets_in_while_root_restores_and_all_is_the_owners_afterwards(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.backup()
    of_another_user(deployed)
    seen: list[tuple[int, int]] = []
    record = restoring.record

    def look(*arguments: Any) -> None:
        status = deployed.data_dir.stat()
        seen.append((status.st_uid, status.st_mode & 0o777))
        record(*arguments)

    monkeypatch.setattr(restoring, "record", look)
    deployed.restore()
    assert seen == [(0, 0o700)]
    assert {path.lstat().st_uid for path in (deployed.data_dir, *deployed.data_dir.rglob("*"))} == {OWNER}
    assert deployed.data_dir.stat().st_mode & 0o777 == 0o750


@as_root
def test_a_restore_that_was_broken_off_leaves_the_folder_its_owners(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.backup()
    of_another_user(deployed)
    monkeypatch.setattr(restoring, "begin_new_log", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deployed.restore()
    status = deployed.data_dir.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (OWNER, 0o750)


@as_root
def test_what_is_given_away_is_what_was_looked_at(tmp_path: Path) -> None:
    """The user exchanges a folder of his for a link to root's, ever again: by its path, root gave away what lies behind the link."""
    victim, own = tmp_path / "etc", tmp_path / "data" / "log"
    for folder in (victim, own):
        folder.mkdir(parents=True)
        for number in range(60):
            (folder / str(number)).write_text("x")
    link = own.with_name("link")
    link.symlink_to(victim)
    here = os.open(own.parent, os.O_RDONLY)
    libc = ctypes.CDLL(None)
    over = threading.Event()

    def exchange() -> None:
        while not over.is_set():
            libc.renameat2(here, b"log", here, b"link", 2)  # RENAME_EXCHANGE

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                give_whole(here, OWNER, OWNER)
    finally:
        over.set()
        attacker.join()
        os.close(here)
    assert {path.stat().st_uid for path in (victim, *victim.iterdir())} == {0}


@as_root
def test_a_second_name_of_roots_is_not_given_away(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").hardlink_to(secret)
    here = os.open(tmp_path / "data", os.O_RDONLY)
    with pytest.raises(OSError, match="another name"):
        give_whole(here, OWNER, OWNER)
    os.close(here)
    assert secret.stat().st_uid == 0


def test_a_link_in_the_place_of_the_lock_makes_no_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "nologin")
    with pytest.raises(ConfigurationError, match="data_dir"), locked(tmp_path):
        pass
    assert not (tmp_path / "nologin").exists()


# The desk was taken over, and root backs it up, or restores over it


@pytest.fixture
def open_deployed() -> Iterator[Deployed]:
    """Where other users get in, and the desk's folder is the desk's."""
    folder = Path(tempfile.mkdtemp(prefix="gatebook-desk-"))
    try:
        folder.chmod(0o755)
        made = Deployed(folder / "gate", more=DESK)
        made.write(1)
        with closing(SqlStore.in_folder(made.data_dir / "desk")):
            pass
        for place in (made.folder, made.data_dir):
            place.chmod(0o711)
        for path in (made.data_dir / "desk", *(made.data_dir / "desk").iterdir()):
            os.chown(path, OWNER, OWNER)
        yield made
    finally:
        shutil.rmtree(folder)


@as_root
def test_a_desk_of_another_user_is_backed_up_whole(open_deployed: Deployed) -> None:
    folder = Path(open_deployed.backup()["folder"])
    with closing(sqlite3.connect(folder / "desk" / "desk.db")) as copy:
        assert ("grants",) in copy.execute("SELECT name FROM sqlite_schema").fetchall()
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert [path.name for path in (folder / "desk").iterdir()] == ["desk.db"]
    shutil.rmtree(open_deployed.data_dir)
    open_deployed.restore()


@as_root
@pytest.mark.parametrize("name", ["desk.db-wal", "desk.db-journal", "desk.db-shm"])
def test_no_key_is_given_to_a_desk_that_makes_its_databases_files_second_names_of_it(
    open_deployed: Deployed, name: str
) -> None:
    """Opened by root, SQLite gave log.skey to the desk's user."""
    key = Path(open_deployed.deployment.log_key)
    (open_deployed.data_dir / "desk" / name).hardlink_to(key)
    before = key.read_bytes()
    open_deployed.type("backup", str(open_deployed.to), "-c", str(open_deployed.config), code=None)
    assert key.stat().st_uid == 0 and key.read_bytes() == before
    assert "has another name" in open_deployed.restore("--in-place", code=1)["why"]
    assert open_deployed.data_dir.joinpath("desk", name).stat().st_uid == 0
