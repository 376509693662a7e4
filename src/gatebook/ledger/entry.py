"""An entry as bytes: canonical JSON (RFC 8785), at most 8 KiB, never without the six fields of PCI DSS 10.2.2."""

import datetime
import functools
from typing import Any

import msgspec

from gatebook.ledger.cutting import cut_to_fit
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Asked, Draft, Origin, PolicyRef, Resource, Who

VERSION = 1
MAX_ENTRY_BYTES = 8192
MAX_INTEGER = 2**53 - 1


class Clocked(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the clock that gave `t`: source, offset in microseconds, synchronised or not."""

    off: int
    ok: bool
    src: str


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote it: writer `n`, its epoch `e` and the sequence `s` in that epoch, from 1 without a gap."""

    e: str
    n: str
    s: int


class Out(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    reason: str


class Pay(msgspec.Struct, frozen=True, kw_only=True):
    """A payload beside the log. `c`: HMAC-SHA-256(salt, masked plaintext), which only the payload key can check; `x`: SHA-256 of the
    sealed bytes, which anyone can; `bytes`: length of the masked plaintext; `key`: id of the wrapped data key. Digests in hex."""

    bytes: int
    c: str
    key: str
    part: str
    x: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """A leaf of the log, decoded. `t`: RFC 3339, UTC, microseconds. `n`: counts this session's entries by this writer's epoch, from 1.

    The members of this and of every struct in it stand in the order of RFC 8785 §3.2.3, so that nothing need be sorted to encode one."""

    call: str | None = None
    clk: Clocked
    cred: str | None = None
    dlp: dict[str, int] = {}
    ev: str
    from_: Origin
    id: str
    n: int | None = None
    out: Out
    pay: tuple[Pay, ...] = ()
    pol: PolicyRef | None = None
    prof: str | None = None
    q: Asked | None = None
    res: Resource
    sess: str | None = None
    t: str
    v: int
    w: Written
    who: Who
    x: dict[str, str | int | bool] = {}


class _Composed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, rename={"from_": "from"}):
    """An `Entry` to be encoded: the same members in the same order, taken by position, which costs a fifth. `decode` compares the two."""

    call: str | None = None
    clk: Clocked | None = None
    cred: str | None = None
    dlp: dict[str, int] = {}
    ev: str | None = None
    from_: Origin | None = None
    id: str | None = None
    n: int | None = None
    out: Out | None = None
    pay: tuple[Pay, ...] = ()
    pol: PolicyRef | None = None
    prof: str | None = None
    q: Asked | None = None
    res: Resource | None = None
    sess: str | None = None
    t: str | None = None
    v: int | None = None
    w: Written | None = None
    who: Who | None = None
    x: dict[str, str | int | bool] = {}


_VARIANT = "89ab"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_MICROS = tuple(f"{micros:03d}Z" for micros in range(1000))
"""How the text of a time ends, by the microseconds of its millisecond."""
_encoder = msgspec.json.Encoder(order="deterministic")
"""Sorts the keys of dictionaries; those of structs stand sorted."""
_sorting = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Entry, strict=True)


def lacking(entry: "Entry | Draft") -> tuple[str, ...]:
    """Names of the fields of PCI DSS 10.2.2 that `entry` lacks; an empty string counts as lacking."""
    event: str
    if isinstance(entry, Draft):
        event, reason, origin, resource = entry.event, entry.reason, entry.origin, entry.resource
    else:
        event, reason, origin, resource = entry.ev, entry.out.reason, entry.from_, entry.res
    who = entry.who
    if who.iss and who.sub and event and reason and origin.ip and resource.kind:
        return ()
    said = {"who": who.iss and who.sub, "ev": event, "out": reason, "from": origin.ip, "res": resource.kind}
    return tuple(name for name, value in said.items() if not value)


