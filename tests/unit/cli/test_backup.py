"""`gatebook backup` and `gatebook restore`: what is in a backup, what is refused, and which log goes on."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatebook.adapters.desk_store import SqlStore
from gatebook.adapters.log_files import LogFiles
from gatebook.cli.backing import copied, copying, restoring
from gatebook.cli.backing.manifest import BackupUnusable, faults, read
from gatebook.cli.backing.naming import next_origin, renamed
from gatebook.cli.book import user_name
from gatebook.federation.minting import Minter, verifies
from gatebook.federation.records import Grant, LoggedIn, Login, Person, Turn, hashed
from gatebook.ledger import note, payload_frames, reading
from gatebook.ledger.entry import Entry
from gatebook.ledger.verification import Report, verify
from gatebook.model.errors import ConfigurationError
from gatebook.model.record import Payload
from gatebook.serve.keys import publish_desk_keys
from gatebook.serve.premises import require_restored
from gatebook.serve.sealing_ports import SealingRefused
from tests.unit.cli.by_commands import Deployed
from tests.world_ledger import a_draft, a_sealed_log, seal_once, write_and_seal

pytestmark = pytest.mark.slow


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    made = Deployed(tmp_path / "gate")
    made.write(1, 2, 3)
    return made


def test_each_backup_is_whole_and_links_what_the_one_before_it_holds(deployed: Deployed) -> None:
    a_sealed_log(deployed.place)
    first = deployed.backup()
    deployed.write(*range(300, 600))
    second = deployed.backup()
    assert first["linked"] == 0 < second["linked"]
    assert second["size"] > first["size"] + 300
    for made in (first, second):
        folder = Path(made["folder"])
        deployed.intact(folder, payload_key=deployed.place.payload_key)
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert {"manifest.json", "gatebook.toml", "log.vkey", "payloads.pub", "log/checkpoint"} <= there
        assert not any(name.startswith(("keys", "segments", "sealer", "run")) for name in there)
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    bundle = "log/tile/entries/000"
    checkpoints = sorted((Path(first["folder"]) / "log/checkpoints").iterdir())
    assert checkpoints
    for name in (bundle, *(f"log/checkpoints/{path.name}" for path in checkpoints)):
        assert (Path(first["folder"]) / name).stat().st_ino == (Path(second["folder"]) / name).stat().st_ino, name


def test_that_it_began_and_how_it_ended_are_entries_with_their_author(deployed: Deployed) -> None:
    made = deployed.backup()
    seal_once(deployed.place)
    begun, completed = deployed.entries("log.backup")
    assert (begun.out.reason, completed.out.reason) == ("begun", "completed")
    assert completed.x["manifest"] == made["manifest_sha256"] and completed.x["root"] == made["root"]
    assert begun.who.sub == completed.who.sub and begun.who.declared
    assert begun.x["to"] == str(deployed.to)


def test_private_keys_come_along_only_when_asked_for_and_the_logs_never(deployed: Deployed) -> None:
    keys = deployed.data_dir / "keys"
    for name in ("session.key", "refresh.key", "payloads.key", "log.skey.retired-x"):
        (keys / name).write_bytes(bytes(32))
    folder = Path(deployed.backup("--with-private-keys")["folder"])
    assert {path.name for path in (folder / "keys").iterdir()} == {"session.key", "refresh.key", "desk-signing.jwk"}


def test_a_backup_inside_the_data_directory_is_none(deployed: Deployed) -> None:
    deployed.to = deployed.data_dir / "backups"
    assert "belongs on another disk" in deployed.backup(code=1)["why"]
    assert not deployed.to.exists()


def test_a_folder_that_is_no_folder_is_said_to_be_none(deployed: Deployed) -> None:
    deployed.to.write_text("x")
    assert f"{deployed.to} is no folder" in deployed.backup(code=1)["why"]


def test_where_no_deployment_is_none_is_begun(deployed: Deployed) -> None:
    """Its disk is not mounted, or data_dir is mistyped: an entry that a backup began would be the first of another log."""
    deployed.data_dir.rename(deployed.folder / "elsewhere")
    assert "mount its disk" in deployed.backup(code=1)["why"]
    assert not deployed.data_dir.exists() and not deployed.to.exists()


def failing(number: int) -> Callable[..., Any]:
    def fail(*words: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_is_named_and_what_was_begun_takes_no_room(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying.LogFiles, "_put", failing(errno.ENOSPC))
    why = deployed.backup(code=1)["why"]
    assert why.startswith(f"{deployed.to}/.partial-") and "No space left on device: make room there" in why
    assert [each.name for each in deployed.to.iterdir()] == [".lock"]


def test_a_recording_that_the_disk_does_not_give_back_is_named(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    [recording, *_] = sorted((deployed.data_dir / "payloads").rglob("*.pay"))
    monkeypatch.setattr(copied, "_end_of_sound", failing(errno.EIO))
    assert deployed.backup(code=1)["why"].startswith(f"{recording}: Input/output error: this disk fails")


def test_a_bundle_that_is_gone_is_named(deployed: Deployed) -> None:
    shutil.rmtree(deployed.data_dir / "log/tile/entries")
    why = deployed.backup(code=1)["why"]
    assert "log/tile/entries/000 is gone: the log is broken" in why and f"verify {deployed.data_dir}" in why


def test_a_full_disk_is_named_by_a_restore_too(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.backup()
    shutil.rmtree(deployed.data_dir)
    monkeypatch.setattr(restoring.LogFiles, "write_once", failing(errno.ENOSPC))
    why = deployed.restore(code=1)["why"]
    assert why.startswith(f"{deployed.data_dir}/.restoring/whole: No space left on device: make room there")
    monkeypatch.undo()
    assert "empty it" in deployed.restore(code=1)["why"]


def test_what_a_sealer_was_just_writing_is_not_in_the_copy(deployed: Deployed) -> None:
    [recording, *_] = sorted((deployed.data_dir / "payloads").rglob("*.pay"))
    whole = recording.read_bytes()
    recording.write_bytes(whole + whole[:40])
    folder = Path(deployed.backup()["folder"])
    assert (folder / recording.relative_to(deployed.data_dir)).read_bytes() == whole


def test_what_a_power_loss_left_behind_a_recording_is_not_in_the_copy(deployed: Deployed) -> None:
    """No entry names it: the log is whole without it."""
    [recording, *_] = sorted((deployed.data_dir / "payloads").rglob("*.pay"))
    whole = recording.read_bytes()
    recording.write_bytes(whole + b"\xff" * 500)
    folder = Path(deployed.backup()["folder"])
    assert (folder / recording.relative_to(deployed.data_dir)).read_bytes() == whole


@pytest.mark.parametrize("where", ["in its middle", "in its last frame", "throughout", "twice"])
@pytest.mark.parametrize("large", [False, True])
def test_a_damaged_recording_is_copied_to_its_last_byte_and_told(deployed: Deployed, where: str, large: bool) -> None:
    """What is sound behind the damage is evidence, and so is the damage."""
    big = (Payload(part="response", body=bytes(700_000)),) if large else ()
    answers = [
        a_draft(number, session="ab" * 16, event="call.result", reason="completed", payloads=big) for number in (1, 2)
    ]
    write_and_seal(deployed.place, [a_draft(number, session="ab" * 16) for number in range(5)] + answers)
    recording = deployed.data_dir / "payloads" / payload_frames.payload_name("ab" * 16)
    with recording.open("rb") as file:
        frames = list(payload_frames.stored_frames(file))
    changed = bytearray(recording.read_bytes())
    for stored in {
        "in its middle": frames[2:3],
        "in its last frame": frames[-1:],
        "throughout": frames,
        "twice": frames[2:5:2],
    }[where]:
        changed[stored.end - 1] ^= 1
    recording.write_bytes(changed)
    why = deployed.backup(code=2)["why"]
    assert (
        f"the first: payloads/{recording.relative_to(deployed.data_dir / 'payloads')}: " in why
        and "are no frame" in why
    )
    [folder] = deployed.to.glob(".broken-*")
    assert (folder / recording.relative_to(deployed.data_dir)).read_bytes() == changed
    report = verify(LogFiles(folder / "log"), LogFiles(folder / "payloads"), deployed.place.vkey)
    here = verify(LogFiles(deployed.data_dir / "log"), LogFiles(deployed.data_dir / "payloads"), deployed.place.vkey)
    assert report.problems == here.problems


def test_a_log_that_lacks_what_the_last_backup_holds_is_reported(deployed: Deployed, tmp_path: Path) -> None:
    shutil.copytree(deployed.data_dir, tmp_path / "older")
    deployed.write(4)
    deployed.backup()
    shutil.rmtree(deployed.data_dir)
    (tmp_path / "older").rename(deployed.data_dir)
    told = deployed.backup(code=2)
    assert "the log was cut" in told["why"]
    seal_once(deployed.place)
    assert [entry.out.reason for entry in deployed.entries("log.backup")] == ["begun", "broken"]


def begun_anew(deployed: Deployed) -> None:
    """Another log under the same name, by another key; nothing says why."""
    for name in ("log", "payloads", "segments", "sealer"):
        shutil.rmtree(deployed.data_dir / name)
    signer, vkey = note.generate_key(deployed.deployment.origin)
    Path(deployed.deployment.log_key).write_text(signer + "\n")
    (deployed.data_dir / "log.vkey").write_text(vkey + "\n")
    deployed.write(1, 2, 3)


def test_a_log_that_was_replaced_whole_is_reported_by_the_next_backup(deployed: Deployed) -> None:
    first = deployed.backup()
    begun_anew(deployed)
    for _ in range(2):
        told = deployed.backup(code=2)
        assert "the log was replaced" in told["why"] and first["folder"] in told["why"]
    deployed.to = deployed.to.with_name("others")
    deployed.backup()


def test_a_log_that_a_restore_began_is_none_that_was_replaced(deployed: Deployed) -> None:
    """Also after several, with no backup between them; and its later backups are linked as ever."""
    deployed.backup()
    for number in range(3):
        deployed.write(10 + number)
        deployed.restore("--in-place")
    deployed.write(20)
    assert deployed.backup()["linked"] == 0
    deployed.write(21)
    assert deployed.backup()["linked"] > 0
    # The same, but nothing leads from it to the log that the folder knows.
    shutil.rmtree(deployed.data_dir / "former")
    deployed.restore("--in-place")
    shutil.rmtree(deployed.data_dir / "former")
    deployed.write(22)
    deployed.backup()
    for number in range(2):
        deployed.restore("--in-place")
        deployed.write(30 + number)
    shutil.rmtree(deployed.data_dir / "former/2")
    assert "the log was replaced" in deployed.backup(code=2)["why"]


def test_a_log_of_another_deployment_in_the_same_folder_is_no_earlier_one(deployed: Deployed, tmp_path: Path) -> None:
    other = Deployed(tmp_path / "other")
    other.config.write_text(other.config.read_text().replace("localhost/test", "localhost/another"))
    signer, vkey = note.generate_key("localhost/another")
    Path(other.deployment.log_key).write_text(signer + "\n")
    (other.data_dir / "log.vkey").write_text(vkey + "\n")
    other.write(1)
    other.to = deployed.to
    deployed.backup()
    other.backup()
    deployed.write(4)
    assert deployed.backup()["linked"] > 0, "and its own is found behind the other's"


@pytest.mark.parametrize("kind", ["a bundle", "a partial tile", "a recording", "a checkpoint"])
def test_what_rotted_in_the_last_backup_is_no_fault_of_the_log(deployed: Deployed, kind: str) -> None:
    deployed.write(*range(10, 300))
    first = deployed.backup()
    folder = Path(first["folder"])
    names = {
        "a bundle": "log/tile/entries/000",
        "a partial tile": next(each for each in (folder / "log/tile/0").rglob("*.p/*")).relative_to(folder),
        "a recording": next(each for each in (folder / "payloads").rglob("*.pay")).relative_to(folder),
        "a checkpoint": min((folder / "log/checkpoints").iterdir(), key=lambda each: int(each.name)).relative_to(
            folder
        ),
    }
    rotten = folder / names[kind]
    raw = bytearray(rotten.read_bytes())
    raw[len(raw) // 2] ^= 1
    rotten.write_bytes(raw)
    second = deployed.backup()
    assert second["damaged"] == {"folder": str(folder), "files": [str(names[kind])]}
    assert second["linked"] > 0
    made = Path(second["folder"])
    deployed.intact(made)
    assert faults(made, read(made)[0]) == []
    assert (made / names[kind]).read_bytes() == (deployed.data_dir / names[kind]).read_bytes() != rotten.read_bytes()
    said = deployed.type("backup", str(deployed.to), "-c", str(deployed.config)).output
    assert "IS DAMAGED" not in said, "the one before is whole again"
    seal_once(deployed.place)
    assert [entry.x.get("damaged") for entry in deployed.entries("log.backup")][1:4:2] == [None, 1]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("a bundle", "holds other bytes"),
        ("a bundle", "is gone"),
        ("a tile", "holds other bytes"),
        ("a configuration", "holds other bytes"),
        ("a recording", "holds other bytes"),
        ("a former log", "holds other bytes"),
    ],
)
def test_what_rotted_in_the_log_is_told_and_the_good_copy_stays(deployed: Deployed, kind: str, what: str) -> None:
    deployed.restore("--in-place")  # so that there is a former log
    deployed.write(*range(10, 300))
    config = deployed.data_dir / "log/configs" / f"{hashlib.sha256(b'x').hexdigest()}.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_bytes(b"x")
    first = Path(deployed.backup()["folder"])
    victim = {
        "a bundle": deployed.data_dir / "log/tile/entries/000",
        "a tile": deployed.data_dir / "log/tile/0/000",
        "a configuration": config,
        "a recording": next((deployed.data_dir / "payloads").rglob("*.pay")),
        "a former log": next((deployed.data_dir / "former/1/payloads").rglob("*.pay")),
    }[kind]
    name = str(victim.relative_to(deployed.data_dir))
    raw = bytearray(victim.read_bytes())
    raw[len(raw) // 2] ^= 1
    victim.unlink()
    if what != "is gone":
        victim.write_bytes(raw)

    told = deployed.backup(code=2)

    assert (told["verdict"], told["changed"]) == (
        "broken",
        {"folder": str(deployed.data_dir), "files": [f"{name}: {what}"]},
    )
    made = Path(told["folder"])
    assert (made / name).read_bytes() == (first / name).read_bytes() != bytes(raw)
    assert faults(made, read(made)[0]) == []
    deployed.intact(made)
    said = deployed.type("backup", str(deployed.to), "-c", str(deployed.config), code=2).output
    assert f"{deployed.data_dir} IS DAMAGED: 1 of its files" in said and f"the first: {name}: {what}." in said
    victim.unlink(missing_ok=True)
    shutil.copy(first / name, victim)
    deployed.write(400)
    last = deployed.entries("log.backup")[-1]
    assert (last.out.ok, last.out.reason, last.x["broken"], last.x["first_broken"]) == (False, "broken", 1, name)
    assert last.x["manifest"]


def test_a_recording_that_grew_since_is_no_damage(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealer appends while the others are compared."""
    deployed.backup()
    renew = copying._verified

    def while_it_grows(*words: Any) -> Report:
        for each in (deployed.data_dir / "payloads").rglob("*.pay"):
            with each.open("ab") as file:
                file.write(b"more")
        return renew(*words)

    monkeypatch.setattr(copying, "_verified", while_it_grows)
    assert deployed.backup()["verdict"] == "intact"


