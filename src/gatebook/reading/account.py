"""One call, told by its entries."""

import msgspec

from gatebook.ledger.entry import Entry, instant_us
from gatebook.reading.book import Book
from gatebook.reading.playback import Located
from gatebook.reading.rulings import Ruling, ruling

_DECISIVE = ("call.refused", "call.intent", "stream.open", "message.client")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A call told by its entries. `decided`: the entry that says what was judged; `result`: how it ended, None where nothing says so."""

    call: str
    decided: Entry
    result: Entry | None
    took_ms: float | None
    ruling: Ruling
    entries: tuple[Located, ...]


def account_of(book: Book, call: str) -> Account | None:
    """The one call whose id begins with `call`; None where there is none, or several."""
    located = [each for each in book.forwards(containing=call) if (each.entry.call or "").startswith(call)]
    calls = {each.entry.call for each in located}
    if len(calls) != 1:
        return None
    decided = next((each.entry for each in located if each.entry.ev in _DECISIVE), located[0].entry)
    result = next((each.entry for each in located if _ends(each.entry)), None)
    return Account(
        call=str(calls.pop()),
        decided=decided,
        result=result,
        took_ms=(instant_us(result.t) - instant_us(decided.t)) / 1000 if result is not None else None,
        ruling=ruling(decided, book.log),
        entries=tuple(located),
    )


def _ends(entry: Entry) -> bool:
    """A message that awaits no answer ends in the book only where it was not delivered."""
    return entry.ev in ("call.result", "stream.close") or (entry.ev == "message.client" and not entry.out.ok)
