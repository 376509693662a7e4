"""How the sealer sees the writers' segments and writes the log's files: nothing half, nothing missed, nothing in another's name."""

import asyncio
import contextlib
import errno
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from gatebook.adapters import log_files
from gatebook.adapters.ledger_segment import SegmentHand, SegmentLedger
from gatebook.adapters.ledger_segment.chain import SegmentChain
from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger import payload_frames, reading
from gatebook.ledger.entry import Entry
from gatebook.ledger.framing import FRAME_BYTES, FrameKind, apart, frame, read_frame
from gatebook.ledger.merkle import leaf_hash
from gatebook.ledger.note import load_signer
from gatebook.ledger.payload import PayloadError, read_stored_body, stored_body
from gatebook.ledger.scribe import Composed
from gatebook.ledger.tiles import join_bundle, split_bundle
from gatebook.ledger.verification import verify
from gatebook.model.record import Draft, Payload
from gatebook.serve import sealing
from gatebook.serve.sealing import Sealing
from gatebook.serve.sealing_ports import SealingRefused
from tests.world_ledger import (
    MemoryLedger,
    Place,
    RunningSealer,
    StillClock,
    a_draft,
    a_place,
    a_service_draft,
    let_go,
    seal_once,
    wait_until,
    write_and_seal,
)

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return a_place(tmp_path / "data")


def tails_of(place: Place) -> SegmentTails:
    return SegmentTails(place.directory / "segments")


def sealing_of(place: Place, give_way: Callable[[], None] = lambda: None) -> Sealing:
    sealing = Sealing(
        place.deployment,
        load_signer(Path(place.deployment.log_key).read_text()),
        log=LogFiles(place.log),
        payloads=LogFiles(place.payloads),
        state=LogFiles(place.directory / "sealer"),
        tails=tails_of(place),
        give_way=give_way,
    )
    sealing.start()
    return sealing


# --- segments


