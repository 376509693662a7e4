"""What `verify` finds: nothing in a whole log, and every changed byte, lost file and stray file in a broken one."""

import asyncio
import errno
import os
import shutil
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import note, payload, payload_frames, reading
from gatebook.ledger.checkpoint import Checkpoint, sign_checkpoint
from gatebook.ledger.files import CannotJudge
from gatebook.ledger.framing import FrameKind, frame
from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.note import load_signer
from gatebook.ledger.tiles import tile_name
from gatebook.ledger.verification import Report, verify
from tests.unit.ledger.failing_disk import FailingDisk
from tests.world_ledger import (
    Place,
    RunningSealer,
    StillClock,
    a_draft,
    a_place,
    a_sealed_log,
    wait_until,
    write_and_seal,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = a_place(tmp_path_factory.mktemp("sealed") / "data")
    a_sealed_log(place)
    return place


@pytest.fixture
def copy(sealed: Place, tmp_path: Path) -> Place:
    shutil.copytree(sealed.directory, tmp_path / "data")
    return msgspec.structs.replace(sealed, directory=tmp_path / "data")


def judged(place: Place, **options: object) -> Report:
    return verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, **options)  # type: ignore[arg-type]


def evidence(place: Place) -> list[Path]:
    files = [*place.log.rglob("*"), *place.payloads.rglob("*")]
    return sorted(file for file in files if file.is_file() and file.name != ".lock")


def test_a_whole_log_is_intact(sealed: Place) -> None:
    report = judged(sealed)
    assert report.problems == []
    assert (report.origin, report.pending, report.opened) == ("example.com/log", 0, 0)
    assert report.size == reading.head(LogFiles(sealed.log)).size > 300
    assert report.payloads == 12 + 1 + 280


def test_with_the_private_key_every_payload_is_opened(sealed: Place) -> None:
    report = judged(sealed, payload_key=sealed.payload_key)
    assert (report.problems, report.opened) == ([], report.payloads)


