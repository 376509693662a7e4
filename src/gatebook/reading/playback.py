"""A session as it is replayed: entries and opened bodies in, steps in their order out. Pure; terminal and page show the same."""

import json
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from gatebook.ledger.entry import Entry, Pay, instant_us
from gatebook.ledger.reading import Opened
from gatebook.model.record import Origin, Who

Opener = Callable[[Entry, Pay], Opened]
"""Gives the masked plaintext of one payload, or says why it cannot: no key, deleted, or not the bytes that the entry names."""

Tone = Literal["passed", "refused", "failed", "open", "note"]


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and its place in the log: `index` of its leaf (None while it waits in its segment) and the leaf's hash in hex."""

    entry: Entry
    index: int | None
    leaf: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded body: `text` as indented JSON where it is JSON; None where it cannot be shown, and `missing` says why. `remark`: what must be
    said of one that is shown."""

    part: str
    text: str | None
    missing: str | None = None
    remark: str | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `offset_s`: since the session's first entry; `took_s`: intent to result; `places`: its entries."""

    offset_s: float
    at: str
    tone: Tone
    method: str
    name: str | None
    reason: str
    rule: str | None = None
    call: str | None = None
    took_s: float | None = None
    findings: dict[str, int] = {}
    bodies: tuple[Body, ...] = ()
    places: tuple[Located, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def quiet(self) -> bool:
        """Nothing to look at twice: it reached for no object (a list, a greeting, a notification), went well, nothing was found in it, and nothing
        lies in its place."""
        return self.name is None and not self.findings and not self.remarks and self.tone in ("passed", "note")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be said of bodies that are shown, in sentences."""
        title = " ".join(word for word in (self.method, self.name) if word)
        return tuple(f"{title}: the {body.part}: {body.remark}" for body in self.bodies if body.remark is not None)


class Playback(msgspec.Struct, frozen=True, kw_only=True):
    """A whole session. `closed` None: still open. `gaps`: what could not be captured, in sentences; empty where nothing is missing."""

    session: str
    who: Who
    origin: Origin
    server: str
    opened: str
    closed: str | None
    last: str
    steps: tuple[Step, ...]
    findings: dict[str, int]
    gaps: tuple[str, ...]
    development: bool

    @property
    def calls(self) -> int:
        """Calls that were passed on; refused ones are counted apart."""
        return sum(1 for step in self.steps if step.places[0].entry.ev == "call.intent")

    @property
    def remarks(self) -> tuple[str, ...]:
        return tuple(remark for step in self.steps for remark in step.remarks)

    @property
    def refusals(self) -> int:
        return sum(1 for step in self.steps if step.tone == "refused")


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """As a desk tells it. `locked`: why bodies could not be opened, in words; None where they could."""

    playback: Playback
    locked: str | None


def play(session: str, located: Iterable[Located], opener: Opener) -> Playback:
    """The playback of `session` from its entries in the log's order. Raises LookupError where there is none."""
    entries = [each for each in located if each.entry.sess == session]
    if not entries:
        raise LookupError(f"no entry of session {session}")
    entries.sort(key=lambda each: each.entry.t)
    first = entries[0].entry
    steps = tuple(_steps(entries, instant_us(first.t), opener))
    findings: dict[str, int] = {}
    for step in steps:
        for name, count in step.findings.items():
            findings[name] = findings.get(name, 0) + count
    closed = next((each.entry.t for each in entries if each.entry.ev == "session.close"), None)
    return Playback(
        session=session,
        who=first.who,
        origin=first.from_,
        server=next((each.entry.res.server for each in entries if each.entry.res.server), "?"),
        opened=first.t,
        closed=closed,
        last=entries[-1].entry.t,
        steps=steps,
        findings=findings,
        gaps=(*_session_gaps(entries, closed), *(gap for step in steps for gap in step.gaps)),
        development=any(each.entry.prof == "dev" for each in entries),
    )


def _steps(entries: list[Located], start_us: int, opener: Opener) -> Iterable[Step]:
    results = {each.entry.call: each for each in entries if each.entry.ev == "call.result" and each.entry.call}
    told: set[str | None] = set()
    for each in entries:
        entry = each.entry
        match entry.ev:
            case "session.open" | "session.close":
                continue
            case "call.intent":
                told.add(entry.call)
                yield _call(each, results.get(entry.call or ""), start_us, opener)
            case "call.result" if entry.call in told:
                continue
            case _:
                yield _single(each, start_us, opener)


def _call(intent: Located, result: Located | None, start_us: int, opener: Opener) -> Step:
    places = (intent,) if result is None else (intent, result)
    bodies = tuple(body for place in places for body in _bodies(place.entry, opener))
    asked, ended = intent.entry, result.entry if result else None
    tone: Tone = "open" if ended is None else "passed" if ended.out.ok else "failed"
    gaps = [*_body_gaps(asked, bodies)]
    if ended is None:
        gaps.append(f"{_title(asked)}: no outcome is in the log yet, so whether the server acted is unknown")
    elif not ended.pay and asked.pay:
        gaps.append(f"{_title(asked)}: no answer was recorded ({ended.out.reason})")
    return Step(
        offset_s=_seconds(start_us, asked),
        at=asked.t,
        tone=tone,
        method=asked.res.method or asked.ev,
        name=asked.res.name,
        reason=ended.out.reason if ended else "no outcome",
        rule=asked.pol.rule if asked.pol else None,
        call=asked.call,
        took_s=(instant_us(ended.t) - instant_us(asked.t)) / 1e6 if ended else None,
        findings=_sum(place.entry.dlp for place in places),
        bodies=bodies,
        places=places,
        gaps=tuple(gaps),
    )


def _single(place: Located, start_us: int, opener: Opener) -> Step:
    entry = place.entry
    bodies = tuple(_bodies(entry, opener))
    return Step(
        offset_s=_seconds(start_us, entry),
        at=entry.t,
        tone=_tone(entry),
        method=entry.res.method or entry.ev,
        name=entry.res.name,
        reason=entry.out.reason,
        rule=entry.pol.rule if entry.pol else None,
        call=entry.call,
        findings=dict(entry.dlp),
        bodies=bodies,
        places=(place,),
        gaps=tuple(_body_gaps(entry, bodies)),
    )


def _tone(entry: Entry) -> Tone:
    if entry.ev == "call.refused":
        return "refused"
    if not entry.out.ok:
        return "failed"
    return "passed" if entry.ev == "call.result" else "note"


def _bodies(entry: Entry, opener: Opener) -> Iterable[Body]:
    for pay in entry.pay:
        opened = opener(entry, pay)
        if opened.body is None:
            why = f": {opened.remark}" if opened.remark else ""
            yield Body(part=pay.part, text=None, missing=f"{pay.bytes} bytes that could not be opened{why}")
        else:
            yield Body(part=pay.part, text=_indented(opened.body), remark=opened.remark or None)


def _body_gaps(entry: Entry, bodies: tuple[Body, ...]) -> Iterable[str]:
    for body in bodies:
        if body.missing is not None:
            yield f"{_title(entry)}: the {body.part}: {body.missing}"
    if entry.ev in ("call.intent", "call.refused") and not entry.pay:
        size = f" ({entry.x['bytes']} bytes)" if "bytes" in entry.x else ""
        yield f"{_title(entry)}: the request's values are not recorded, only what the entry says{size}"


def _session_gaps(entries: list[Located], closed: str | None) -> Iterable[str]:
    if closed is None:
        yield "the session is still open: later calls are not in this replay"
    counts: dict[tuple[str, str], list[int]] = {}
    for each in entries:
        if each.entry.n is not None:
            counts.setdefault((each.entry.w.n, each.entry.w.e), []).append(each.entry.n)
    for (writer, epoch), numbers in counts.items():
        missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        if missing:
            yield f"writer {writer} (epoch {epoch}) counted {max(numbers)} entries here; missing: {missing}"


def _title(entry: Entry) -> str:
    return " ".join(word for word in (entry.res.method or entry.ev, entry.res.name) if word)


def _indented(plain: bytes) -> str:
    """JSON indented, numbers as they stand; anything else as text."""
    try:
        value = json.loads(plain, parse_int=_Literal, parse_float=_Literal)
    except ValueError:
        return plain.decode("utf-8", "replace")
    return _written(value, "")


class _Literal(str):
    """A JSON number as it was written: 4111110000011111 must not become a float, nor 1.0 a 1."""


def _written(value: object, indent: str) -> str:
    inner = indent + "  "
    match value:
        case _Literal():
            return str(value)
        case dict() if value:
            pairs = (
                f"{inner}{json.dumps(key, ensure_ascii=False)}: {_written(item, inner)}" for key, item in value.items()
            )
            return "{\n" + ",\n".join(pairs) + f"\n{indent}}}"
        case list() if value:
            return "[\n" + ",\n".join(inner + _written(item, inner) for item in value) + f"\n{indent}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _seconds(start_us: int, entry: Entry) -> float:
    return (instant_us(entry.t) - start_us) / 1e6
