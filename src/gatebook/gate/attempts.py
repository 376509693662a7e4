"""Failed authentication, and what is refused because the disk is short, counted: one entry per source, server, reason and window, so that a flood
cannot fill the book. A source is an address, or an IPv6 network; of what a known caller asks, that caller there. An entry names the address that
came first."""

import msgspec

from gatebook.model.record import Draft
from gatebook.model.source import source_of

WINDOW_US = 60_000_000
MAX_SOURCES = 4096


class _Window(msgspec.Struct):
    draft: Draft
    opened_us: int
    unrecorded: int = 0


class Attempts:
    """Decides which attempt is written at once (the first of a window) and which is only counted until its window ends."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str], _Window] = {}

    def count(self, draft: Draft, now_us: int, *, many: bool = False) -> tuple[Draft, ...]:
        """The entries to make durable before this attempt is answered: empty where it only adds to an open window.

        Beyond MAX_SOURCES open windows every further source shares one window, named `many`; with `many` this one does.
        """
        reason = str(draft.detail.get("cause", draft.reason))
        who = draft.who
        # Of IPv6 a network: one attacker has all of its addresses, and could else have thousands of windows, and twice as many entries, each minute.
        source = source_of(draft.origin.ip)
        if who.kind != "unknown":
            source = f"{source} {who.kind} {who.iss} {who.sub}"
        key = (source, draft.resource.server or "", reason)
        if many or (key not in self._windows and len(self._windows) >= MAX_SOURCES):
            key = ("many", "", reason)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(draft, now_us)
            return (_counted(draft, 1),)
        window.unrecorded += 1
        return ()

    def ended(self, now_us: int, *, all_windows: bool = False) -> tuple[Draft, ...]:
        """The entries for windows that have ended with attempts not yet written; those windows are forgotten."""
        over = [key for key, window in self._windows.items() if all_windows or now_us - window.opened_us >= WINDOW_US]
        closed = [self._windows.pop(key) for key in over]
        return tuple(_counted(window.draft, window.unrecorded) for window in closed if window.unrecorded)


def _counted(draft: Draft, attempts: int) -> Draft:
    return msgspec.structs.replace(draft, detail={**draft.detail, "attempts": attempts})