@pytest.mark.slow
def test_a_body_larger_than_what_is_taken_at_once_is_sealed_whole_after_its_writer_ended(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data", segment_bytes=48 << 20)
    body = os.urandom(1 << 20) * 20
    write_and_seal(place, [a_draft(1, payloads=(Payload(part="request", body=body),)), a_draft(2)])
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert (report.problems, report.unknown, report.pending, report.opened) == ([], [], 0, 2)
    calls = [each.entry.call for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "call.intent"]
    assert calls == ["call-00000001", "call-00000002"]


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def opened_in(folder: Path) -> list[str]:
    """The names of the files in `folder` that this process has open."""
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if (path := descriptor.readlink()).is_relative_to(folder):
                names.append(path.name)
    return sorted(names)


@pytest.mark.parametrize("clean", [True, False])
def test_of_epochs_that_are_over_nothing_is_held_open(place: Place, clean: bool) -> None:
    """Each command leaves one, and a sealer that was away finds hundreds: it may have no more than 1,024 files open."""
    for _ in range(7):
        hand = SegmentHand(place.deployment, "cli", StillClock())
        hand.write(a_service_draft())
        hand.close(clean=clean)
    let_go(place.directory)
    segments = place.directory / "segments"
    sealing = sealing_of(place)
    assert sealing.take(look_for_ended=True) == 7
    assert len(list(segments.glob("*.seg"))) == 7
    # Nor does what follows open them again for good.
    sealing.take(look_for_ended=True)
    assert opened_in(segments) == []
    recovered = [draft.detail["taken_after_mark"] for draft in sealing.recoveries()]
    assert recovered == ([] if clean else [0] * 7), "the mark is known although its file is closed"
    sealing.seal(StillClock().now().unix_us)
    if clean:
        assert list(segments.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("waiting_bytes", [64 << 20, 1000], ids=["all at once", "a little at a time"])
def test_more_epochs_than_files_may_be_open_are_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting_bytes: int
) -> None:
    place = a_place(tmp_path / "data", segment_bytes=96 << 10)
    for number in range(150):
        hand = SegmentHand(place.deployment, "cli", StillClock())
        hand.write(a_service_draft())
        hand.close(clean=number % 2 == 0)
    let_go(place.directory)
    monkeypatch.setattr(sealing, "_WAITING_BYTES", waiting_bytes)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 60, before[1]))
    try:
        with RunningSealer(place):
            wait_until(lambda: list((place.directory / "segments").glob("cli-*")) == [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    written = [each.entry for each in reading.entries(LogFiles(place.log)) if each.entry.w.n == "cli"]
    assert len(written) == 150


@pytest.mark.slow
def test_a_sealer_holds_no_more_files_however_often_writers_end(place: Place) -> None:
    """Workers that are killed and started again, for as long as the sealer lives."""
    segments = place.directory / "segments"

    def end_one(clean: bool) -> None:
        hand = SegmentHand(place.deployment, "gate-0", StillClock())
        hand.write(a_service_draft())
        hand.close(clean=clean)
        wait_until(lambda: list(segments.glob("gate-0-*")) == [])

    with RunningSealer(place):
        held = []
        for clean in (True, False) * 4:
            end_one(clean)
            wait_until(lambda: not any(name.startswith("gate-0") for name in opened_in(segments)))
            held.append(descriptors())
    assert held[-1] <= held[0] + 3, "the sealer's own segments come and go"


def test_no_segment_goes_while_what_was_taken_from_it_is_not_signed(tmp_path: Path) -> None:
    """A sealer that is killed just then has nothing but the segment."""
    place = a_place(tmp_path / "data", segment_bytes=64 << 10)

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        body = os.urandom(8 << 10)
        for number in range(12):
            await ledger.record_intent(a_draft(number, payloads=(Payload(part="request", body=body),)))
        written = sorted((place.directory / "segments").glob("*.seg"))
        sealing = sealing_of(place)
        assert sealing.take(look_for_ended=False) >= 12
        sealing.tidy()
        assert all(segment.exists() for segment in written)
        assert sealing.seal(StillClock().now().unix_us)
        assert not written[0].exists()
        await ledger.close()

    asyncio.run(write())


def begun(place: Place, writer: str) -> None:
    """A new epoch of `writer`, whose making of more segments is over."""
    SegmentHand(place.deployment, writer, StillClock()).close()


def test_a_writer_that_begins_in_a_quiet_directory_is_seen(place: Place) -> None:
    begun(place, "cli")
    os.utime(place.directory / "segments", ns=(0, 1))
    tails = tails_of(place)
    assert [tail.writer for tail in tails.look()] == ["cli"]
    assert tails.look() is tails.look(), "a directory in which nothing changed is not listed again"
    begun(place, "supervisor")
    assert {tail.writer for tail in tails.look()} == {"cli", "supervisor"}


def test_a_directory_that_has_just_changed_is_listed_again(place: Place) -> None:
    """Two names made within one tick of the file system's clock leave one time."""
    begun(place, "cli")
    segments = place.directory / "segments"
    changed = segments.stat().st_mtime_ns
    tails = tails_of(place)
    tails.look()
    begun(place, "supervisor")
    os.utime(segments, ns=(changed, changed))
    assert {tail.writer for tail in tails.look()} == {"cli", "supervisor"}


def forged(place: Place, **wrong: object) -> None:
    """An entry of gate-0 whose payload frame says that it is of another writer, session or entry."""

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        compose = ledger._scribe.compose

        def forge(*arguments: object) -> Composed:
            frames, leaf = compose(*arguments)  # type: ignore[arg-type]
            return b"".join(_forged(stored, **wrong) for stored in apart(frames)), leaf

        ledger._scribe.compose = forge  # type: ignore[method-assign]
        await ledger.record_intent(a_draft(1))
        await ledger.close()

    asyncio.run(write())


def _forged(stored: bytes, **wrong: object) -> bytes:
    found = read_frame(stored, 0)
    assert found is not None and found.end == len(stored) > FRAME_BYTES
    if found.kind is not FrameKind.PAYLOAD:
        return stored
    at, content = read_stored_body(found.body)
    return frame(found.kind, stored_body(msgspec.structs.replace(at, **wrong), content))


@pytest.mark.parametrize("wrong", [{"writer": "gate-1"}, {"session": "ff" * 16}, {"sequence": 1 << 40}])
def test_a_payload_in_anothers_name_is_refused(place: Place, wrong: dict[str, object]) -> None:
    """It would say of the other's payloads that they are on the shelf already."""
    forged(place, **wrong)
    with pytest.raises(SealingRefused, match="a stored frame of another"):
        seal_once(place)


# --- recordings that are not as they were written


def recorded(place: Place, session: str = "ee" * 16, count: int = 40) -> Path:
    """The file of a session with so many recorded requests, sealed by a sealer whose memory is lost."""
    write_and_seal(place, [a_draft(number, session=session) for number in range(count)])
    (place.directory / "sealer" / "memory").unlink()
    return place.payloads / payload_frames.payload_name(session)


def with_a_bit_changed(file: Path, at: int) -> bytes:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)
    return bytes(raw)


def opened(recordings: reading.Recordings, entry: Entry) -> bytes | None:
    try:
        return recordings.open(entry, entry.pay[0])
    except PayloadError:
        return None


def frames_in(file: Path, session: str = "ee" * 16) -> list[tuple[str, int, int]]:
    with file.open("rb") as stored:
        return [(each.place.epoch, each.place.sequence, each.place.part) for each in sound(stored, session)]


def sound(stored: BinaryIO, session: str) -> list[payload_frames.Stored]:
    return list(payload_frames.sound_frames(stored, 0, bytes.fromhex(session)))


@pytest.mark.parametrize("at", [0, 5, 8, 12, 100, 1300], ids=["length", "crc", "kind", "session", "key", "payload"])
@pytest.mark.slow
def test_one_bit_that_rots_in_a_recording_costs_nothing_that_is_behind_it(place: Place, at: int) -> None:
    file = recorded(place)
    sound_before = frames_in(file)
    before = with_a_bit_changed(file, at)
    assert len(frames_in(file)) == len(sound_before) - 1 == 40
    write_and_seal(place, [a_draft(50, session="ee" * 16)])
    assert file.read_bytes().startswith(before)
    assert len(frames_in(file)) == 40 + 2, "and the key and the payload of the new entry"
    write_and_seal(place, [a_draft(51, session="ee" * 16)])
    assert len(frames_in(file)) == 40 + 4
    recordings = reading.Recordings(LogFiles(place.payloads), place.payload_key)
    asked = [each.entry for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "call.intent"]
    heard = [opened(recordings, entry) for entry in asked]
    assert heard[40:] == [b'{"amount":12,"order":"A-50"}', b'{"amount":12,"order":"A-51"}']
    assert heard.count(None) == (40 if at < 1200 else 1), (
        "without its key none of the first writer's, else all but the damaged one"
    )


@pytest.mark.slow
def test_a_recording_that_rots_is_told_of(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    file = recorded(place)
    with_a_bit_changed(file, 100)
    with RunningSealer(place):
        asyncio.run(written(place, [a_draft(50, session="ee" * 16)]))
        wait_until(lambda: "log.heartbeat" in [each.entry.ev for each in reading.entries(LogFiles(place.log))])
    beat = next(each.entry for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "log.heartbeat")
    name = f"payloads/ee/{'ee' * 16}.pay"
    assert (beat.out.ok, beat.x["broken"], beat.x["first_broken"]) == (False, 1, name)
    assert f'"event": "log.broken", "files": 1, "first": "{name}"' in capfd.readouterr().err


async def written(place: Place, drafts: list[Draft]) -> None:
    ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
    for draft in drafts:
        await ledger.record(draft)
    await ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("rotten", [False, True])
def test_frames_that_come_again_are_written_once_also_behind_a_bit_that_rots(place: Place, rotten: bool) -> None:
    """A sealer that is killed between the recordings and the signature."""
    file = recorded(place)
    if rotten:
        with_a_bit_changed(file, 100)
    sound_before = len(frames_in(file))
    asyncio.run(written(place, [a_draft(number, session="ee" * 16) for number in range(50, 60)]))
    for _ in range(2):
        dying = sealing_of(place)
        dying.take(look_for_ended=True)
        dying._standing.shelf.flush()
        let_go(place.directory)
    seal_once(place)
    found = frames_in(file)
    assert len(found) == len(set(found)) == sound_before + 11
    assert rotten or verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


@pytest.mark.slow
def test_what_a_power_loss_left_of_the_last_append_is_written_again_whole(place: Place) -> None:
    """Its first sectors are lost and later ones are there: none of it is in the log, and all comes again."""
    file = recorded(place)
    end = file.stat().st_size
    asyncio.run(written(place, [a_draft(number, session="ee" * 16) for number in range(50, 60)]))
    dying = sealing_of(place)
    dying.take(look_for_ended=True)
    dying._standing.shelf.flush()
    let_go(place.directory)
    with_a_bit_changed(file, end + 50)
    seal_once(place)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert (report.problems, report.unknown, report.pending, report.opened) == ([], [], 0, 50)


# --- a log that is not as it was signed


def gone(log: Path) -> str:
    (log / "tile/entries/000").unlink()
    return "tile/entries/000"


def with_a_byte_changed(log: Path) -> str:
    with_a_bit_changed(log / "tile/entries/000", 2)
    return "tile/entries/000"


def with_another_word(log: Path) -> str:
    """A sound entry, and another one than was signed."""
    bundle = log / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"refund"', b'"refunb"', 1))
    return "tile/entries/001"


def with_another_word_and_its_hash(log: Path) -> str:
    name = with_another_word(log)
    leaves = split_bundle((log / name).read_bytes(), 256)
    (log / "tile/0/001").write_bytes(b"".join(map(leaf_hash, leaves)))
    return "tile/0/001"


def with_junk_behind(log: Path) -> str:
    size = reading.head(LogFiles(log)).size
    junk = log / f"tile/entries/002.p/{size % 256 + 1}"
    junk.write_bytes(b"junk")
    return str(junk.relative_to(log))


def with_no_entry_behind(log: Path) -> str:
    size = reading.head(LogFiles(log)).size
    last = split_bundle((log / f"tile/entries/002.p/{size % 256}").read_bytes(), size % 256)
    (log / f"tile/entries/002.p/{size % 256 + 1}").write_bytes(join_bundle([*last, b"{}"]))
    return "in no segment"


HARMS = [
    gone,
    with_a_byte_changed,
    with_another_word,
    with_another_word_and_its_hash,
    with_junk_behind,
    with_no_entry_behind,
]


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
def test_a_sealer_that_must_read_what_is_not_as_it_was_signed_says_which_file_and_signs_nothing(
    place: Place, harm: Callable[[Path], str]
) -> None:
    write_and_seal(place, [a_draft(number) for number in range(600)])
    (place.directory / "sealer/memory").unlink()
    shutil.copytree(place.log, place.directory / "copy")
    name = harm(place.log)
    before = {file: file.read_bytes() for file in place.log.rglob("*") if file.is_file()}
    with pytest.raises(SealingRefused, match=name):
        seal_once(place)
    assert {file: file.read_bytes() for file in place.log.rglob("*") if file.is_file()} == before
    shutil.rmtree(place.log)
    (place.directory / "copy").rename(place.log)
    seal_once(place)
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS[:4])
def test_what_the_sealer_remembers_it_need_not_read(place: Place, harm: Callable[[Path], str]) -> None:
    """Nobody shall end all calls by a byte in an old file. The sealer's rounds name it, and so does verify."""
    write_and_seal(place, [a_draft(number) for number in range(600)])
    harm(place.log)
    seal_once(place)
    assert not verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).intact


