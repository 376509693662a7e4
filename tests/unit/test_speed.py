"""The speed-up: that it is used only where it is right, and how it behaves among threads, in memory, and with what is not its kind."""

import gc
import json
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatebook import speed
from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import payload
from gatebook.ledger.entry import decode
from gatebook.ledger.framing import FrameKind, apart, read_frame
from gatebook.ledger.scribe import Composed, Scribe
from gatebook.ledger.verification import verify
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Payload, Resource
from gatebook.model.secret import Secret
from tests.speeding import CLOCK, DATA_KEY, EPOCH, KEY_NAME, SESSION, WRITER, TwoWays, chance_for, native
from tests.world_ledger import START_US, CountingEntropy, a_draft, a_place, a_sealed_log


def a_scribe(**changes: Any) -> Scribe:
    _, public = payload.generate_key_pair()
    told: dict[str, Any] = {
        "writer": WRITER, "epoch": EPOCH, "entropy": CountingEntropy(), "payload_key": payload.load_public_key(public.decode()),
        "development": False, "piece_bytes": 4096, "forget_after_us": 10**12,
    }  # fmt: skip
    return Scribe(**told | changes)


def drafts_of_all_kinds() -> list[Draft]:
    large = Payload(part="response", body=bytes(range(256)) * 800)
    return [
        a_draft(0, session=None, payloads=()), a_draft(1), a_draft(6, payloads=(large,)), a_draft(1, resource=Resource(kind="server", name="ä")),
        a_draft(1, detail={"text": "x" * 9000}), a_draft(1, payloads=()), a_draft(2, payloads=(large,)), a_draft(1, payloads=(large, *a_draft(1).payloads)),
    ]  # fmt: skip


def test_a_scribe_counts_and_numbers_alike_in_both_ways() -> None:
    quick = TwoWays(piece_bytes=4096).quick
    # One data key for all, so that both seal with the same: the wrapping is the only thing that differs by chance.
    entropy = [CountingEntropy(), CountingEntropy()]
    scribes = [a_scribe(entropy=entropy[0]), a_scribe(entropy=entropy[1], quick=quick)]
    for turn, draft in enumerate(drafts_of_all_kinds() * 3):
        results: list[Composed] = []
        for scribe in scribes:
            if turn % 2:
                results.append(scribe.defer(draft, START_US + turn, CLOCK)())
            else:
                results.append(scribe.compose(draft, START_US + turn, CLOCK))
        leaves = [decode(apart(frames)[-1][9:]) for frames, _ in results]
        assert leaves[0].w == leaves[1].w and leaves[0].n == leaves[1].n and leaves[0].id == leaves[1].id
        assert [pay.c for pay in leaves[0].pay] == [pay.c for pay in leaves[1].pay]
        assert [len(each) for each in apart(results[0][0])] == [len(each) for each in apart(results[1][0])]
    assert scribes[0].sequence == scribes[1].sequence


def test_what_was_sealed_natively_opens_with_the_data_key_alone() -> None:
    both = TwoWays(piece_bytes=4096)
    bodies = (b"", b"x" * 1024, bytes(range(256)) * 1000)
    draft = a_draft(payloads=tuple(Payload(part="response", body=body) for body in bodies))
    made = both.by_c(draft, number=9)
    assert made is not None
    sealed = dict.fromkeys(range(len(bodies)), b"")
    *payloads, last = apart(made[0])
    for stored in payloads:
        found = read_frame(stored, 0)
        assert found is not None and found.kind is FrameKind.PAYLOAD and found.end == len(stored)
        place, content = payload.read_stored_body(found.body)
        sealed[place.part] += content
    leaf = decode(last[9:])
    for part, body in enumerate(bodies):
        place = payload.Place(SESSION, WRITER, EPOCH, 9, part, 0, 1)
        assert payload.open_sealed(sealed[part], Secret(DATA_KEY), leaf.pay[part], place) == body


@pytest.mark.parametrize(
    "changes", [{"reason": ""}, {"resource": Resource(kind="")}, {"resource": Resource(kind="", name="ä")}]
)
def test_a_draft_without_one_of_the_six_fields_takes_no_number(changes: dict[str, Any]) -> None:
    scribe = a_scribe(quick=TwoWays().quick)
    scribe.compose(a_draft(), START_US, CLOCK)
    before = scribe.sequence
    for way in (scribe.compose, scribe.defer):
        with pytest.raises(LedgerUnavailable, match=r"10\.2\.2"):
            way(a_draft(**changes), START_US, CLOCK)
    assert scribe.sequence == before
    assert decode(apart(scribe.compose(a_draft(), START_US, CLOCK)[0])[-1][9:]).n == 3