def test_what_rotted_in_the_last_backup_hides_no_fault_of_the_log(deployed: Deployed) -> None:
    deployed.write(*range(10, 300))
    folder = Path(deployed.backup()["folder"])
    for name, directory in (("log/tile/entries/000", folder), ("log/tile/0/000", deployed.data_dir)):
        raw = bytearray((directory / name).read_bytes())
        raw[500] ^= 1
        (directory / name).write_bytes(raw)
    told = deployed.backup(code=2)  # the tile is linked from where it is whole
    assert told["damaged"]["files"] == ["log/tile/entries/000"]
    assert told["changed"]["files"] == ["log/tile/0/000: holds other bytes"]
    (folder / "log/tile/0/000").unlink()
    (next(each for each in deployed.to.iterdir() if each != folder and each.is_dir()) / "log/tile/0/000").unlink()
    assert "does not agree with tile/0/000" in deployed.backup(code=2)["why"]


@pytest.mark.parametrize("name", ["entries", "0"])
def test_a_tile_that_is_none_is_reported_and_kept_aside(deployed: Deployed, name: str) -> None:
    newest = max((deployed.data_dir / "log/tile" / name).rglob("*.p/*"), key=lambda each: int(each.name))
    newest.write_bytes(newest.read_bytes()[:-3])
    told = deployed.backup(code=2)
    assert ".broken-" in told["why"] and ("ends within an entry" in told["why"] or "bytes where" in told["why"])