def planted(log: Path, leaf: bytes) -> Path:
    """The newest bundle with one more entry, which nobody signed."""
    size = reading.head(LogFiles(log)).size
    bundle = log / f"tile/entries/000.p/{size + 1}"
    bundle.write_bytes(join_bundle([*(leaf for _, leaf in reading.leaves(LogFiles(log), 0, size)), leaf]))
    return bundle


def test_an_entry_that_no_writer_wrote_is_not_signed(place: Place) -> None:
    """Whoever can write there has no key: the sealer would have signed for him."""
    write_and_seal(place, [a_service_draft()], writer="supervisor")
    nobody = MemoryLedger()
    asyncio.run(nobody.record(a_service_draft()))
    bundle = planted(place.log, nobody.leaves[0])
    with pytest.raises(SealingRefused, match="in no segment and were not about to be signed"):
        seal_once(place)
    bundle.unlink()
    seal_once(place)
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_a_segment_that_holds_no_entry_is_named_where_it_is_looked_through(place: Place) -> None:
    write_and_seal(place, [a_service_draft()], writer="supervisor")
    planted(place.log, b"{}")
    chain = SegmentChain(
        place.directory / "segments", "cli", "01a2000000000badc0de", segment_bytes=64 << 10, largest_frame=9 << 10,
        published_size=lambda: 0, sequence=lambda: 0,
    )  # fmt: skip
    chain.append([frame(FrameKind.LEAF, b"{}")])
    chain.close(clean=True)
    with pytest.raises(SealingRefused, match="cli 01a2000000000badc0de wrote what is no entry"):
        seal_once(place)


