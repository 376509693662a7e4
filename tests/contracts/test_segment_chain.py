"""What a writer does with a segment that the sealer took away."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatebook.adapters.ledger_segment import chain as chain_module
from gatebook.adapters.ledger_segment.chain import SegmentChain
from gatebook.ledger.framing import HEADER_BYTES, FrameKind, frame, read_frames, segment_name

WRITER, EPOCH = "gate-0", "01a2000000000badc0de"
SEGMENT_BYTES, FRAME = 3 << 20, frame(FrameKind.LEAF, b"x" * 60_000)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[SegmentChain]:
    made = SegmentChain(
        tmp_path, WRITER, EPOCH, segment_bytes=SEGMENT_BYTES, largest_frame=len(FRAME), published_size=lambda: 0, sequence=lambda: 0
    )  # fmt: skip
    yield made
    made.close(clean=True)


@pytest.fixture
def turned(tmp_path: Path, chain: SegmentChain) -> Path:
    """The first segment of a writer that has gone on to its second, and has two spares."""
    for _ in range(SEGMENT_BYTES // len(FRAME) + 1):
        until(lambda: chain.admit(len(FRAME)))
        chain.append([FRAME])
    chain.sync()
    chain.publish()
    until(lambda: len(chain._spares) == 2)
    return tmp_path / segment_name(WRITER, EPOCH, 1)


def test_frames_given_together_are_parted_where_a_segment_ends(tmp_path: Path, chain: SegmentChain) -> None:
    """And nowhere but between two of them; the last one of each segment says that another one follows."""
    given = [frame(FrameKind.PAYLOAD, b"%03d" % number * 18_000) for number in range(130)]
    for first in range(0, len(given), 8):
        until(lambda: chain.admit(8 * len(given[0])))
        chain.append([b"".join(given[first : first + 3]), b"".join(given[first + 3 : first + 8])])
    chain.sync()
    stored: list[bytes] = []
    for number in range(1, chain._current.number + 1):
        data = (tmp_path / segment_name(WRITER, EPOCH, number)).read_bytes()
        found = list(read_frames(data, HEADER_BYTES))
        assert not any(data[found[-1].end :])
        assert (found[-1].kind is FrameKind.TURN) is (number < chain._current.number)
        stored += [frame(each.kind, each.body) for each in found if each.kind is not FrameKind.TURN]
    assert chain._current.number > 2
    assert stored == given


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def unlocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_what_is_nobodys_any_more_is_freed_before_it_is_closed(turned: Path) -> None:
    descriptor = os.open(turned, os.O_RDONLY)
    try:
        assert not unlocked(descriptor)
        turned.unlink()
        until(lambda: unlocked(descriptor))
        assert os.fstat(descriptor).st_size == 0
    finally:
        os.close(descriptor)


def test_what_has_a_name_elsewhere_is_closed_as_it_is(turned: Path) -> None:
    before = turned.read_bytes()
    elsewhere = turned.with_name("elsewhere")
    elsewhere.hardlink_to(turned)
    turned.unlink()
    descriptor = os.open(elsewhere, os.O_RDONLY)
    try:
        until(lambda: unlocked(descriptor))
    finally:
        os.close(descriptor)
    assert elsewhere.read_bytes() == before


def test_what_cannot_be_freed_is_closed_all_the_same(turned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int, size: int) -> None:
        raise OSError(errno.EIO, "the test's disk failed")

    descriptor = os.open(turned, os.O_RDONLY)
    try:
        monkeypatch.setattr(os, "ftruncate", refused)
        turned.unlink()
        until(lambda: unlocked(descriptor))
        assert os.fstat(descriptor).st_size == SEGMENT_BYTES
    finally:
        os.close(descriptor)


def test_who_has_no_spare_takes_no_time_to_free_anything(
    turned: Path, chain: SegmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: SegmentChain, path: Path) -> int:
        raise OSError(errno.ENOSPC, "the test's disk is full")

    monkeypatch.setattr(SegmentChain, "_made", full)
    descriptor = os.open(turned, os.O_RDONLY)
    try:
        while chain._spares:
            assert chain.admit(len(FRAME))
            chain.append([FRAME])
        chain.sync()
        turned.unlink()
        until(lambda: unlocked(descriptor))
        assert os.fstat(descriptor).st_size == SEGMENT_BYTES
    finally:
        os.close(descriptor)


def hurry(written: SegmentChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two segments within less than the time in which one is filled with zeros beside commits, however slow this machine is."""
    monkeypatch.setattr(chain_module, "_GENTLE_S", 10.0)
    for _ in range(2 * SEGMENT_BYTES // len(FRAME)):
        until(lambda: written.admit(len(FRAME)))
        written.append([FRAME])


def test_a_writer_in_a_hurry_gets_room_that_nobody_writes_zeros_into(
    tmp_path: Path, chain: SegmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_apart, asked = os.posix_fallocate, list[tuple[int, int]]()

    def counted(descriptor: int, offset: int, count: int) -> None:
        asked.append((offset, count))
        set_apart(descriptor, offset, count)

    until(lambda: len(chain._spares) == 2)
    monkeypatch.setattr(os, "posix_fallocate", counted)
    hurry(chain, monkeypatch)
    until(lambda: len(chain._spares) + len(chain._held) == 4)
    assert asked
    assert {offset + count for offset, count in asked} == {SEGMENT_BYTES}
    last = chain._spares[-1].path
    assert last.stat().st_blocks * 512 >= SEGMENT_BYTES
    assert set(last.read_bytes()[HEADER_BYTES:]) == {0}


def test_a_writer_that_takes_its_time_gets_zeros(
    tmp_path: Path, chain: SegmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: pytest.fail("no need to set anything apart"))
    for _ in range(2 * SEGMENT_BYTES // len(FRAME)):
        until(lambda: chain.admit(len(FRAME)))
        chain.append([FRAME])
        time.sleep(0.003)
    until(lambda: len(chain._spares) + len(chain._held) == 4)
    assert not chain._hurried


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.ENOSPC])
def test_where_nothing_can_be_set_apart_zeros_are_written(
    chain: SegmentChain, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refused(descriptor: int, offset: int, count: int) -> None:
        raise OSError(error, "the test's disk")

    until(lambda: len(chain._spares) == 2)
    monkeypatch.setattr(os, "posix_fallocate", refused)
    hurry(chain, monkeypatch)
    until(lambda: len(chain._spares) + len(chain._held) == 4)


def test_no_room_is_lost_from_one_segment_to_the_next(tmp_path: Path) -> None:
    """A hundred segments, in each of which the last frame does not fit where another one would: what is admitted at the end is what was at first."""
    made = SegmentChain(
        tmp_path, WRITER, EPOCH, segment_bytes=256 << 10, largest_frame=80_000, published_size=lambda: 0, sequence=lambda: 0
    )  # fmt: skip
    try:
        until(lambda: len(made._spares) == 2)
        first = made._capacity
        for number in range(100 * 6):
            stored = frame(FrameKind.LEAF, b"x" * (30_000 + 7_919 * number % 45_000))
            until(lambda stored=stored: made.admit(len(stored)))  # type: ignore[misc]
            made.append([stored])
            made.sync()
            made.publish()
            for segment in made._held[:-1]:
                segment.path.unlink(missing_ok=True)  # as the sealer does
        assert made._current.number > 80
        until(lambda: len(made._spares) == 2)
        begun = made._offset - HEADER_BYTES
        assert made._capacity == first - begun
    finally:
        made.close(clean=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for another user")
@pytest.mark.parametrize("there", [True, False], ids=["in his folder", "and the folder too"])
def test_what_root_records_belongs_to_the_folders_owner(tmp_path: Path, there: bool) -> None:
    """Who is the sealer, and could not read it otherwise."""
    segments = tmp_path / "data" / "segments"
    (segments if there else segments.parent).mkdir(parents=True)
    for each in (segments.parent, segments) if there else (segments.parent,):
        os.chown(each, 61000, 61001)
    made = SegmentChain(
        segments, "cli", EPOCH, segment_bytes=SEGMENT_BYTES, largest_frame=len(FRAME), published_size=lambda: 0, sequence=lambda: 0
    )  # fmt: skip
    try:
        until(lambda: len(made._spares) == 2)
        found = [segments, *segments.iterdir()]
        assert len(found) == 5
        assert {(each.stat().st_uid, each.stat().st_gid) for each in found} == {(61000, 61001)}
        assert {each.stat().st_mode & 0o777 for each in found[1:]} == {0o600}
    finally:
        made.close(clean=True)
