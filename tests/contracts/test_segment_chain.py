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
from gatebook.ledger.framing import HEADER_BYTES, FrameKind, frame, segment_name

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


@pytest.mark.parametrize(
    ("error", "grows"), [(errno.EOPNOTSUPP, True), (errno.ENOSPC, False)], ids=["not known here", "disk full"]
)
def test_a_file_system_that_sets_nothing_apart(
    chain: SegmentChain, monkeypatch: pytest.MonkeyPatch, error: int, grows: bool
) -> None:
    def refused(descriptor: int, offset: int, count: int) -> None:
        raise OSError(error, "the test's disk")

    until(lambda: len(chain._spares) == 2)
    monkeypatch.setattr(os, "posix_fallocate", refused)
    hurry(chain, monkeypatch)
    if grows:
        until(lambda: len(chain._spares) + len(chain._held) == 4)
    else:
        time.sleep(0.2)
        assert len(chain._spares) + len(chain._held) == 3, "no segment for whose bytes there is no room"


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