def positions(file: Path) -> Iterator[int]:
    """All bytes of the checkpoint; elsewhere a sample of about fifty that meets the first, the last and the first frame's head."""
    size = file.stat().st_size
    if file.name == "checkpoint":
        yield from range(size)
    else:
        yield from sorted({*range(0, size, max(1, size // 40)), *range(min(size, 10)), size - 1})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_changed_byte_of_any_file_is_found(copy: Place) -> None:
    tried = 0
    for file in evidence(copy):
        whole = file.read_bytes()
        for position in positions(file):
            changed = bytearray(whole)
            changed[position] ^= 1 << (position % 8)
            file.write_bytes(changed)
            assert not judged(copy).intact, f"byte {position} of {file.relative_to(copy.directory)} was changed unseen"
            tried += 1
        file.write_bytes(whole)
    assert judged(copy).intact
    assert tried > 40 * len(evidence(copy)) // 2


def test_one_changed_byte_in_each_file_is_found_and_named(copy: Place) -> None:
    for file in evidence(copy):
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 4
        file.write_bytes(changed)
        problems = judged(copy).problems
        name = str(file.relative_to(copy.log if file.is_relative_to(copy.log) else copy.directory))
        assert problems, name
        said = " ".join(f"{problem.where} {problem.what}" for problem in problems)
        assert name in said or "entry " in said or "level" in said, f"{name}: {said}"
        file.write_bytes(whole)


def test_every_file_that_is_cut_grown_or_gone_is_found(copy: Place) -> None:
    newest = (copy.log / "checkpoint").read_bytes()
    for file in evidence(copy):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        assert not judged(copy).intact, f"{file} was cut"
        file.write_bytes(whole + b"\0")
        assert not judged(copy).intact, f"{file} has grown"
        file.unlink()
        # LIMIT: nothing names an older archived checkpoint; one that is gone takes no entry with it.
        if file.parent.name != "checkpoints" or whole == newest:
            assert not judged(copy).intact, f"{file} was removed"
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "name",
    [
        "log/notes.txt", "log/tile/0/0", "log/tile/entries/000.p/x", "log/checkpoints/007", "log/checkpoints/x", "log/configs/a.toml",
        "log/tile/0/000.tmp", "payloads/ab/x.pay", "payloads/stray", "payloads/00/" + "0" * 31 + "f.pay", "log/tile/0/000.p/9",
    ],
)  # fmt: skip
def test_a_file_that_nothing_accounts_for_is_found(copy: Place, name: str) -> None:
    stray = copy.directory / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"stray")
    assert not judged(copy).intact


def test_a_link_is_not_a_file_of_the_log(copy: Place, tmp_path: Path) -> None:
    (copy.log / "elsewhere").symlink_to(tmp_path)
    assert [problem.where for problem in judged(copy).problems] == ["elsewhere"]


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_whatever_is_no_file_is_named_and_keeps_nothing_else_from_being_judged(
    copy: Place, tmp_path: Path, kind: str
) -> None:
    """Each of them, and beside it what is wrong elsewhere."""
    (copy.log / "stray").write_bytes(b"x")
    strange = [file for file in evidence(copy) if file.parent.name != "checkpoints" and file.name != "stray"]
    for file in [*strange, copy.log / ".lock", copy.log / "configs" / f"{'0' * 64}.toml"]:
        elsewhere = tmp_path / "elsewhere"
        if file.exists():
            shutil.move(file, elsewhere)
        if kind == "pipe":
            os.mkfifo(file)
        else:
            file.symlink_to(elsewhere if kind == "link" else tmp_path / "nothing")
        name = str(file.relative_to(copy.directory if file.is_relative_to(copy.payloads) else copy.log))
        problems = judged(copy).problems
        assert name in {problem.where for problem in problems}, f"{name}: {problems}"
        # Where the entries cannot be read, nothing that they account for can be.
        assert "stray" in {problem.where for problem in problems} or name.startswith("tile/entries/"), name
        file.unlink()
        if elsewhere.exists():
            shutil.move(elsewhere, file)


def test_a_folder_elsewhere_is_no_folder_of_recordings(copy: Place, tmp_path: Path) -> None:
    """Also where it holds one file, so that their number is right."""
    write_and_seal(
        msgspec.structs.replace(
            copy, deployment=msgspec.structs.replace(copy.deployment, data_dir=str(copy.directory))
        ),
        [a_draft(1, session="f" * 32)],
    )
    folder = copy.payloads / "ff"
    assert len(list(folder.iterdir())) == 1 and judged(copy).intact
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert [problem.where for problem in judged(copy).problems] == ["payloads/ff"]


def test_what_a_sealer_was_about_to_do_is_pending_for_as_long_as_it_lies_there(copy: Place) -> None:
    """Also where nobody is at work any more: it was killed, or this is a snapshot of its disk."""
    size = reading.head(LogFiles(copy.log)).size
    last = size - 1
    begun = [
        "checkpoint.tmp", f"checkpoints/{size}.tmp", f"checkpoints/{size + 7}.tmp", f"checkpoints/{size + 7}",
        f"tile/0/{last // 256:03d}.p/{last % 256 + 8}.tmp", "tile/entries/003.tmp", f"configs/.{'ab' * 32}.tmp",
    ]  # fmt: skip
    for name in begun:
        (copy.log / name).write_bytes(b"half")
        waits: list[None] = []
        report = judged(copy, settle=lambda told=waits: told.append(None))
        # What is archived without a signature is named: no sealer does that.
        unsigned = [name] if name == f"checkpoints/{size + 7}" else []
        assert [problem.where for problem in report.problems] == unsigned, name
        assert (report.pending, len(waits)) == (1, 1), name
        (copy.log / name).unlink()


def test_a_temporary_name_is_of_a_sealer_only_at_the_edge_and_only_as_a_file(copy: Place, tmp_path: Path) -> None:
    size = reading.head(LogFiles(copy.log)).size
    last = size - 1
    inner = f"tile/0/{last // 256:03d}.p/{last % 256 + 1}.tmp"
    strange = [f"checkpoints/{size - 1}.tmp", f"checkpoints/{1 << 63}.tmp", inner, "tile/0/0.tmp", "notes.tmp"]
    for name in strange:
        (copy.log / name).write_bytes(b"half")
    (copy.log / "checkpoint.tmp").symlink_to(tmp_path)
    assert {problem.where for problem in judged(copy).problems} == {*strange, "checkpoint.tmp"}


STRANGER = ("gate-7", "0" * 20)


def a_frame(session: str, content: bytes = b"sealed", epoch: str = "0" * 20) -> bytes:
    """Of an entry that no log holds yet."""
    place = payload.Place(session, "gate-7", epoch, 1, 0, 0, 1)
    return frame(FrameKind.PAYLOAD, payload.stored_body(place, content))


@pytest.mark.parametrize("cut", [1, 2, 4, 8, 9, 40, 90])
@pytest.mark.parametrize("known", [True, False])
def test_a_recording_that_is_being_written_is_pending(copy: Place, known: bool, cut: int) -> None:
    session = f"{3:032x}" if known else "f" * 32
    file = copy.payloads / payload_frames.payload_name(session)
    file.parent.mkdir(exist_ok=True)
    before = file.read_bytes() if known else b""
    file.write_bytes(before + a_frame(session) + a_frame(session)[:cut])
    report = judged(copy, at_work=lambda: {STRANGER})
    assert (report.problems, report.unknown, report.pending) == ([], [], 2)
    file.write_bytes(before + a_frame(session)[:cut] + b"\xff" * 4096)
    assert not judged(copy).intact, "what follows is longer than any frame that begins so"


def test_a_first_recording_of_a_new_session_is_looked_at_again(copy: Place) -> None:
    """At the first look nothing of its bytes is there, only their place."""
    file = copy.payloads / "ff" / f"{'f' * 32}.pay"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(bytes(300))
    assert [problem.where for problem in judged(copy).problems] == [f"payloads/ff/{'f' * 32}.pay"]
    report = judged(copy, settle=lambda: (file.write_bytes(a_frame("f" * 32)), None)[1], at_work=lambda: {STRANGER})
    assert (report.problems, report.pending) == ([], 1)


@pytest.mark.parametrize("known", [True, False])
def test_frames_of_a_writer_whom_nobody_knows_are_not_pending(copy: Place, known: bool) -> None:
    """Somebody put them there: no entry names that epoch, and it has no segment from which one could come."""
    session = f"{3:032x}" if known else "f" * 32
    name = payload_frames.payload_name(session)
    file = copy.payloads / name
    file.parent.mkdir(exist_ok=True)
    with file.open("ab") as stored:
        stored.write(a_frame(session) + a_frame(session))
    waits: list[None] = []
    report = judged(copy, settle=lambda: waits.append(None), at_work=lambda: set())
    [problem] = report.problems
    assert (problem.where, report.pending, len(waits)) == (f"payloads/{name}", 0, 1)
    assert f"2 frames of gate-7 {'0' * 20}, which no entry names" in problem.what
    # A copy without segments cannot tell them from those of a writer that has just begun.
    report = judged(copy)
    assert (report.problems, report.pending) == ([], 0)
    assert [each.where for each in report.unknown] == [f"payloads/{name}"]


def test_frames_that_an_epoch_of_the_log_never_wrote_are_not_pending(copy: Place) -> None:
    ended = next(each.entry.w for each in reading.entries(LogFiles(copy.log)) if each.entry.w.n == "gate-0")
    session = f"{3:032x}"
    place = payload.Place(session, ended.n, ended.e, 1 << 40, 0, 0, 1)
    with (copy.payloads / payload_frames.payload_name(session)).open("ab") as stored:
        stored.write(frame(FrameKind.PAYLOAD, payload.stored_body(place, b"sealed")))
    [problem] = judged(copy, at_work=lambda: set()).problems
    assert f"up to its number {1 << 40}" in problem.what
    assert judged(copy, at_work=lambda: {(ended.n, ended.e)}).pending == 1
    report = judged(copy)
    assert (report.problems, report.unknown, report.pending) == ([], [], 1), (
        "it may have gone on, as far as is known here"
    )


def test_frames_whose_entry_was_signed_while_one_looked_are_pending(tmp_path: Path) -> None:
    """A worker began, wrote and ended: its segment is gone by then, and the newer log says why."""
    place = a_place(tmp_path / "data")
    write_and_seal(place, [a_draft(6, session=f"{3:032x}")])
    before = {path: path.read_bytes() for path in place.log.rglob("*") if path.is_file()}
    write_and_seal(place, [a_draft(7, session=f"{3:032x}")])
    after = {path: path.read_bytes() for path in place.log.rglob("*") if path.is_file()}

    def put(files: dict[Path, bytes]) -> None:
        for path in [each for each in place.log.rglob("*") if each.is_file()]:
            path.unlink()
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    put(before)
    report = judged(place, settle=lambda: put(after), at_work=lambda: set())
    assert (report.problems, report.unknown, report.pending) == ([], [], 2)


def test_however_many_writers_are_made_up_they_are_told_in_few_words(copy: Place) -> None:
    session = f"{3:032x}"
    with (copy.payloads / payload_frames.payload_name(session)).open("ab") as stored:
        stored.write(b"".join(a_frame(session, epoch=f"{number:020x}") for number in range(30_000)))
    report = judged(copy, at_work=lambda: set())
    assert (len(report.problems), report.pending) == (1001, 0)


def test_another_key_proves_nothing(sealed: Place) -> None:
    _, vkey = note.generate_key("example.com/log")
    report = verify(LogFiles(sealed.log), LogFiles(sealed.payloads), vkey)
    assert not report.intact
    with pytest.raises(CannotJudge):
        verify(LogFiles(sealed.log), LogFiles(sealed.payloads), "no key")


def test_where_nothing_is_signed_nothing_is_judged(tmp_path: Path) -> None:
    with pytest.raises(CannotJudge):
        verify(LogFiles(tmp_path), None, note.generate_key("example.com/log")[1])


def resign(place: Place, leaves: list[bytes]) -> None:
    """The whole log made anew from `leaves` with the real key, as a thief of the key would."""
    shutil.rmtree(place.log / "tile")
    shutil.rmtree(place.log / "checkpoints")
    growing = GrowingLog()
    for leaf in leaves:
        growing.append(leaf)
    log = LogFiles(place.log)
    log.write_once(growing.flush().files)
    signer = load_signer((place.directory / "keys" / "log.key").read_text())
    signed = sign_checkpoint(Checkpoint(origin="example.com/log", size=growing.size, root=growing.tree.root()), signer)
    log.write_once([(f"checkpoints/{growing.size}", signed)])
    log.replace("checkpoint", signed)


def leaves_of(place: Place) -> list[bytes]:
    return [each.leaf for each in reading.entries(LogFiles(place.log))]


def test_a_log_rewritten_with_the_real_key_fails_only_against_an_older_checkpoint(copy: Place) -> None:
    old = (copy.log / "checkpoint").read_bytes()
    leaves = leaves_of(copy)
    leaves[20] = leaves[20].replace(b'"ip":"192.0.2.7"', b'"ip":"192.0.2.8"')
    resign(copy, leaves)
    assert judged(copy).problems == []
    assert any("rewritten" in problem.what for problem in judged(copy, old_checkpoint=old).problems)


def test_a_log_cut_with_the_real_key_fails_against_an_older_checkpoint(copy: Place) -> None:
    old = (copy.log / "checkpoint").read_bytes()
    resign(copy, leaves_of(copy)[:-3])
    assert any("cut" in problem.what for problem in judged(copy, old_checkpoint=old).problems)


def test_an_older_checkpoint_of_the_same_log_holds(copy: Place) -> None:
    for archived in (copy.log / "checkpoints").iterdir():
        assert judged(copy, old_checkpoint=archived.read_bytes()).intact


def test_an_entry_left_out_by_the_key_holder_leaves_gaps(copy: Place) -> None:
    leaves = leaves_of(copy)
    del leaves[20]
    resign(copy, leaves)
    said = [problem.what for problem in judged(copy).problems]
    assert any("is due" in what and "gate-0" in what for what in said)
    assert any("session" in what for what in said)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (b'"reason":"permitted"', b'"reason":""', "lacks out"),
        (b'"sub":"8c1f22"', b'"sub":""', "lacks who"),
        (b'"v":1', b'"v" :1', "not in canonical form"),
        (b'"v":1', b'"v":9', "version 9"),
    ],
)
def test_entries_that_say_too_little_are_found(copy: Place, before: bytes, after: bytes, what: str) -> None:
    leaves = leaves_of(copy)
    place = next(index for index, leaf in enumerate(leaves) if before in leaf and b"call.intent" in leaf)
    leaves[place] = leaves[place].replace(before, after)
    resign(copy, leaves)
    assert any(problem.where == f"entry {place}" and what in problem.what for problem in judged(copy).problems)