def test_after_a_restore_a_new_log_goes_on_that_names_the_old_ones_head(deployed: Deployed) -> None:
    a_sealed_log(deployed.place)
    made = deployed.backup()
    old_key = deployed.place.vkey
    shutil.rmtree(deployed.data_dir)
    done = deployed.restore("--key", old_key)
    assert (done["rolled_back"], done["size"], done["known_size"], done["former"]) == (
        True,
        made["size"],
        0,
        "former/1",
    )
    assert deployed.place.vkey == done["verifier_key"] != old_key
    deployed.write(7)
    deployed.intact()
    deployed.intact(deployed.data_dir / "former/1", payload_key=deployed.place.payload_key)
    [init], [told] = deployed.entries("log.init"), deployed.entries("log.restore")
    assert (init.x["previous_size"], init.x["previous_root"], init.x["previous_vkey"]) == (
        made["size"],
        made["root"],
        old_key,
    )
    assert (told.out.reason, told.who.sub, told.x["manifest"]) == (
        "rolled_back",
        init_by(told),
        made["manifest_sha256"],
    )
    assert {path.stat().st_mode & 0o777 for path in (deployed.data_dir / "keys").iterdir()} == {0o600}


def init_by(entry: Entry) -> str:
    assert entry.who.declared and entry.who.iss == "os"
    return entry.who.sub