@pytest.mark.parametrize("memory", [True, False])
def test_an_entry_that_is_signed_already_or_before_its_turn_is_not_signed(place: Place, memory: bool) -> None:
    """Those before it would be passed over, as if they were in the log."""

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "supervisor", place.deployment, StillClock())
        for _ in range(3):
            await ledger.record(a_service_draft())
        await asyncio.to_thread(seal_once, place)
        if not memory:
            (place.directory / "sealer/memory").unlink()
        for _ in range(3):
            await ledger.record(a_service_draft())
        (tail,) = tails_of(place).look()
        held = list(tail.held())
        assert len(held) == 6
        for wrong in (held[2], held[4]):
            bundle = planted(place.log, wrong)
            with pytest.raises(SealingRefused, match="where 4 is due"):
                await asyncio.to_thread(seal_once, place)
            bundle.unlink()
        planted(place.log, held[3])
        await asyncio.to_thread(seal_once, place)
        await ledger.close()

    asyncio.run(write())
    seal_once(place)
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_the_first_entry_of_an_epoch_is_not_signed_after_a_later_one(place: Place) -> None:
    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "supervisor", place.deployment, StillClock())
        await asyncio.to_thread(seal_once, place)
        for _ in range(2):
            await ledger.record(a_service_draft())
        (tail,) = tails_of(place).look()
        planted(place.log, [*tail.held()][1])
        with pytest.raises(SealingRefused, match="wrote 2 where 1 is due"):
            await asyncio.to_thread(seal_once, place)
        await ledger.close()

    asyncio.run(write())