def test_a_closing_that_does_not_add_up_is_found(copy: Place) -> None:
    leaves = leaves_of(copy)
    place = next(index for index, leaf in enumerate(leaves) if b'"ev":"session.close"' in leaf)
    leaves[place] = leaves[place].replace(b'"refused":0', b'"refused":1')
    resign(copy, leaves)
    assert [problem.where for problem in judged(copy).problems] == [f"entry {place}"]


def test_payloads_exchanged_between_sessions_are_found(copy: Place) -> None:
    one, two = sorted(copy.payloads.rglob("*.pay"))[:2]
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert not judged(copy).intact


# --- recordings with damaged bytes in their middle


FULL = f"{16:032x}"
"""A session with a data key and many payloads of one piece each; that of `LARGE` has one of many pieces."""
LARGE = f"{3:032x}"


def recorded(place: Place, session: str) -> tuple[Path, list[payload_frames.Stored]]:
    file = place.payloads / payload_frames.payload_name(session)
    with file.open("rb") as stored:
        return file, list(payload_frames.stored_frames(stored))


def entry_of(place: Place, stored: payload_frames.Stored) -> str:
    """How a report names the entry that a frame is of."""
    at = (stored.place.writer, stored.place.epoch, stored.place.sequence)
    [found] = [
        each.index
        for each in reading.entries(LogFiles(place.log))
        if (each.entry.w.n, each.entry.w.e, each.entry.w.s) == at
    ]
    return f"entry {found}"


