"""Payloads: sealed for one place, opened by one key, and exactly what the entry committed to."""

import hashlib
import hmac
import io
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.ledger import payload
from gatebook.ledger.framing import FrameKind, frame
from gatebook.ledger.payload import PayloadError, Place
from gatebook.ledger.payload_frames import sound_frames
from gatebook.model.secret import Secret

PLACE = Place("ab" * 16, "gate-0", "0" * 20, 7, 1, 0, 1)
PLACE_NAMES = (PLACE.session, PLACE.writer, PLACE.epoch)
SALT = b"s" * 32


def sealed(body: bytes = b"masked") -> tuple[Secret[bytes], bytes, payload.Pay]:
    data_key = Secret(os.urandom(32))
    key = payload.SessionKey(data_key, "0" * 16, *PLACE_NAMES)
    stored, pay = key.seal(SALT, "request", body, PLACE.sequence, PLACE.part)
    return data_key, stored, pay


def test_keys_are_one_line_and_read_back() -> None:
    private, public = payload.generate_key_pair()
    assert private.count(b"\n") == public.count(b"\n") == 1
    wrapped = payload.wrap_data_key(Secret(b"k" * 32), payload.load_public_key(public.decode()), *PLACE_NAMES)
    assert payload.open_data_key(wrapped, payload.load_private_key(private.decode()), PLACE).reveal() == b"k" * 32


def test_a_data_key_is_bound_to_its_session_and_writer() -> None:
    private, public = payload.generate_key_pair()
    wrapped = payload.wrap_data_key(Secret(b"k" * 32), payload.load_public_key(public.decode()), *PLACE_NAMES)
    for changed in ({"session": "cd" * 16}, {"writer": "gate-1"}, {"epoch": "1" * 20}):
        with pytest.raises(PayloadError):
            payload.open_data_key(
                wrapped, payload.load_private_key(private.decode()), msgspec.structs.replace(PLACE, **changed)
            )