# --- files of the log


def test_no_name_leads_to_bytes_that_could_not_be_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFiles(tmp_path)
    files = [(f"tile/entries/{number:03d}", b"%d" % number) for number in range(40)]
    fails = 23
    fsync = os.fsync

    class Failing:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def fsync(self, descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").readlink().name == f"{fails:03d}.tmp":
                raise OSError(errno.EIO, "the test's disk failed")
            fsync(descriptor)

    monkeypatch.setattr(log_files, "os", Failing())
    with pytest.raises(OSError, match="the test's disk failed"):
        log.write_once(files)
    assert list(log.names()) == []
    monkeypatch.undo()
    log.write_once(files)
    assert {name: log.read(name) for name in log.names()} == dict(files)


def test_between_files_others_may_go_first(tmp_path: Path) -> None:
    steps: list[str] = []
    files = LogFiles(tmp_path / "log", give_way=lambda: steps.append("step"))
    three = [(f"tile/{number}", b"x") for number in range(3)]
    for write in (files.write_once, files.write_in_order):
        write([(f"{write.__name__}/{name}", content) for name, content in three])
        assert len(steps) >= 2 * len(three), "after each one's bytes, and after each one's name"
        steps.clear()
    files.append([(name, 0, content) for name, content in three])
    assert len(steps) >= len(three)


def test_the_bytes_of_a_large_file_are_told_a_little_at_a_time(tmp_path: Path) -> None:
    told: list[int] = []
    files = LogFiles(tmp_path / "log", written=told.append)
    content = bytes(range(256)) * 2000
    files.write_once([("bundle", content), ("tile", b"x")])
    files.append([("payload", 0, content), ("other", 0, b"y")])
    files.append([("payload", len(content), content)])
    assert sum(told) == 3 * len(content) + 2
    assert max(told) <= 256 << 10 < len(content)
    assert files.read("bundle") == content
    assert files.read("payload") == 2 * content


def test_between_entries_others_may_go_first(place: Place) -> None:
    steps: list[str] = []

    async def write() -> int:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        for number in range(12):
            await ledger.record_intent(a_draft(number))
        taken = sealing_of(place, lambda: steps.append("step")).take(look_for_ended=False)
        await ledger.close()
        return taken

    assert asyncio.run(write()) == len(steps) >= 12


def test_a_name_never_changes_its_bytes(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    files = [(f"{number:03d}", b"one") for number in range(200)]
    log.write_once(files)
    log.write_once(files)
    with pytest.raises(FileExistsError, match="150 exists with other bytes"):
        log.write_once([*files[:150], ("150", b"two"), *files[151:]])
    assert sorted(log.names()) == [name for name, _ in files]
    assert {log.read(name) for name, _ in files} == {b"one"}


def test_what_is_appended_begins_where_it_is_told_to(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    files.append([(f"{number:02x}/a", 0, b"whole and torn") for number in range(150)])
    files.append([(f"{number:02x}/a", 5, b"!") for number in range(150)])
    assert {files.read(name) for name in files.names()} == {b"whole!"}
    assert len(list(files.names())) == 150


def test_what_a_sealer_was_writing_when_it_died_is_cleared_away(place: Place) -> None:
    write_and_seal(place, [a_service_draft()] * 300, writer="supervisor")
    size = reading.head(LogFiles(place.log)).size
    assert size > 256
    names = (
        "checkpoint",
        "checkpoints/400",
        "tile/0/001",
        "tile/entries/001.p/99",
        "tile/entries/003.p/7",
        "tile/1/000.p/2",
    )
    for name in names:
        leftover = place.log / f"{name}.tmp"
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(b"half")
    seal_once(place)
    assert list(place.log.rglob("*.tmp")) == []
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


# --- the archive of checkpoints


def test_checkpoints_older_than_an_hour_are_thinned_to_one_a_minute_and_all_newer_ones_are_kept(place: Place) -> None:
    seal_once(place)
    older = archived(place)
    sealing = sealing_of(place)
    clock = StillClock()
    hand = SegmentHand(place.deployment, "supervisor", clock)
    made: list[tuple[int, int]] = []

    def seal_at(now_us: int) -> None:
        hand.write(a_service_draft())
        sealing.take(look_for_ended=False)
        assert sealing.seal(now_us)
        made.append((sealing.signed, now_us))

    begin = clock.unix_us
    for second in range(0, 150, 10):
        seal_at(begin + second * SECOND_US)
    assert archived(place) == older | {size for size, _ in made}, "nothing goes within the hour"
    seal_at(begin + HOUR_US + 100 * SECOND_US)
    hand.close()
    whole = {size for size, at in made if at >= begin + 100 * SECOND_US}
    minutes = {size for size, at in made if (at - begin) // SECOND_US in (0, 60, 120)}
    assert archived(place) == older | whole | minutes
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_a_clock_that_jumps_thins_nothing_that_is_newest(place: Place) -> None:
    seal_once(place)
    sealing = sealing_of(place)
    hand = SegmentHand(place.deployment, "supervisor", StillClock())
    for jump in (0, 1, -5 * HOUR_US, 90 * HOUR_US, 90 * HOUR_US + 1, 0):
        hand.write(a_service_draft())
        sealing.take(look_for_ended=False)
        sealing.seal(StillClock().unix_us + jump)
        assert sealing.signed in archived(place)
        assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []
    hand.close()


def archived(place: Place) -> set[int]:
    return {int(file.name) for file in (place.log / "checkpoints").iterdir()}