def said_of(report: Report, file: Path) -> set[str]:
    """What it says beside the one line that some bytes of `file` are damaged."""
    name = f"payloads/{file.parent.name}/{file.name}"
    damage = [problem for problem in report.problems if problem.where == name and "are no frame" in problem.what]
    assert len(damage) == 1, report.problems
    rest = [problem for problem in report.problems if problem not in damage]
    assert all(name in problem.what for problem in rest if problem.what.startswith("its")), rest
    return {problem.where for problem in rest}


@pytest.mark.parametrize("at", [0, 3, 5, 8, 12, 30, 60, -1])
def test_behind_damage_in_a_recording_the_rest_is_judged(copy: Place, at: int) -> None:
    """Whatever is hit of a frame: its length, its sum, its kind, the session's name, its place, its content."""
    file, frames = recorded(copy, FULL)
    whole = file.read_bytes()
    for stored in (frames[0], frames[1], frames[40]):
        changed = bytearray(whole)
        changed[stored.start + at if at >= 0 else stored.end + at] ^= 1
        file.write_bytes(changed)
        report = judged(copy)
        assert said_of(report, file) == {entry_of(copy, stored)}
        assert "is damaged in, or gone from, payloads/" in report.problems[-1].what
        assert f"at offset {stored.start} " in report.problems[0].what


