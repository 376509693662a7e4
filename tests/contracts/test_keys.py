"""The contract of KeySource, for each adapter."""

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gatebook.adapters.keys_file import KeyFiles
from gatebook.adapters.keys_oidc import KeySource, OidcKeys
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import MAX_BYTES
from gatebook.model.deployment import Issuer
from tests import issuing
from tests.faults.key_server import key_server, response

SET = json.dumps(issuing.Issuer().jwks()).encode()


class Place(NamedTuple):
    """A source, an issuer of its kind, and how that issuer's bytes are set; None takes them away."""

    source: KeySource
    issuer: Issuer
    hold: Callable[[bytes | None], None]


@pytest.fixture(params=["oidc", "file"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "file":
        file = tmp_path / "jwks.json"

        def write(raw: bytes | None) -> None:
            file.unlink(missing_ok=True) if raw is None else file.write_bytes(raw)

        yield Place(KeyFiles(), issuing.Issuer(jwks_file=str(file)).model, write)
        return
    async with key_server() as server:

        def answer(raw: bytes | None) -> None:
            server.publish({})
            server.answers["/jwks"] = response(b"", "404 Not Found") if raw is None else response(raw)

        yield Place(OidcKeys("dev"), server.issuer(), answer)


async def test_the_bytes_are_given_as_they_are(place: Place) -> None:
    for raw in (SET, b"", b"\x00\xff no set at all", b" " * MAX_BYTES):
        place.hold(raw)
        assert await place.source.fetch(place.issuer) == raw


async def test_what_is_not_there_is_refused(place: Place) -> None:
    place.hold(None)
    with pytest.raises(KeySetRefused):
        await place.source.fetch(place.issuer)


async def test_what_is_too_large_is_refused(place: Place) -> None:
    place.hold(b" " * (MAX_BYTES + 1))
    with pytest.raises(KeySetRefused, match="larger"):
        await place.source.fetch(place.issuer)


async def test_the_mark_stays_while_nothing_changes_and_never_raises(place: Place) -> None:
    place.hold(None)
    assert place.source.mark(place.issuer) is None
    place.hold(SET)
    assert place.source.mark(place.issuer) == place.source.mark(place.issuer)


def test_the_mark_of_a_file_changes_when_it_is_written_replaced_or_removed(tmp_path: Path) -> None:
    file, issuer = tmp_path / "jwks.json", issuing.Issuer(jwks_file=str(tmp_path / "jwks.json")).model
    marks = [KeyFiles().mark(issuer)]
    file.write_bytes(SET)
    marks.append(KeyFiles().mark(issuer))
    os.utime(file, ns=(1, 1))
    marks.append(KeyFiles().mark(issuer))
    replacement = tmp_path / "new"
    replacement.write_bytes(SET)
    os.utime(replacement, ns=(1, 1))
    replacement.rename(file)
    marks.append(KeyFiles().mark(issuer))
    assert len(set(marks)) == 4


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling"])
async def test_a_path_that_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to(tmp_path / "nothing")
    with pytest.raises(KeySetRefused, match=str(path)):
        await KeyFiles().fetch(issuing.Issuer(jwks_file=str(path)).model)