def test_a_payload_without_a_key_is_left_to_python_which_refuses_it() -> None:
    both = TwoWays()
    draft = a_draft()
    for key in (None, object(), both.key):
        assert both.quick.compose(draft, START_US, CLOCK, chance_for(draft), 1, 1, key) is None
    with pytest.raises(LedgerUnavailable):
        a_scribe(payload_key=None, quick=both.quick).compose(draft, START_US, CLOCK)


def test_threads_share_a_key_and_nothing_else() -> None:
    both = TwoWays(piece_bytes=20_000)
    sizes = [0, 1000, 31_000, 33_000, 150_000, 700_000]
    drafts = [a_draft(size, payloads=(Payload(part="response", body=bytes([size % 251]) * size),)) for size in sizes]
    wanted = [both.by_python(draft) for draft in drafts]

    def compose_all(first: int) -> bool:
        order = [(first + each) % len(sizes) for each in range(20 * len(sizes))]
        return all(both.by_c(drafts[each]) == wanted[each] for each in order)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(compose_all, range(6)))
    finally:
        sys.setswitchinterval(before)


@pytest.mark.slow
def test_a_hundred_thousand_records_leave_nothing_behind() -> None:
    both = TwoWays(piece_bytes=4096)
    usual, large, odd = (
        a_draft(1),
        a_draft(1, payloads=(Payload(part="event", body=b"x" * 40_000),)),
        a_draft(1, reason="ä"),
    )
    watched = [
        usual,
        usual.who,
        usual.payloads,
        usual.payloads[0].body,
        large.payloads[0].body,
        CLOCK,
        both.key.quick,
        odd,
        odd.reason,
    ]

    def compose(times: int) -> int:
        for turn in range(times):
            both.by_c(usual)
            both.by_c(odd)
            if turn % 100 == 0:
                both.by_c(large)
                with pytest.raises(ValueError, match="data key"):
                    both.quick.key(b"", KEY_NAME, SESSION)
                assert both.quick.key(DATA_KEY, KEY_NAME, SESSION) is not None
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    first = compose(5000)
    counts = [sys.getrefcount(each) for each in watched]
    last = compose(100_000)
    assert [sys.getrefcount(each) for each in watched] == counts
    # One object of 33 bytes left behind by each record would be more.
    assert last - first < 3000, f"{last - first} KiB more"


def test_what_is_not_of_its_kind_is_refused_in_words() -> None:
    module, both = native(), TwoWays()
    for args in ((), ("w", EPOCH, False, 10, ()), ("w", EPOCH, False, 10, (int,) * 9), ("w", EPOCH, False, 10, ("",) * 9), (b"w", EPOCH, False, 10, speed._CLASSES)):  # fmt: skip
        with pytest.raises((TypeError, AttributeError)):
            module.Composer(*args)
    for args in (("w" * 65, EPOCH, False, 10), ("", EPOCH, False, 10), ('"', EPOCH, False, 10), ("w", "é", False, 10), ("w", EPOCH, False, 0), ("w", EPOCH, False, 2**31)):  # fmt: skip
        with pytest.raises(ValueError, match=r"short text|piece_bytes"):
            module.Composer(*args, speed._CLASSES)
    for key in (
        (b"k", KEY_NAME, SESSION),
        (DATA_KEY, KEY_NAME, "0" * 31),
        (DATA_KEY, KEY_NAME, "G" * 32),
        (DATA_KEY, "", SESSION),
    ):
        with pytest.raises(ValueError, match=r"hex digits|short text"):
            both.quick.key(*key)
    with pytest.raises(TypeError):
        module.Key()
    draft = a_draft()
    good: list[Any] = [draft, START_US, CLOCK, chance_for(draft), 1, 1, both.key.quick]
    assert both.quick.compose(*good) is not None
    for place in range(7):
        for odd in (None, object(), -1, 2**70, "1", b"", 1.5, True):
            if (place, odd) == (5, None):
                continue  # an entry of no session
            told = [*good[:place], odd, *good[place + 1 :]]
            assert both.quick.compose(*told) is None
            assert both.quick.fits(*told) is False
    for method in (both.quick.compose, both.quick.fits):
        with pytest.raises(TypeError):
            method(*good[:6])