DESK = """
[desk]
listen = ["127.0.0.1:8081"]
public_url = "http://127.0.0.1:8081"
"""


def test_nobody_stays_logged_in_after_a_restore_and_no_token_of_before_is_good(tmp_path: Path) -> None:
    """A grant that was revoked after the backup was made is alive in it."""
    deployed = Deployed(tmp_path / "gate", more=DESK)
    deployed.write(1)
    person = LoggedIn(person=Person(issuer="https://idp.example", subject="alice"), idp="corp")
    login = Login(id="1" * 32, seen=person, browser_hash=hashed("b"), created_at=1.0, expires_at=4e9)
    grant = Grant(
        sid="a" * 32, login_id=login.id, client_id="c", client_name="C", server="payments", resource="r", scope="s",
        created_at=1.0, expires_at=4e9,
    )  # fmt: skip
    with closing(SqlStore.in_folder(deployed.data_dir / "desk")) as store:
        assert store.open_grant(login, grant, Turn(sid=grant.sid, number=0, token_hash=hashed("t")))
    signing = deployed.data_dir / "keys/desk-signing.jwk"
    before = signing.read_bytes()
    made = deployed.backup()
    with closing(SqlStore.in_folder(deployed.data_dir / "desk")) as store:
        store.revoke("by_admin", 2.0, sid=grant.sid)
    shutil.rmtree(deployed.data_dir)
    assert (made["desk"], deployed.restore()["grants_ended"]) == ("sqlite", 1)
    with closing(SqlStore.in_folder(deployed.data_dir / "desk")) as store:
        assert store.live_grants(3.0) == ()
        assert store.login_of_browser(hashed("b"), 3.0) is None
        assert store.revoked_since(3.0) == {grant.sid}
    assert signing.read_bytes() != before and signing.stat().st_mode & 0o777 == 0o600


