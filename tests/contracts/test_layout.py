"""Root lays out folders that belong to others: what a room that was taken over plants in its own gets it nothing. Told to the kernel by root, which
can be each room in turn."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.model.users import Account, Users
from gatebook.serve.layout import lay_out
from tests.world_ledger import StillClock, a_place, a_service_draft

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root lays out")
ROOMS = {"gate": 61001, "sealer": 61002, "desk": 61003}
USERS = Users(
    supervisor=Account(name="root", uid=0, gid=0),
    **{name: Account(name=name, uid=uid, gid=uid) for name, uid in ROOMS.items()},
)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    place = a_place(tmp_path)
    deployment = msgspec.structs.replace(place.deployment, users=USERS)
    lay_out(deployment, USERS)
    return deployment


def as_room(uid: int, folder: Path, does: Callable[[], None]) -> None:
    """`does` is done by that user, in `folder`; raises what it raised, in words."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        said = b""
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            does()
        except BaseException as failure:
            said = repr(failure).encode()
        os.write(writing, said)
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as told:
        if said := told.read():
            raise OSError(said.decode())


def owner(path: str | Path) -> int:
    return Path(path).stat().st_uid


def test_a_second_name_of_the_logs_key_is_not_given_to_whoever_made_it(deployment: Deployment) -> None:
    """As fs.protected_hardlinks = 0, the kernel's own default, lets any user do."""
    desk = Path(deployment.data_dir) / "desk"
    (desk / "mine").hardlink_to(deployment.log_key)
    as_room(ROOMS["desk"], desk, lambda: Path().chmod(0o755))  # so that it is laid out anew
    with pytest.raises(ConfigurationError, match=r"mine.*another name"):
        lay_out(deployment, USERS)
    assert owner(deployment.log_key) == ROOMS["sealer"]


def test_nor_as_an_old_segment(deployment: Deployment, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root's")
    (Path(deployment.data_dir) / "segments" / "x.seg").hardlink_to(secret)
    with pytest.raises(ConfigurationError, match="another name"):
        lay_out(deployment, USERS)
    assert owner(secret) == 0


def test_a_file_that_a_killed_sealer_had_half_named_is_given_away(deployment: Deployment) -> None:
    """When rooms get users of their own: the log that one user wrote becomes the sealer's."""
    log = Path(deployment.data_dir) / "log"
    half, whole = log / "5.tmp", log / "5"
    half.write_bytes(b"a checkpoint")
    whole.hardlink_to(half)
    (log / "6").write_bytes(b"another")
    (log / "6.tmp").write_bytes(b"yet another")
    log.chmod(0o755)  # so that it is laid out anew
    lay_out(deployment, USERS)
    assert not half.exists() and owner(whole) == ROOMS["sealer"] and whole.read_bytes() == b"a checkpoint"
    assert (log / "6.tmp").read_bytes() == b"yet another"


def test_half_a_name_of_the_logs_key_is_not_given_away_either(deployment: Deployment) -> None:
    desk = Path(deployment.data_dir) / "desk"
    for name in ("mine", "mine.tmp"):
        (desk / name).hardlink_to(deployment.log_key)
    as_room(ROOMS["desk"], desk, lambda: Path().chmod(0o755))
    with pytest.raises(ConfigurationError, match=r"mine.*another name"):
        lay_out(deployment, USERS)
    assert owner(deployment.log_key) == ROOMS["sealer"]


def test_what_is_its_own_already_may_have_two_names(deployment: Deployment) -> None:
    """A sealer that was killed while it named a file leaves both."""
    sealer = Path(deployment.data_dir) / "sealer"
    (sealer / "state").write_bytes(b"1 x\n")
    os.chown(sealer / "state", ROOMS["sealer"], ROOMS["sealer"])
    (sealer / "state.tmp").hardlink_to(sealer / "state")
    sealer.chmod(0o755)
    lay_out(deployment, USERS)
    assert owner(sealer / "state") == ROOMS["sealer"]


@pytest.mark.parametrize("name", ["supervisor", "cli", "gate", "desk"])
def test_the_sealer_puts_nothing_in_the_place_of_a_writers_folder(
    deployment: Deployment, name: str, tmp_path: Path
) -> None:
    """Root and the rooms write there: a link in its place would lead them elsewhere."""
    segments = Path(deployment.data_dir) / "segments"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def swap() -> None:
        Path(name).rename("aside")
        Path(name).symlink_to(elsewhere)

    with pytest.raises(OSError, match="not permitted"):
        as_room(ROOMS["sealer"], segments, swap)
    hand = SegmentHand(deployment, "cli", StillClock())
    hand.write(a_service_draft())
    hand.close()
    assert not list(elsewhere.iterdir())


def test_the_sealer_takes_away_what_is_its_own_and_what_writers_left(deployment: Deployment) -> None:
    segments = Path(deployment.data_dir) / "segments"
    (segments / "old.seg").write_bytes(b"")
    lay_out(deployment, USERS)
    hand = SegmentHand(deployment, "cli", StillClock())
    hand.write(a_service_draft())
    hand.close()

    def take() -> None:
        Path("old.seg").unlink()
        for each in Path("cli").iterdir():
            each.unlink()

    as_room(ROOMS["sealer"], segments, take)
    assert not list((segments / "cli").iterdir())