def compose(
    draft: Draft,
    *,
    unix_us: int,
    clock: Clocked,
    identifier: str,
    written: Written,
    count: int | None,
    pay: tuple[Pay, ...],
    development: bool,
) -> bytes:
    """The leaf of `draft`. Fields too long are cut, with a mark; raises LedgerUnavailable where one of the six fields is absent."""
    event: str = draft.event
    who, origin, resource = draft.who, draft.origin, draft.resource
    if not (who.iss and who.sub and event and draft.reason and origin.ip and resource.kind):
        raise LedgerUnavailable(f"{event} lacks {', '.join(lacking(draft))} (PCI DSS 10.2.2)")
    entry = _Composed(
        draft.call, clock, draft.credential, _counted(draft) if draft.findings else {}, draft.event, origin, identifier, count,
        Out(ok=draft.ok, reason=draft.reason), pay, draft.policy, "dev" if development else None, draft.asked, resource, draft.session,
        rfc3339(unix_us), VERSION, written, who, draft.detail,
    )  # fmt: skip
    try:
        leaf = _encoder.encode(entry)
    except UnicodeEncodeError:
        leaf = b""
    # Nearly all are ASCII throughout, keys included, and hold no number from outside.
    plain = (leaf.isascii() and not draft.detail and who.auth_time is None) or _plain(draft)
    if plain and 0 < len(leaf) <= MAX_ENTRY_BYTES:
        return leaf
    return _cut(msgspec.to_builtins(entry))


def decode(leaf: bytes) -> Entry:
    """The entry in `leaf`. Raises ValueError where it is not the canonical encoding of a known version: nothing is read twice differently."""
    try:
        entry = _decoder.decode(leaf)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"not an entry: {error}") from error
    if entry.v != VERSION:
        raise ValueError(f"entry version {entry.v} is not known")
    # Re-encoding refuses unknown members, repeated members, spaces and escapes in one comparison.
    if _encoder.encode(entry) != leaf:
        raise ValueError("not in canonical form (RFC 8785)")
    return entry


def encode(entry: Entry) -> bytes:
    """The leaf of an entry that `decode` gave: that very leaf."""
    return _encoder.encode(entry)


def rfc3339(micros: int) -> str:
    """Microseconds since the epoch as `2026-11-22T16:31:28.000001Z`."""
    return _millisecond(micros // 1000) + _MICROS[micros % 1000]


def instant_us(stamp: str) -> int:
    """The inverse of `rfc3339`. Raises ValueError on any other form."""
    fraction = stamp[20:26]
    if len(stamp) != 27 or stamp[26] != "Z" or not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"time {stamp!r} is not written as we write it")
    return _start_of(stamp[:20]) + int(fraction)


def uuid7(unix_ms: int, chance: bytes) -> str:
    """A UUIDv7 (RFC 9562 §5.7) from milliseconds since the epoch and 10 random bytes."""
    digits = chance.hex()
    return f"{_uuid7_start(unix_ms)}{digits[1:4]}-{_VARIANT[chance[2] >> 6]}{digits[5:8]}-{digits[8:]}"


@functools.lru_cache(maxsize=8)
def _uuid7_start(unix_ms: int) -> str:
    """What all UUIDv7 of a millisecond begin with, up to their version: `01a2157c-962f-7`."""
    digits = unix_ms.to_bytes(6, "big").hex()
    return f"{digits[:8]}-{digits[8:]}-7"


@functools.lru_cache(maxsize=256)
def _start_of(second: str) -> int:
    """Microseconds since the epoch of `2026-11-22T16:31:28.`."""
    micros = (datetime.datetime.fromisoformat(f"{second[:19]}Z") - _EPOCH) // _MICROSECOND
    if second != f"{_second(micros // 1_000_000)}.":
        raise ValueError(f"time {second!r} is not written as we write it")
    return micros


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@functools.lru_cache(maxsize=8)
def _millisecond(millis: int) -> str:
    return f"{_second(millis // 1000)}.{millis % 1000:03d}"


def _counted(draft: Draft) -> dict[str, int]:
    counts: dict[str, int] = {}
    for finding in draft.findings:
        name = f"{finding.detector}:{finding.action}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _plain(draft: Draft) -> bool:
    """True where the fast encoding is already canonical: ASCII keys, integers that every JSON reader keeps exact, no floats."""
    for key, value in draft.detail.items():
        if not key.isascii() or (type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER):
            return False
        if type(value) not in (str, int, bool):
            return False
    if draft.asked is not None:
        for name in draft.asked.shape:
            if not name.isascii():
                return False
    auth_time = draft.who.auth_time
    return auth_time is None or -MAX_INTEGER <= auth_time <= MAX_INTEGER


def _cut(tree: Any) -> bytes:
    for limit in (1024, 256, 64, 24):
        leaf = _sorting.encode(cut_to_fit(tree, limit))
        if len(leaf) <= MAX_ENTRY_BYTES:
            try:
                decode(leaf)
            except ValueError as error:
                raise LedgerUnavailable(f"a draft holds what an entry cannot: {error}") from error
            return leaf
    raise LedgerUnavailable("an entry stays above 8 KiB however its fields are cut")
