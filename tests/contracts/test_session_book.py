"""ports.SessionBook: the shared map, seen from one process and from several."""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.adapters.sessions_shared import SLOT_BYTES, SharedSessions
from gatebook.identity.sessions import session_key
from gatebook.model.deployment import Limits

START_US = 1_795_000_000_000_000
IDLE_US = 900_000_000
ABSOLUTE_US = 28_800_000_000
KEY = b"k" * 16


@pytest.fixture
def book(tmp_path: Path) -> Iterator[SharedSessions]:
    made = SharedSessions(tmp_path / "sessions.map", Limits())
    yield made
    made.close()


def test_a_login_stays_in_its_session_while_it_is_not_idle(book: SharedSessions) -> None:
    session = book.touch(KEY, START_US)
    assert len(bytes.fromhex(session)) == 16
    assert {book.touch(KEY, START_US + step * (IDLE_US - 1)) for step in range(10)} == {session}


def test_an_idle_login_gets_another_session(book: SharedSessions) -> None:
    session = book.touch(KEY, START_US)
    assert book.touch(KEY, START_US + IDLE_US) != session


def test_a_session_that_another_worker_opened_anew_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    here, there = (SharedSessions(tmp_path / "sessions.map", Limits()) for _ in range(2))
    first = [here.touch(KEY, START_US + step) for step in range(3)]
    second = there.touch(KEY, START_US + 2 * IDLE_US)
    assert len({*first, second}) == 2
    assert here.touch(KEY, START_US + 2 * IDLE_US + 1) == second
    here.close()
    there.close()


def test_no_session_lasts_longer_than_allowed(book: SharedSessions) -> None:
    session, now = book.touch(KEY, START_US), START_US
    while now < START_US + ABSOLUTE_US - IDLE_US:
        now += IDLE_US // 2
        assert book.touch(KEY, now) == session
    assert book.touch(KEY, START_US + ABSOLUTE_US) != session


def test_a_clock_that_went_back_ends_no_session(book: SharedSessions) -> None:
    session = book.touch(KEY, START_US)
    assert book.touch(KEY, START_US - 3_600_000_000) == session


def test_logins_do_not_share_sessions(book: SharedSessions) -> None:
    keys = [os.urandom(16) for _ in range(2_000)]
    sessions = [book.touch(key, START_US) for key in keys]
    assert len(set(sessions)) == len(keys)
    assert [book.touch(key, START_US + 1) for key in keys] == sessions


def test_sessions_survive_a_restart(tmp_path: Path) -> None:
    first = SharedSessions(tmp_path / "sessions.map", Limits())
    session = first.touch(KEY, START_US)
    first.close()
    second = SharedSessions(tmp_path / "sessions.map", Limits())
    assert second.touch(KEY, START_US + 1) == session
    second.close()


def test_a_full_neighbourhood_gives_up_the_one_seen_longest_ago(tmp_path: Path) -> None:
    book = SharedSessions(tmp_path / "small.map", Limits(), slots=32)
    keys = [bytes([number]) * 16 for number in range(33)]
    sessions = [book.touch(key, START_US + number) for number, key in enumerate(keys)]
    assert len(set(sessions)) == 33
    assert [book.touch(key, START_US + 100) for key in keys[1:]] == sessions[1:]
    assert book.touch(keys[0], START_US + 101) != sessions[0]
    book.close()


def _of(subject: str, login: int, *, job: bool = False) -> bytes:
    return session_key("https://idp.example", subject, "agent", f"sid:{login}", "payments", job=job)


@pytest.mark.parametrize("job", [True, False], ids=["the jobs of one issuer", "one caller"])
def test_whoever_has_the_most_sessions_makes_room_and_nobody_else(tmp_path: Path, job: bool) -> None:
    told: list[int] = []
    book = SharedSessions(tmp_path / "small.map", Limits(), slots=32, tell=told.append)
    people = [_of(f"person {number}", 0) for number in range(5)]
    sessions = [book.touch(key, START_US + number) for number, key in enumerate(people)]
    many = [_of(f"repository {number}" if job else "mallory", number, job=job) for number in range(2_000)]
    for number, key in enumerate(many):
        book.touch(key, START_US + 1_000 + number)
    assert [book.last_seen_us(key) for key in people] == [START_US + number for number in range(5)]
    assert [book.touch(key, START_US + 5_000) for key in people] == sessions
    assert sum(book.last_seen_us(key) is not None for key in many) == 32 - len(people)
    newcomer = _of("the last to come", 0)
    assert book.touch(newcomer, START_US + 6_000) == book.touch(newcomer, START_US + 6_001)
    assert [book.touch(key, START_US + 7_000) for key in people] == sessions
    assert told == [1]
    book.close()
    assert sum(told) == len(many) - (32 - len(people)) + 1


def test_where_everybody_has_one_session_the_one_seen_longest_ago_is_given_up(tmp_path: Path) -> None:
    book = SharedSessions(tmp_path / "small.map", Limits(), slots=32)
    people = [_of(f"person {number}", 0) for number in range(33)]
    for number, key in enumerate(people):
        book.touch(key, START_US + number)
    assert [book.last_seen_us(key) for key in people] == [None, *(START_US + number for number in range(1, 33))]
    book.close()


def test_a_map_of_an_earlier_build_goes_on_and_its_sessions_are_no_crowd(tmp_path: Path) -> None:
    book = SharedSessions(tmp_path / "small.map", Limits(), slots=32)
    people, jobs = [_of(f"person {number}", 0) for number in range(30)], [_of("job", n, job=True) for n in range(9)]
    # It wrote nothing where it now stands whose a session is, and found sessions by the first sixteen bytes.
    sessions = [book.touch(key[:16], START_US) for key in people]
    for key in jobs:
        book.touch(key, START_US + 1)
    assert [book.touch(key, START_US + 2) for key in people] == sessions
    book.close()


@given(st.binary(min_size=SLOT_BYTES, max_size=SLOT_BYTES))
def test_a_torn_slot_is_never_believed(tmp_path_factory: pytest.TempPathFactory, torn: bytes) -> None:
    path = tmp_path_factory.mktemp("torn") / "sessions.map"
    path.write_bytes(torn * 32)
    book = SharedSessions(path, Limits(), slots=32)
    session = book.touch(KEY, START_US)
    assert book.touch(KEY, START_US + 1) == session
    assert session != torn[16:32].hex()
    book.close()


def _touch_all(work: tuple[str, list[bytes]]) -> list[str]:
    path, keys = work
    book = SharedSessions(Path(path), Limits())
    found = [book.touch(key, START_US + number) for number, key in enumerate(keys)]
    book.close()
    return found


@pytest.mark.slow
def test_processes_that_meet_a_login_at_once_agree_on_its_session(tmp_path: Path) -> None:
    path = tmp_path / "sessions.map"
    SharedSessions(path, Limits()).close()
    keys = [os.urandom(16) for _ in range(500)]
    pool: Pool
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        results = pool.map(_touch_all, [(str(path), keys)] * 4, chunksize=1)
    assert results[0] == results[1] == results[2] == results[3]
    assert len(set(results[0])) == len(keys)