@pytest.mark.slow
@pytest.mark.parametrize("composed", ["Python", "C"])
def test_a_log_written_in_either_way_is_intact(composed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = native() if composed == "C" else None
    made = speed.SpeedUp(words=composed, composer=module.Composer if module is not None else None)
    monkeypatch.setattr(speed, "speed_up", lambda: made)
    place = a_place(tmp_path / "data")
    a_sealed_log(place)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert report.problems == []
    assert report.opened == report.payloads == 12 + 1 + 280


class Erring:
    """A composer that gives the right bytes but for one bit of one frame of one draft."""

    def __init__(self, *told: Any) -> None:
        self._it = native().Composer(*told)
        self.key = self._it.key

    def compose(self, *told: Any) -> Any:
        frames, leaf = self._it.compose(*told)
        stored = apart(frames)
        if len(stored) > 2:
            stored[1] = stored[1][:-1] + bytes([stored[1][-1] ^ 1])
        frames = b"".join(stored)
        return frames, leaf


class Silent(Erring):
    def compose(self, *told: Any) -> Any:
        return None


class Failing(Erring):
    def compose(self, *told: Any) -> Any:
        raise RuntimeError


@pytest.mark.parametrize("composer", [Erring, Silent, Failing, None, print])
def test_a_speed_up_that_gives_other_bytes_is_not_used(composer: Any) -> None:
    found = speed.judged(SimpleNamespace(Composer=composer, VERSION="9"))
    assert found.composer is None and found.module is None and found.refused
    assert found.words == "in Python: gatebook-speed 9 gives other bytes than Python, or none"


def test_a_sound_one_is_used_and_named() -> None:
    module = native()
    assert speed.judged(module) == speed.SpeedUp(
        words=f"in C: gatebook-speed {module.VERSION}", composer=module.Composer, module=module
    )


class Reading:
    """What reads as `gatebook_speed` does, but for `changes`."""

    def __init__(self, **changes: Any) -> None:
        self.read, self.Template = native().read, native().Template
        for name, change in changes.items():
            setattr(self, name, change)


class Filling:
    """Takes any body for one made by the template."""

    def __init__(self, *told: Any) -> None: ...

    def fill(self, body: bytes) -> Any:
        return b"1", b"{}", {}


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize(
    "changes",
    [
        {"read": lambda text: NotImplemented},
        {"read": lambda text: json.loads(text)},
        {"read": lambda text: native().read(text.replace(b"-7", b"7"))},
        {"read": lambda text: native().read(b"1" if text == b"01" else text)},
        {"read": lambda text: native().read(text[1:-1] if len(text) == 130 else text)},
        {"read": None},
        {"Template": Filling},
        {"Template": lambda *told: SimpleNamespace(fill=lambda body: None)},
    ],
)
def test_one_that_reads_otherwise_than_python_is_not_read_with(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words="", module=Reading(**changes)))
    assert speed.reader() is None


@pytest.mark.usefixtures("unsettled")
def test_one_that_reads_as_python_does_is_read_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words="", module=native()))
    assert speed.reader() is native()


class Glancing:
    """`gatebook_speed` whose `gist` is another one."""

    def __init__(self, gist: Callable[..., Any]) -> None:
        self.gist = gist


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize(
    "gist",
    [
        lambda *told: None,
        lambda leaf, writer, epoch: native().gist(leaf, writer, epoch) and (1, "call.intent", None, None, "", 0),
        lambda leaf, *by: native().gist(leaf, *by) or native().gist(leaf.rstrip(), *by),
        lambda leaf, *by: native().gist(leaf, *by) or native().gist(leaf.replace(b'""', b'"'), *by),
        lambda leaf, *by: (
            native().gist(leaf, *by) or (7, "call.intent", None, None, "2026", 0) if leaf[:1] == b"{" else None
        ),
        lambda leaf, writer, epoch: native().gist(leaf, "gate-0", "01a2000000000badc0de"),
        lambda leaf, *by: (found := native().gist(leaf, *by)) and (*found[:5], 0),
        lambda leaf, *by: (found := native().gist(leaf, *by)) and (found[0] + 1, *found[1:]),
        lambda: None,
    ],
)
def test_one_that_reads_entries_otherwise_than_python_is_not_read_with(
    gist: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words="", module=Glancing(gist)))
    assert speed.gists() is None


