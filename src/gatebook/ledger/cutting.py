"""Making a draft fit an entry: a record with a shortened field is better than no record."""

from typing import Any

MAX_INTEGER = 2**53 - 1

# What ties an entry to others is never cut: a cut identifier would join records that do not belong together.
_WHOLE = frozenset({"id", "t", "w", "clk", "v", "ev", "call", "sess", "n", "pay", "kind"})


def cut_to_fit(tree: dict[str, Any], limit: int) -> dict[str, Any]:
    """`tree` (an entry as plain values) with strings of at most `limit` characters and maps of at most `limit` / 8 members, marked where
    cut, with ASCII keys, no lone surrogates, and integers below 2^53 (a larger one becomes its decimal text; `auth_time` goes). What a `session.close`
    sums up is whole: cut, it would be another sum, and its session would never be closed."""
    whole = _WHOLE | {"x"} if tree.get("ev") == "session.close" else _WHOLE
    cut = {name: value if name in whole else _value(value, limit) for name, value in tree.items()}
    if (who := cut.get("who")) is not None and not isinstance(who.get("auth_time", 0), int):
        del who["auth_time"]
    return cut


def _value(value: Any, limit: int) -> Any:
    match value:
        case bool():
            return value
        case int():
            return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)
        case str():
            return _text(value, limit)
        case dict():
            return _members(value, limit)
        case list() | tuple():
            return [_value(item, limit) for item in value[: limit // 8]]
        case None:
            return None
        case _:
            return _text(str(value), limit)


def _text(text: str, limit: int) -> str:
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return sound if len(sound) <= limit else f"{sound[:limit]}…({len(sound)} characters)"


def _members(members: dict[str, Any], limit: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in members.items():
        if len(kept) >= max(limit // 8, 12):
            kept["..."] = (
                f"{len(members) - len(kept)} more"
                if all(isinstance(v, str) for v in kept.values())
                else len(members) - len(kept)
            )
            break
        key = name.encode("ascii", "backslashreplace").decode("ascii")[:limit]
        while key in kept:
            key += "~"
        kept[key] = _value(value, limit)
    return kept
