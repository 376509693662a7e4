"""C2SP tlog-tiles: names, bundles, extents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.tiles import BundleError, join_bundle, parse_tile_name, split_bundle, tile_name, widths


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("tile/0/000", (0, 0, 256)),
        ("tile/0/x001/x234/067", (0, 1_234_067, 256)),
        ("tile/entries/x273/017.p/112", (None, 273_017, 112)),
        ("tile/63/999.p/255", (63, 999, 255)),
    ],
)
def test_names_are_those_of_the_specification(name: str, tile: tuple[int | None, int, int]) -> None:
    assert tile_name(*tile) == name
    assert parse_tile_name(name) == tile


@pytest.mark.parametrize(
    "name",
    [
        "tile/0/0", "tile/0/0000", "tile/00/000", "tile/0/001/067", "tile/0/x000/067", "tile/0/000.p/256", "tile/0/000.p/0",
        "tile/0/000.p/01", "tile/x/000", "tile/0", "tile/0/000.p", "tiles/0/000", "tile/entries/", "tile/0/٠٠٠", "tile/0/xx001/000",
    ],
)  # fmt: skip
def test_another_spelling_is_no_tile(name: str) -> None:
    assert parse_tile_name(name) is None


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, 10**12), st.integers(1, 256))
def test_a_name_reads_back(level: int | None, index: int, width: int) -> None:
    assert parse_tile_name(tile_name(level, index, width)) == (level, index, width)


def test_the_extents_of_seventy_thousand_are_those_of_the_specification() -> None:
    assert list(widths(70_000)) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(widths(256)) == [(0, 1, 0), (1, 0, 1)]
    assert list(widths(0)) == []


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert split_bundle(join_bundle(entries), len(entries)) == entries


@pytest.mark.parametrize("change", ["cut", "stray", "more", "fewer"])
def test_a_bundle_is_exactly_its_entries(change: str) -> None:
    bundle = join_bundle([b"one", b"two"])
    changed, count = {"cut": (bundle[:-1], 2), "stray": (bundle + b"\0", 2), "more": (bundle, 1), "fewer": (bundle, 3)}[
        change
    ]
    with pytest.raises(BundleError):
        split_bundle(changed, count)


@pytest.mark.parametrize("step", [1, 7, 100, 256, 300])
def test_a_log_resumed_at_any_flush_goes_on_as_if_it_had_not_stopped(step: int) -> None:
    store: dict[str, bytes] = {}

    def read(name: str) -> bytes:
        try:
            return store[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    whole = GrowingLog()
    resumed = GrowingLog()
    for number in range(700):
        entry = b"entry %d" % number
        whole.append(entry)
        resumed.append(entry)
        if number % step == 0:
            for name, content in resumed.flush().files:
                assert store.setdefault(name, content) == content, "a path changed its bytes"
            assert resumed.flush().files == []
            resumed = GrowingLog.resume(number + 1, read)
            assert resumed.tree.root() == whole.tree.root()


def test_the_same_entries_give_the_same_bytes() -> None:
    built = []
    for _ in range(2):
        log = GrowingLog()
        for number in range(520):
            log.append(b"entry %d" % number)
        built.append(log.flush())
    assert built[0] == built[1]
    names = [name for name, _ in built[0].files]
    assert names[:3] == ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/8"]
    assert set(names[3:]) == {"tile/0/000", "tile/0/001", "tile/0/002.p/8", "tile/1/000.p/2"}
    assert built[0].obsolete == [
        f"{name}.p" for name in ("tile/entries/000", "tile/0/000", "tile/entries/001", "tile/0/001")
    ]