@pytest.mark.usefixtures("unsettled")
def test_one_that_reads_entries_as_python_does_is_read_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words="", module=native()))
    assert speed.gists() is native()


class Looking:
    """`gatebook_speed` with another prefilter."""

    PREFILTERS = True

    def __init__(self, may_hold: Callable[[Any, bytes], bool], **changes: Any) -> None:
        class Prefilter:
            def __init__(self, buckets: Any, beside: Any, issued: Any = ()) -> None:
                self.it = native().Prefilter(buckets, beside.it if beside else None, issued)

            def may_hold(self, text: bytes) -> bool:
                return may_hold(self.it, text)

        self.Prefilter = Prefilter
        self.__dict__ |= changes


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize(
    "may_hold",
    [
        lambda it, text: False,
        lambda it, text: True,
        lambda it, text: it.may_hold(text[:-1]),
        lambda it, text: it.may_hold(text[1:]),
        lambda it, text: len(text) > 35 and it.may_hold(text),
        lambda it, text: it.may_hold(text[:64]),
        lambda it, text: it.may_hold(text) and b"\xff" not in text,
        lambda it, text: it.nothing(text),
        lambda it, text: it.may_hold(text[:256]),
        lambda it, text: (
            it.may_hold(text) and not any(128 + 15 < byte < 160 for byte in text)
        ),  # as if its last sixteen were forgotten
        lambda it, text: it.may_hold(text) or (len(text) > 200 and b"\x9f\xbf\xdf" in text),
        lambda it, text: (
            it.may_hold(text[:64]) or it.may_hold(text[64:])
        ),  # as if nothing stood on both sides of an edge
        lambda it, text: it.may_hold(text) and (text.isascii() or min(text) > 127),
        lambda it, text: it.may_hold(text) and not (text.isascii() and b"\x7f" in text),
        lambda it, text: it.may_hold(text.replace(b"\\u", b"zz")),
        lambda it, text: it.may_hold(text.replace(b"4111-1111-1111-1111", b"4111-1111-1111-1112")),
        lambda it, text: it.may_hold(text) or b"a4e1" in text,
    ],
)
def test_one_that_rules_out_what_is_there_does_not_look_first(
    may_hold: Callable[[Any, bytes], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words="", module=Looking(may_hold)))
    assert speed.looker() is None


@pytest.mark.usefixtures("unsettled")
def test_one_that_looks_as_it_should_looks_first_where_it_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Looking(lambda it, text: bool(it.may_hold(text)))
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words="", module=right))
    assert speed.looker() is right
    speed.looker.cache_clear()
    right.PREFILTERS = False
    assert speed.looker() is None


def test_without_it_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    speed.reader.cache_clear()
    monkeypatch.setattr(speed, "speed_up", lambda: speed.SpeedUp(words=""))
    assert speed.reader() is None
    speed.reader.cache_clear()


@pytest.fixture
def unsettled() -> Any:
    speed_up = speed.speed_up
    for settled in (speed_up, speed.reader, speed.looker, speed.gists):
        settled.cache_clear()
    yield
    for settled in (speed_up, speed.reader, speed.looker, speed.gists):
        settled.cache_clear()


@pytest.mark.usefixtures("unsettled")
def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(speed.PURE, "1")
    assert speed.speed_up() == speed.SpeedUp(words="in Python: GATEBOOK_PURE is set")
    assert speed.quick_for(WRITER, EPOCH, development=False, piece_bytes=4096) is None


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize("value", ["", "0", None])
def test_it_is_on_where_it_is_there(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    native()
    monkeypatch.delenv(speed.PURE, raising=False)
    if value is not None:
        monkeypatch.setenv(speed.PURE, value)
    assert speed.quick_for(WRITER, EPOCH, development=False, piece_bytes=4096) is not None


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize(
    ("error", "words", "refused"),
    [
        (ModuleNotFoundError("no"), "in Python: gatebook-speed is not installed", False),
        (
            ImportError("OpenSSL 3 is not there"),
            "in Python: gatebook-speed cannot be loaded: OpenSSL 3 is not there",
            True,
        ),
    ],
)
def test_without_it_python_composes(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, words: str, refused: bool
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "gatebook_speed":
                raise error

    monkeypatch.delenv(speed.PURE, raising=False)
    monkeypatch.delitem(sys.modules, "gatebook_speed", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert speed.speed_up() == speed.SpeedUp(words=words, refused=refused)