@pytest.mark.parametrize(
    "text", ["", "PAYLOAD+PUBLIC+x", "PAYLOAD+PRIVATE+00000000+AAAA", "PAYLOAD+PUBLIC+00000000+****"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(PayloadError):
        payload.load_public_key(text)
    with pytest.raises(PayloadError):
        payload.load_private_key(text)


def test_a_key_with_another_id_is_refused() -> None:
    private, public = (key.decode() for key in payload.generate_key_pair())
    for text, load in ((private, payload.load_private_key), (public, payload.load_public_key)):
        parts = text.split("+", 3)
        with pytest.raises(PayloadError, match="id"):
            load("+".join((*parts[:2], "00000000", parts[3])))  # type: ignore[operator]


def test_the_entry_commits_to_the_plaintext_and_to_the_stored_bytes() -> None:
    data_key, stored, pay = sealed(b"masked")
    assert pay.c == hmac.digest(SALT, b"masked", "sha256").hex()
    assert pay.x == hashlib.sha256(stored).hexdigest()
    assert pay.bytes == 6
    assert b"masked" not in stored
    assert payload.open_sealed(stored, data_key, pay, PLACE) == b"masked"


@pytest.mark.parametrize("field", ["session", "writer", "epoch", "sequence", "part"])
def test_a_payload_opens_only_in_its_place(field: str) -> None:
    data_key, stored, pay = sealed()
    other = {"session": "cd" * 16, "writer": "gate-1", "epoch": "1" * 20, "sequence": 8, "part": 0}[field]
    with pytest.raises(PayloadError):
        payload.open_sealed(stored, data_key, pay, msgspec.structs.replace(PLACE, **{field: other}))


def test_another_commitment_or_another_byte_is_refused() -> None:
    data_key, stored, pay = sealed()
    for wrong in ({"c": "0" * 64}, {"x": "0" * 64}, {"bytes": 5}, {"part": "response"}):
        with pytest.raises(PayloadError):
            payload.open_sealed(stored, data_key, msgspec.structs.replace(pay, **wrong), PLACE)
    with pytest.raises(PayloadError):
        payload.open_sealed(stored[:-1] + bytes([stored[-1] ^ 1]), data_key, pay, PLACE)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.integers(1, 2**40), st.integers(0, 9))
def test_what_a_session_key_seals_opens_by_its_entry(salt: bytes, body: bytes, sequence: int, part: int) -> None:
    data_key = Secret(b"k" * 32)
    stored, pay = payload.SessionKey(data_key, "0" * 16, *PLACE_NAMES).seal(salt, "event", body, sequence, part)
    place = msgspec.structs.replace(PLACE, sequence=sequence, part=part)
    assert payload.open_sealed(stored, data_key, pay, place) == body
    assert pay.c == hmac.digest(salt, body, "sha256").hex()


def test_a_session_key_says_the_place_as_a_stored_frame_has_it() -> None:
    key = payload.SessionKey(Secret(b"k" * 32), "0" * 16, *PLACE_NAMES)
    place = msgspec.structs.replace(PLACE, piece=2, pieces=5)
    assert key.place(7, 1, 2, 5) + b"content" == payload.stored_body(place, b"content")


def test_a_stored_frame_says_its_place() -> None:
    assert payload.read_stored_body(payload.stored_body(PLACE, b"content")) == (PLACE, b"content")
    for length in range(30):
        with pytest.raises(PayloadError):
            payload.read_stored_body(payload.stored_body(PLACE, b"")[:length])


def test_a_file_full_of_what_begins_like_a_frame_takes_linear_time(tmp_path: Path) -> None:
    """Every 25 bytes it says that a frame of a megabyte begins: each would have to be summed up."""
    session = bytes.fromhex("ee" * 16)
    head = (1 << 20).to_bytes(4, "little") + bytes(4) + bytes([FrameKind.PAYLOAD]) + session
    file = tmp_path / "hostile.pay"
    file.write_bytes(head * ((4 << 20) // len(head)))
    reads = 0

    class Counting(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal reads
            found = super().read(size)
            reads += len(found)
            return found

    with Counting(io.FileIO(file)) as stored, pytest.raises(PayloadError, match="damaged throughout"):
        list(sound_frames(stored, 0, session))
    assert reads < 64 * 2**20 + 20 * file.stat().st_size


def test_damage_in_thousands_of_frames_hides_none_of_the_others(tmp_path: Path) -> None:
    places = [msgspec.structs.replace(PLACE, sequence=number, part=0) for number in range(6000)]
    stored = [bytearray(frame(FrameKind.PAYLOAD, payload.stored_body(place, b"sealed"))) for place in places]
    for each in stored[::2]:
        each[-1] ^= 1
    file = tmp_path / "rotten.pay"
    file.write_bytes(b"".join(stored))
    with file.open("rb") as rotten:
        assert [each.place for each in sound_frames(rotten, 0, bytes.fromhex(PLACE.session))] == places[1::2]


@pytest.mark.parametrize("session", ["00" * 16, "ee" * 16])
@pytest.mark.parametrize("lost", [1, 24, 25, 26, 65_536 - 60, 65_536, 500_000])
def test_frames_behind_sectors_that_are_lost_are_found_whatever_the_session_is_named(
    session: str, lost: int, tmp_path: Path
) -> None:
    places = [msgspec.structs.replace(PLACE, session=session, sequence=number, part=0) for number in range(1, 4)]
    one, two, three = (frame(FrameKind.PAYLOAD, payload.stored_body(place, b"sealed")) for place in places)
    file = tmp_path / "torn.pay"
    file.write_bytes(one + bytes(lost) + two + b"torn" + three + three[:-1])
    with file.open("rb") as stored:
        found = list(sound_frames(stored, 0, bytes.fromhex(session)))
        assert [each.place for each in found] == places
        assert [file.read_bytes()[each.start : each.end] for each in found] == [one, two, three]
        assert list(sound_frames(stored, found[0].end, bytes.fromhex(session))) == found[1:]