def test_in_place_the_old_key_of_the_desk_vouches_for_nothing_any_more(tmp_path: Path) -> None:
    deployed = Deployed(tmp_path / "gate", more=DESK)
    deployed.write(1)
    desk = deployed.deployment.desk
    assert desk is not None
    publish_desk_keys(desk, 1.0)
    before = Minter.of(Path(desk.signing_key).read_bytes()).kid
    deployed.restore("--in-place")
    minter, public = publish_desk_keys(desk, 2.0)
    assert verifies(public, minter.kid) and not verifies(public, before)


def test_logs_before_the_one_before_are_kept_too(deployed: Deployed) -> None:
    for former in ("former/1", "former/2"):
        deployed.backup()
        shutil.rmtree(deployed.data_dir)
        assert deployed.restore()["former"] == former
        deployed.write(8)
    for former in ("former/1", "former/2"):
        deployed.intact(deployed.data_dir / former)
    deployed.intact()


def test_over_something_that_is_there_nothing_is_restored(deployed: Deployed) -> None:
    deployed.backup()
    before = {path: path.stat().st_mtime_ns for path in deployed.data_dir.rglob("*")}
    assert f"mv {deployed.data_dir}" in deployed.restore(code=1)["why"]
    assert {path: path.stat().st_mtime_ns for path in deployed.data_dir.rglob("*")} == before