def test_what_lies_behind_damage_and_was_changed_or_taken_away_is_named_too(copy: Place) -> None:
    """Damage hides nothing that is done behind it."""
    file, frames = recorded(copy, FULL)
    changed = bytearray(file.read_bytes())
    changed[frames[10].end - 1] ^= 1
    del changed[frames[30].start : frames[30].end]
    file.write_bytes(changed)
    assert said_of(judged(copy), file) == {entry_of(copy, frames[10]), entry_of(copy, frames[30])}


def test_a_payload_of_many_pieces_is_damaged_once(copy: Place) -> None:
    file, frames = recorded(copy, LARGE)
    pieces = [stored for stored in frames if stored.place.pieces > 1]
    assert len(pieces) > 1
    whole = file.read_bytes()
    for stored in pieces:
        changed = bytearray(whole)
        changed[stored.end - 1] ^= 1
        file.write_bytes(changed)
        assert said_of(judged(copy), file) == {entry_of(copy, stored)}


def test_bytes_put_between_the_pieces_of_a_payload_take_nothing_from_it(copy: Place) -> None:
    file, frames = recorded(copy, LARGE)
    [at] = [stored.end for stored in frames if stored.place.pieces > 1 and stored.place.piece == 0]
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + b"\xff" * 100 + whole[at:])
    assert said_of(judged(copy), file) == set()


def test_a_damaged_data_key_makes_no_payload_missing(copy: Place) -> None:
    file, frames = recorded(copy, FULL)
    assert frames[0].kind is FrameKind.DATA_KEY
    changed = bytearray(file.read_bytes())
    changed[frames[0].end - 1] ^= 1
    file.write_bytes(changed)
    assert said_of(judged(copy), file) == {entry_of(copy, frames[0])}
    said = [problem.what for problem in judged(copy, payload_key=copy.payload_key).problems]
    assert sum("is whole, but its data key" in what for what in said) == len(frames) - 1
    assert sum("gone from" in what for what in said) == 1


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("true_one", ["damaged", "behind it"])
def test_a_frame_planted_in_damage_is_no_entrys_payload(copy: Place, true_one: str, key: bool) -> None:
    """Its sum is right and its place is the entry's: whoever can write files can make that, but not bytes with the signed digest."""
    file, frames = recorded(copy, FULL)
    whole, stored = file.read_bytes(), frames[20]
    planted = frame(FrameKind.PAYLOAD, payload.stored_body(stored.place, b"\0" * len(stored.content)))
    true = whole[stored.start : stored.end] if true_one == "behind it" else b""
    file.write_bytes(whole[: stored.start] + b"\xff" * 50 + planted + b"\xff" * 50 + true + whole[stored.end :])
    report = judged(copy, payload_key=copy.payload_key if key else None)
    said = [problem.what for problem in report.problems]
    index = entry_of(copy, stored)
    [changed] = [what for what in said if "are no frame" not in what]
    assert changed.startswith(f"the request of {index} has changed bytes before offset ")


