"""Whatever is changed in the files of a log that grows, a round of comparing names it, and names nothing else."""

import pytest

from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.merkle import TILE_WIDTH
from gatebook.ledger.recomparing import EVERY_S, ROUND_S, Rounds, broken_file
from gatebook.ledger.tiles import tile_name

SIZES = (1, 255, 256, 257, 700)


class Disk:
    """A log of `size` entries and its files."""

    def __init__(self, size: int) -> None:
        self.log = GrowingLog()
        for number in range(size):
            self.log.append(b'{"n":%d}' % number)
        self.files = dict(self.log.flush().files)

    def read(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def broken(self) -> set[str]:
        """What one whole round names."""
        tree = self.log.tree
        found = (broken_file(index, tree, self.read) for index in range(tree.size // TILE_WIDTH + 1))
        return {name for name in found if name is not None}


@pytest.fixture(scope="module", params=SIZES)
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(request.param)


def test_a_whole_log_is_whole(disk: Disk) -> None:
    assert disk.broken() == set()


@pytest.mark.parametrize("harm", ["a bit", "cut", "longer", "empty", "gone"])
def test_each_file_that_was_harmed_is_named_and_no_other(disk: Disk, harm: str) -> None:
    for name in sorted(disk.files):
        content = disk.files[name]
        match harm:
            case "a bit":
                disk.files[name] = content[:-1] + bytes([content[-1] ^ 1])
            case "cut":
                disk.files[name] = content[:-1]
            case "longer":
                disk.files[name] = content + b"x"
            case "empty":
                disk.files[name] = b""
            case _:
                del disk.files[name]
        assert disk.broken() == {name}
        disk.files[name] = content


def test_an_entry_and_its_tile_rewritten_together_do_not_give_the_hash_above_them() -> None:
    disk, other = Disk(700), Disk(300)
    other.log = GrowingLog()
    for number in range(300):
        other.log.append(b'{"N":%d}' % number)
    forged = dict(other.log.flush().files)
    for level in (None, 0):
        disk.files[tile_name(level, 0)] = forged[tile_name(level, 0)]
    assert disk.broken() == {"tile/0/000"}


def test_rounds_go_through_all_bundles_in_their_own_time_and_begin_again() -> None:
    disk, rounds = Disk(700), Rounds()
    for step in range(3):
        for _ in range(2):
            rounds.compare(disk.log.tree, disk.read, step * EVERY_S)
    assert rounds.compared == 700 and rounds.broken == ()
    disk.files["tile/entries/000"] += b"x"
    rounds.compare(disk.log.tree, disk.read, ROUND_S - EVERY_S / 2)
    assert rounds.compared == 700 and rounds.broken == ()
    rounds.compare(disk.log.tree, disk.read, ROUND_S)
    assert rounds.compared == 956 and rounds.broken == ("tile/entries/000",)


def test_what_is_as_it_was_again_is_no_longer_broken_after_the_next_round() -> None:
    disk, rounds = Disk(700), Rounds()
    kept = disk.files.pop("tile/0/001")
    for step in range(3):
        rounds.compare(disk.log.tree, disk.read, step * EVERY_S)
    assert rounds.broken == ("tile/0/001",)
    disk.files["tile/0/001"] = kept
    for step in range(3):
        assert rounds.broken == ("tile/0/001",) or step == 2
        rounds.compare(disk.log.tree, disk.read, ROUND_S + step * EVERY_S)
    assert rounds.broken == () and rounds.compared == 1400


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_where_a_level_begins_a_log_is_whole_and_a_tile_above_many_is_one_broken_file(size: int) -> None:
    disk, rounds = Disk(size), Rounds()
    assert disk.broken() == set()
    name = "tile/1/000" if size >= 65_536 else "tile/1/000.p/255"
    disk.files[name] = b"x" + disk.files[name][1:]
    for step in range(size // TILE_WIDTH + 1):
        rounds.compare(disk.log.tree, disk.read, float(step))
    assert rounds.broken == (name,) and rounds.compared == size