@pytest.mark.parametrize(
    "name", ["log/tile/entries/000.p/*", "payloads/*/*", "gatebook.toml", "log.vkey", "manifest.json"]
)
def test_a_changed_backup_is_not_put_back(deployed: Deployed, name: str) -> None:
    folder = Path(deployed.backup()["folder"])
    victim = sorted(folder.glob(name))[-1]
    victim.write_bytes(victim.read_bytes()[:-2] + b"!\n")
    shutil.rmtree(deployed.data_dir)
    assert victim.name in deployed.restore(code=1)["why"]
    assert not deployed.data_dir.exists()


def test_a_file_that_nobody_backed_up_is_not_put_back(deployed: Deployed) -> None:
    folder = Path(deployed.backup()["folder"])
    (folder / "keys").mkdir()
    (folder / "keys" / "desk-signing.jwk").write_text("mine")
    shutil.rmtree(deployed.data_dir)
    assert "keys/desk-signing.jwk: is not in the manifest" in deployed.restore(code=1)["why"]


def test_a_manifest_that_names_files_elsewhere_is_refused(deployed: Deployed) -> None:
    folder = Path(deployed.backup()["folder"])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../outside"] = manifest["files"]["log.vkey"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(deployed.data_dir)
    assert "outside the backup" in deployed.restore(code=1)["why"]


def test_a_backup_of_another_log_is_noticed_by_the_key(deployed: Deployed) -> None:
    deployed.backup()
    shutil.rmtree(deployed.data_dir)
    assert "another log" in deployed.restore("--key", "localhost/test+00000000+AAAA", code=1)["why"]


def test_a_backup_of_a_later_format_is_left_to_the_release_that_made_it(deployed: Deployed) -> None:
    folder = Path(deployed.backup()["folder"])
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "v": 2}))
    shutil.rmtree(deployed.data_dir)
    assert "is of format 2" in deployed.restore(code=1)["why"]


def test_only_where_nothing_was_lost_the_same_log_goes_on(deployed: Deployed, tmp_path: Path) -> None:
    made = deployed.backup()
    older, newest, key = tmp_path / "older", tmp_path / "newest", tmp_path / "log.skey"
    newest.write_bytes((deployed.data_dir / "log/checkpoint").read_bytes())
    sizes = sorted(int(path.name) for path in (deployed.data_dir / "log/checkpoints").iterdir())
    older.write_bytes((deployed.data_dir / f"log/checkpoints/{sizes[0]}").read_bytes())
    shutil.copy(deployed.data_dir / "keys/log.skey", key)
    shutil.rmtree(deployed.data_dir)
    assert "nobody says" in deployed.restore("--log-key", str(key), code=1)["why"]
    own = str(Path(made["folder"]) / "log/checkpoint")
    assert "the backup's own" in deployed.restore("--log-key", str(key), "--newest-checkpoint", own, code=1)["why"]
    done = deployed.restore("--log-key", str(key), "--newest-checkpoint", str(newest))
    assert (done["rolled_back"], done["origin"]) == (False, "localhost/test")
    deployed.write(9)
    deployed.intact(old_checkpoint=newest.read_bytes())
    assert [entry.out.reason for entry in deployed.entries("log.restore")] == ["continued"]
    assert made["size"] < reading.head(LogFiles(deployed.data_dir / "log")).size


def test_the_key_never_signs_again_what_somebody_was_shown_otherwise(deployed: Deployed, tmp_path: Path) -> None:
    deployed.backup()
    deployed.write(4)
    later, key = tmp_path / "later", tmp_path / "log.skey"
    later.write_bytes((deployed.data_dir / "log/checkpoint").read_bytes())
    shutil.copy(deployed.data_dir / "keys/log.skey", key)
    shutil.rmtree(deployed.data_dir)
    why = deployed.restore("--log-key", str(key), "--newest-checkpoint", str(later), code=1)["why"]
    assert "must not sign these sizes again" in why
    assert not (deployed.data_dir / "log").exists()
    assert deployed.restore("--newest-checkpoint", str(later))["known_size"] > 0