@pytest.mark.parametrize("known", [True, False])
def test_pieces_without_end_are_not_held_in_memory(copy: Place, known: bool) -> None:
    """Whoever can write files can lay down a payload of a thousand million pieces."""
    file, frames = recorded(copy, FULL)
    place = frames[20].place if known else msgspec.structs.replace(frames[20].place, part=9)
    with file.open("ab") as stored:
        for number in range(48):
            piece = msgspec.structs.replace(place, piece=number, pieces=48)
            stored.write(frame(FrameKind.PAYLOAD, payload.stored_body(piece, bytes(1 << 20))))
    tracemalloc.start()
    try:
        [problem] = judged(copy).problems
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert "that no entry names" in problem.what


def test_a_recording_full_of_what_begins_like_a_frame_is_broken_in_the_end(copy: Place) -> None:
    file, _ = recorded(copy, FULL)
    head = (1 << 20).to_bytes(4, "little") + bytes(4) + bytes([FrameKind.PAYLOAD]) + bytes.fromhex(FULL)
    file.write_bytes(head * ((4 << 20) // len(head)))
    assert any("damaged throughout" in problem.what for problem in judged(copy).problems)


@pytest.mark.parametrize("bad", [{0}, {5}, {3, 4, 9}, {18}, {0, 18}])
def test_behind_what_cannot_be_read_in_a_recording_the_rest_is_judged(copy: Place, bad: set[int]) -> None:
    file, frames = recorded(copy, LARGE)
    name = payload_frames.payload_name(LARGE)
    raw = bytearray(file.read_bytes())
    size = len(raw)
    assert 18 * 4096 < size < 20 * 4096
    hit = [each for each in frames if any(each.start < (block + 1) * 4096 and block * 4096 < each.end for block in bad)]

    report = verify(LogFiles(copy.log), FailingDisk(copy.payloads, name, bad), copy.vkey)

    said = [problem.what for problem in report.problems if problem.where == f"payloads/{name}"]
    cannot = [what for what in said if what.endswith("cannot be read: Input/output error")]
    runs = [sorted(bad)[0], *(block for block in sorted(bad) if block - 1 not in bad and block != sorted(bad)[0])]
    assert [int(what.split()[4]) for what in cannot] == [4096 * block for block in runs]
    assert sum(int(what.split()[0]) for what in cannot) == sum(
        min(size, 4096 * block + 4096) - 4096 * block for block in bad
    )
    lost = {problem.where for problem in report.problems if problem.where.startswith("entry ")}
    assert lost == {entry_of(copy, each) for each in hit}, "all that is not hit is judged as it is"


def test_what_was_changed_behind_what_cannot_be_read_is_named_too(copy: Place) -> None:
    file, frames = recorded(copy, FULL)
    raw = bytearray(file.read_bytes())
    victim = frames[-1]
    raw[victim.end - 1] ^= 1
    file.write_bytes(raw)
    disk = FailingDisk(copy.payloads, payload_frames.payload_name(FULL), {1})
    report = verify(LogFiles(copy.log), disk, copy.vkey)
    assert entry_of(copy, victim) in {problem.where for problem in report.problems}
    assert any("at offset 4096 cannot be read" in problem.what for problem in report.problems)
    assert disk.failed < 10, "no block that is bad is asked for again and again: each takes a dying disk seconds"


def test_a_recording_that_cannot_be_read_at_all_is_not_asked_for_each_of_its_blocks(copy: Place) -> None:
    name = payload_frames.payload_name(FULL)
    with (copy.payloads / name).open("ab") as stored:
        stored.truncate(16 << 20)
    disk = FailingDisk(copy.payloads, name, set(range(4096)))
    said = [problem.what for problem in verify(LogFiles(copy.log), disk, copy.vkey).problems]
    assert f"{1025 * 4096} bytes at offset 0 cannot be read: Input/output error" in said
    assert f"too much of it cannot be read: what is behind offset {1025 * 4096} was not looked at" in said
    assert disk.failed < 3000


class Forbidding(LogFiles):
    """Some name may not be read by whoever asks, as if he were not root."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root)
        self._name = name

    def open(self, name: str) -> BinaryIO:
        if name == self._name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return super().open(name)


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/entries/000", "checkpoints/10", "a recording"])
def test_whoever_may_not_read_a_file_cannot_judge(copy: Place, name: str) -> None:
    """It is no fault of the log, and must not be called one."""
    name = f"checkpoints/{reading.archived_sizes(LogFiles(copy.log))[0]}" if name == "checkpoints/10" else name
    recording = payload_frames.payload_name(FULL)
    log = Forbidding(copy.log, name)
    payloads = Forbidding(copy.payloads, recording if name == "a recording" else "")
    with pytest.raises(CannotJudge, match="may not be read by this user"):
        verify(log, payloads, copy.vkey)


def test_whoever_cannot_judge_is_told_what_was_found_broken_before(copy: Place) -> None:
    (copy.log / "tile/0/000").write_bytes(bytes(8192))
    payloads = Forbidding(copy.payloads, payload_frames.payload_name(FULL))
    with pytest.raises(CannotJudge, match=r"what could be read is BROKEN: .* problems, the first: entry 0: "):
        verify(LogFiles(copy.log), payloads, copy.vkey)


@pytest.mark.parametrize("folder", ["payloads/00", "log/checkpoints", "log/hidden", "log"])
def test_a_folder_that_cannot_be_listed_is_not_taken_for_empty(
    copy: Place, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies in it, a stray above all, would pass unseen."""
    (copy.directory / "log/hidden").mkdir()
    forbidden, scandir = str(copy.directory / folder), os.scandir

    def listed(path: str) -> Any:
        if str(path).rstrip("/") == forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr("os.scandir", listed)
    with pytest.raises(CannotJudge, match=f"{folder} may not be read"):
        judged(copy)


def test_behind_entries_that_cannot_be_read_it_is_said_that_nothing_was_judged(copy: Place) -> None:
    name = tile_name(None, 0, min(256, reading.head(LogFiles(copy.log)).size))
    report = verify(FailingDisk(copy.log, name, {0}), LogFiles(copy.payloads), copy.vkey)
    [problem] = report.problems
    assert problem.where == name
    assert "Input/output error" in problem.what and "nothing behind them was judged, and no recording" in problem.what


def test_a_checkpoint_put_back_is_found(copy: Place) -> None:
    sizes = sorted(int(file.name) for file in (copy.log / "checkpoints").iterdir())
    (copy.log / "checkpoint").write_bytes((copy.log / "checkpoints" / str(sizes[-2])).read_bytes())
    assert any("older than" in problem.what for problem in judged(copy).problems)


@pytest.mark.parametrize("before", ["an older one", "none"])
def test_what_a_running_sealer_archived_and_has_not_published_yet_is_waited_for(copy: Place, before: str) -> None:
    published = copy.log / "checkpoint"
    newest = published.read_bytes()
    if before == "none":
        published.unlink()
    else:
        published.write_bytes((copy.log / f"checkpoints/{reading.archived_sizes(LogFiles(copy.log))[-2]}").read_bytes())
    assert not judged(copy).intact
    waits: list[str] = []

    def settle() -> None:
        waits.append("once")
        published.write_bytes(newest)

    assert judged(copy, settle=settle).problems == []
    assert waits == ["once"]


def test_what_is_published_meanwhile_must_be_what_was_archived(copy: Place) -> None:
    """A thief of the key signs another state of the same size, and publishes it while somebody verifies."""
    published, head = copy.log / "checkpoint", reading.head(LogFiles(copy.log))
    published.write_bytes((copy.log / f"checkpoints/{reading.archived_sizes(LogFiles(copy.log))[-2]}").read_bytes())
    signer = load_signer((copy.directory / "keys" / "log.key").read_text())
    another = sign_checkpoint(Checkpoint(origin=head.origin, size=head.size, root=bytes(32)), signer)

    report = judged(copy, settle=lambda: published.write_bytes(another))

    assert [problem.where for problem in report.problems] == ["checkpoint"]
    assert "another root" in report.problems[0].what


def test_a_checkpoint_archived_and_published_as_the_verifier_begins_is_no_fault(sealed: Place) -> None:
    """What the archive holds is asked for after what is published, or the one just published would be missing in it."""
    newest = f"checkpoints/{reading.head(LogFiles(sealed.log)).size}"

    class Sealing(LogFiles):
        published = False

        def read(self, name: str) -> bytes:
            self.published = self.published or name == "checkpoint"
            return super().read(name)

        def names(self, under: str = "") -> Iterator[str]:
            return (name for name in super().names(under) if name != newest or self.published)

    assert verify(Sealing(sealed.log), LogFiles(sealed.payloads), sealed.vkey).problems == []


def test_an_old_checkpoint_that_a_running_sealer_thins_out_meanwhile_is_no_fault(sealed: Place) -> None:
    oldest = f"checkpoints/{min(int(file.name) for file in (sealed.log / 'checkpoints').iterdir())}"

    class Thinned(LogFiles):
        def read(self, name: str) -> bytes:
            if name == oldest:
                raise FileNotFoundError(name)
            return super().read(name)

    log = Thinned(sealed.log)
    assert oldest in log.names("checkpoints")
    assert verify(log, LogFiles(sealed.payloads), sealed.vkey).problems == []


async def test_a_running_log_is_intact(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data", segment_bytes=4 << 20)
    with RunningSealer(place):
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        stop = asyncio.Event()

        async def write() -> None:
            number = 0
            while not stop.is_set():
                await ledger.record(a_draft(number))
                number += 1
                await asyncio.sleep(0.002)

        writing = asyncio.create_task(write())
        await asyncio.to_thread(wait_until, (place.log / "checkpoint").exists)
        for _ in range(4):
            report = await asyncio.to_thread(judged, place, settle=lambda: time.sleep(1.5))
            assert report.problems == []
            await asyncio.sleep(0.4)
        stop.set()
        await writing
        await ledger.close()
    assert judged(place, payload_key=place.payload_key).problems == []


def test_a_recording_opens_with_the_private_key(sealed: Place) -> None:
    recordings = reading.Recordings(LogFiles(sealed.payloads), sealed.payload_key)
    found = list(reading.find(LogFiles(sealed.log), call="call-00000003", session=f"{3:032x}"))
    assert [each.entry.ev for each in found] == ["call.intent", "call.result"]
    bodies = [recordings.open(each.entry, pay) for each in found for pay in each.entry.pay]
    assert bodies == [b'{"amount":12,"order":"A-3"}', bytes(range(256)) * 300]


@pytest.mark.parametrize("tail", [b"\0\2\0\0half of a frame", b"\xff" * 500])
def test_what_is_torn_behind_a_recording_takes_nothing_from_it(copy: Place, tail: bytes) -> None:
    file = copy.payloads / payload_frames.payload_name(f"{3:032x}")
    file.write_bytes(file.read_bytes() + tail)
    recordings = reading.Recordings(LogFiles(copy.payloads), copy.payload_key)
    found = list(reading.find(LogFiles(copy.log), call="call-00000003", session=f"{3:032x}"))
    bodies = [recordings.open(each.entry, pay) for each in found for pay in each.entry.pay]
    assert bodies == [b'{"amount":12,"order":"A-3"}', bytes(range(256)) * 300]


def test_the_same_entries_are_read_forwards_and_backwards(sealed: Place) -> None:
    log = LogFiles(sealed.log)
    size = reading.head(log).size
    forwards = list(reading.leaves(log, 0, size))
    assert list(reading.leaves_backwards(log, size)) == forwards[::-1]
    assert list(reading.leaves(log, 250, 270)) == forwards[250:270]


def test_nothing_in_the_log_holds_a_payload_in_clear(sealed: Place) -> None:
    for file in [*evidence(sealed), *(sealed.directory / "segments").glob("*")]:
        assert b'"order":"A-3"' not in file.read_bytes()


def test_files_are_for_their_owner_alone(sealed: Place) -> None:
    for file in evidence(sealed):
        if "configs" not in file.parts:
            assert file.stat().st_mode & 0o077 == 0, file


def test_write_and_seal_again_only_adds(copy: Place) -> None:
    place = msgspec.structs.replace(
        copy,
        deployment=msgspec.structs.replace(copy.deployment, data_dir=str(copy.directory)),
    )
    before = {file: file.read_bytes() for file in evidence(place) if file.parent.name != "log"}
    write_and_seal(place, [a_draft(number, session="f" * 32) for number in range(3)])
    assert judged(place).problems == []
    for file, content in before.items():
        if ".p" not in str(file.parent):
            assert file.read_bytes()[: len(content)] == content
