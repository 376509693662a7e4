"""Which entries a search wants: all conditions given must hold."""

import datetime
import re
from typing import Final

import msgspec

from gatebook.ledger.entry import Entry

_AGO: Final = re.compile(r"([0-9]{1,18})(s|m|h|d)")
_AGO_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions on an entry; absent ones hold for every entry.

    `call` and `session` match the whole id or its beginning; `person` the subject, the agent or the human behind a job, exactly or, with a
    `*` at its end, their beginning; `event` an event or its family (`call` covers `call.intent`); `finding` a detector (`pan`) that found
    something, or `any`. `since` and `until` are times as entries write them: since ≤ t < until.
    """

    call: str | None = None
    session: str | None = None
    person: str | None = None
    tool: str | None = None
    event: str | None = None
    reason: str | None = None
    finding: str | None = None
    since: str | None = None
    until: str | None = None
    failed: bool = False

    def wants(self, entry: Entry) -> bool:
        """Whether every condition holds for `entry`."""
        return (
            (self.call is None or (entry.call or "").startswith(self.call))
            and (self.session is None or (entry.sess or "").startswith(self.session))
            and (self.person is None or _is_person(self.person, entry))
            and (self.tool is None or self.tool == entry.res.name)
            and (self.event is None or entry.ev == self.event or entry.ev.startswith(f"{self.event}."))
            and (self.reason is None or entry.out.reason == self.reason)
            and (self.finding is None or _has_finding(self.finding, entry))
            and (self.since is None or entry.t >= self.since)
            and (self.until is None or entry.t < self.until)
            and not (self.failed and entry.out.ok)
        )


def instant(text: str, now: datetime.datetime) -> str:
    """A time as entries write it, from `2026-11-22`, `2026-11-22T16:30`, either with an offset (without one: UTC), or `15m`, `2h`, `1d` before `now`.

    Raises ValueError with a sentence for the operator."""
    try:
        if ago := _AGO.fullmatch(text.strip()):
            when = now - datetime.timedelta(seconds=int(ago[1]) * _AGO_SECONDS[ago[2]])
        else:
            when = _written(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.UTC)
        universal = when.astimezone(datetime.UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after 9999: no entry is of that time") from None
    return universal.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _written(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2026-11-22, 2026-11-22T16:30, or 15m, 2h, 1d ago") from None


def _is_person(wanted: str, entry: Entry) -> bool:
    known = [name for name in (entry.who.sub, entry.who.agent, entry.who.acting_for) if name is not None]
    if wanted.endswith("*"):
        return any(name.startswith(wanted[:-1]) for name in known)
    return wanted in known


def _has_finding(wanted: str, entry: Entry) -> bool:
    return any(wanted in ("any", name, name.partition(":")[0]) for name in entry.dlp)
