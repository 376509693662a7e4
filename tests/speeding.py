"""The two ways in which records are composed, side by side: `gatebook_speed` where it is built, and Python."""

from typing import Any

import pytest

from gatebook import speed
from gatebook.ledger.entry import Clocked
from gatebook.ledger.payload import SALT_BYTES, SessionKey
from gatebook.ledger.scribe import Composed, Quick, Scribe
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft
from gatebook.model.secret import Secret
from tests.world_ledger import START_US

WRITER, EPOCH, SESSION = "gate-0", "01a2000000000badc0de", "0123456789abcdef" * 2
DATA_KEY, KEY_NAME = bytes(range(100, 132)), "fedcba9876543210"
CLOCK = Clocked(src="kernel", off=-3, ok=True)


def native() -> Any:
    """The module; the test is skipped where it is not built."""
    return pytest.importorskip(
        "gatebook_speed",
        reason="gatebook-speed is not built: it takes a C compiler and Python's headers; type: make speed",
    )


def quick_of(scribe: Scribe) -> Quick:
    """What would compose for this scribe."""
    quick: Quick = native().Composer(
        scribe.writer, scribe.epoch, scribe._development, scribe._piece_bytes, speed._CLASSES
    )
    return quick


class TwoWays:
    """One writer's epoch, composed by both. `development` and `piece_bytes` as in `Scribe`."""

    def __init__(self, *, piece_bytes: int = 1 << 20, development: bool = False) -> None:
        composer: Any = native().Composer
        self.quick: Quick = composer(WRITER, EPOCH, development, piece_bytes, speed._CLASSES)
        self.key = SessionKey(Secret(DATA_KEY), KEY_NAME, SESSION, WRITER, EPOCH)
        self.key.quick = self.quick.key(DATA_KEY, KEY_NAME, SESSION)
        self.python, self.both = (
            Scribe(writer=WRITER, epoch=EPOCH, entropy=bytes, payload_key=None, development=development, piece_bytes=piece_bytes,
                   forget_after_us=0, quick=quick)
            for quick in (None, self.quick)
        )  # fmt: skip

    def by_python(
        self, draft: Draft, *, unix_us: int = START_US, number: int = 7, count: int | None = 3, clock: Clocked = CLOCK
    ) -> Composed | str:
        """What the scribe makes without the other, or why it refuses."""
        return made(self.python, draft, unix_us, clock, number, count, self.key)

    def by_both(
        self, draft: Draft, *, unix_us: int = START_US, number: int = 7, count: int | None = 3, clock: Clocked = CLOCK
    ) -> Composed | str:
        return made(self.both, draft, unix_us, clock, number, count, self.key)

    def by_c(
        self, draft: Draft, *, unix_us: int = START_US, number: int = 7, count: int | None = 3, clock: Clocked = CLOCK
    ) -> Composed | None:
        """None where it leaves the draft to Python."""
        composed = self.quick.compose(draft, unix_us, clock, chance_for(draft), number, count, self.key.quick)
        assert self.quick.fits(draft, unix_us, clock, chance_for(draft), number, count, self.key.quick) is (
            composed is not None
        )
        return composed


def chance_for(draft: Draft) -> bytes:
    count = 10 + SALT_BYTES * len(draft.payloads)
    return bytes((count * 7 + each * 37) % 256 for each in range(count))


def made(
    scribe: Scribe, draft: Draft, unix_us: int, clock: Clocked, number: int, count: int | None, key: SessionKey
) -> Composed | str:
    try:
        return scribe.write_out(draft, unix_us, clock, chance_for(draft), number, count, key)
    except LedgerUnavailable as refused:
        return str(refused)