def test_nothing_starts_on_a_restore_that_was_broken_off(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.backup()
    shutil.rmtree(deployed.data_dir)

    def dies(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(restoring, "begin_new_log", dies)
        assert "No space" in deployed.restore(code=1)["why"]
    with pytest.raises(ConfigurationError, match="was broken off"):
        require_restored(deployed.data_dir)
    assert "was broken off here" in deployed.restore(code=1)["why"]
    shutil.rmtree(deployed.data_dir)
    deployed.restore()
    require_restored(deployed.data_dir)


def test_in_place_goes_on_where_it_was_broken_off(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    size = reading.head(LogFiles(deployed.data_dir / "log")).size
    with monkeypatch.context() as broken:
        broken.setattr(restoring, "end_logins", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deployed.restore("--in-place")
    done = deployed.restore("--in-place")
    assert (done["size"], done["former"], done["known_size"]) == (size, "former/1", 0)
    deployed.write(5)
    deployed.intact()
    deployed.intact(deployed.data_dir / "former/1")


@pytest.mark.parametrize("remembers", ["the watermark", "a checkpoint, shown once"])
@pytest.mark.parametrize("way", ["in place", "from a backup"])
def test_a_restore_that_was_broken_off_still_knows_how_much_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, remembers: str
) -> None:
    deployed = Deployed(tmp_path / "gate")
    mark, shown = tmp_path / "elsewhere" / "mark", tmp_path / "shown"
    mark.parent.mkdir()
    if remembers == "the watermark":
        deployed.config.write_text(deployed.config.read_text().replace("[log]\n", f'[log]\nwatermark = "{mark}"\n', 1))
        assert deployed.deployment.watermark == str(mark)
    deployed.write(1)
    deployed.backup()
    shutil.copytree(deployed.data_dir, tmp_path / "snapshot")
    deployed.write(2, 3, 4)
    signed = reading.head(LogFiles(deployed.data_dir / "log")).size
    shown.write_bytes((deployed.data_dir / "log" / "checkpoint").read_bytes())
    shutil.rmtree(deployed.data_dir)
    if way == "in place":
        shutil.copytree(tmp_path / "snapshot", deployed.data_dir)
    words = ["--in-place"] if way == "in place" else []
    once = [] if remembers == "the watermark" else ["--newest-checkpoint", str(shown)]
    with monkeypatch.context() as broken:
        broken.setattr(restoring, "end_logins", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deployed.restore(*words, *once)
    assert mark.exists() is (remembers == "the watermark")
    if way == "from a backup":
        shutil.rmtree(deployed.data_dir)
        words += once
    done = deployed.restore(*words)
    assert (done["known_size"], done["rolled_back"]) == (signed, True)
    assert not mark.exists()
    deployed.write(5)
    assert mark.exists() is (remembers == "the watermark")


def test_where_the_old_watermark_cannot_be_put_aside_the_operator_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = Deployed(tmp_path / "gate")
    mark = tmp_path / "elsewhere" / "mark"
    mark.parent.mkdir()
    deployed.config.write_text(deployed.config.read_text().replace("[log]\n", f'[log]\nwatermark = "{mark}"\n', 1))
    deployed.write(1)

    def refused(path: Path, _at: str) -> None:
        if path == mark:
            raise OSError(errno.EROFS, "Read-only file system", str(mark))

    monkeypatch.setattr(restoring, "_retire", refused)
    monkeypatch.setattr(restoring, "replace_private", lambda path, content, _at: path.write_bytes(content))
    assert f"mv {mark} {mark}.retired" in deployed.restore("--in-place", code=1)["why"]
    mark.rename(f"{mark}.retired")
    deployed.write(5)
    deployed.intact()


@pytest.mark.parametrize("left", ["a checkpoint under its temporary name", "half a frame"])
def test_in_place_goes_on_from_what_a_snapshot_of_a_running_gate_looks_like(deployed: Deployed, left: str) -> None:
    """Its sealer was in the middle of something when it was taken."""
    if left == "half a frame":
        recording = next((deployed.data_dir / "payloads").rglob("*.pay"))
        recording.write_bytes(recording.read_bytes() + b"\0\2\0\0half of a frame")
    else:
        (deployed.data_dir / "log" / "checkpoint.tmp").write_bytes(b"half")
    assert deployed.restore("--in-place")["former"] == "former/1"
    deployed.write(5)
    deployed.intact()
    deployed.intact(deployed.data_dir / "former/1")


@pytest.mark.parametrize("remembers", ["sealer/state", "the watermark"])
@pytest.mark.parametrize("left", ["an older log", "bundles without a checkpoint", "nothing of the log"])
def test_what_the_sealer_says_of_a_roll_back_is_what_helps(tmp_path: Path, left: str, remembers: str) -> None:
    deployed = Deployed(tmp_path / "gate")
    if remembers == "the watermark":
        mark = tmp_path / "elsewhere" / "mark"
        mark.parent.mkdir()
        deployed.config.write_text(deployed.config.read_text().replace("[log]\n", f'[log]\nwatermark = "{mark}"\n', 1))
    deployed.write(1, 2, 3)
    shutil.copytree(deployed.data_dir / "log", tmp_path / "older")
    deployed.backup()
    deployed.write(4)
    size = reading.head(LogFiles(deployed.data_dir / "log")).size
    shutil.rmtree(deployed.data_dir / "log")
    if remembers == "the watermark":
        shutil.rmtree(deployed.data_dir / "sealer")
    if left != "nothing of the log":
        shutil.copytree(tmp_path / "older", deployed.data_dir / "log")
    if left == "bundles without a checkpoint":
        (deployed.data_dir / "log" / "checkpoint").unlink()
        shutil.rmtree(deployed.data_dir / "log" / "checkpoints")
    with pytest.raises(
        SealingRefused, match=f"ROLLED BACK: a log of {size} entries was signed, as {remembers} "
    ) as told:
        seal_once(deployed.place)
    if left == "an older log":
        assert "`gatebook restore --in-place`" in str(told.value) and "FROM" not in str(told.value)
        assert deployed.restore("--in-place")["rolled_back"]
    else:
        assert f"there is no signed log in {deployed.data_dir}" in str(told.value)
        assert "move what is left there aside" in str(told.value) and "`gatebook restore FROM`" in str(told.value)
        assert "--in-place" not in str(told.value)
        assert "`gatebook restore FROM`" in deployed.restore("--in-place", code=1)["why"]
        deployed.data_dir.rename(tmp_path / "aside")
        assert deployed.restore()["rolled_back"]
    deployed.write(5)
    deployed.intact()


def test_in_pci_two_persons_restore(tmp_path: Path) -> None:
    deployed = Deployed(tmp_path / "gate", "pci")
    deployed.write(1)
    deployed.backup()
    shutil.rmtree(deployed.data_dir)
    assert "--second" in deployed.restore(code=1)["why"]
    assert "is you" in deployed.restore("--second", user_name(), code=1)["why"]
    deployed.restore("--second", "mara")
    seal_once(deployed.place)
    [told] = deployed.entries("log.restore")
    assert told.x["second"] == "mara"


CONFIGS = {
    "as it is": b'[log]\norigin = "a/b" # for ever\nheartbeat_s = 5\n',
    "single quotes": b"[log]\n  origin='a/b'\n",
    "dotted": b'log.origin = "a/b"\n',
    "inline": b'log = { heartbeat_s = 5, origin = "a/b" }\n',
    "without": b"[log]\nheartbeat_s = 5\n",
    "no table": b"workers = 1\n",
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_only_the_logs_name_changes_in_the_file(text: bytes, tmp_path: Path) -> None:
    before = b'profile = "dev"\n' + text
    changed = renamed(before, tmp_path / "gatebook.toml", "a/b/r20261128t231502z")
    (tmp_path / "gatebook.toml").write_bytes(changed)
    assert b'origin = "a/b/r20261128t231502z"' in changed or b'origin="a/b/r20261128t231502z"' in changed
    assert changed.replace(b"/r20261128t231502z", b"").replace(b'"', b"'").startswith(before.replace(b'"', b"'")[:16])


def test_what_cannot_be_renamed_without_guessing_is_left_to_the_operator(tmp_path: Path) -> None:
    text = b'profile = "dev"\nlog = { heartbeat_s = 5 }\n'
    with pytest.raises(BackupUnusable, match=r"write origin = \"x/r1\""):
        renamed(text, tmp_path / "gatebook.toml", "x/r1")


def test_a_log_that_was_restored_twice_has_one_such_ending() -> None:
    once = next_origin("mcp.example.com/prod", "2026-11-28T23:15:02Z")
    assert once == "mcp.example.com/prod/r20261128t231502z"
    assert next_origin(once, "2027-01-02T03:04:05Z") == "mcp.example.com/prod/r20270102t030405z"
    assert len(next_origin("x" * 200, "2026-11-28T23:15:02Z")) == 200
