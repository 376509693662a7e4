"""What a tool may do, guessed from what its server says of it and from its name. Pure. A guess, and the server may lie: it orders what a human
looks at, and grants nothing by itself but what only reads."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

Tier = Literal["read", "write", "destructive", "money"]
ORDER: Final[tuple[Tier, ...]] = ("read", "write", "destructive", "money")

_WORDS: Final[dict[Tier, frozenset[str]]] = {
    "money": frozenset(
        "pay payment payments payout payouts refund refunds charge charges transfer transfers purchase buy checkout invoice invoices withdraw"
        " withdrawal deposit debit credit capture billing subscribe subscription wallet".split()
    ),
    "destructive": frozenset(
        "delete remove drop destroy purge truncate wipe erase kill terminate revoke reset uninstall shutdown stop cancel close disable ban"
        " overwrite force rollback execute exec eval run shell command bash sql script prune unlink clear".split()
    ),
    "write": frozenset(
        "create update set add write edit put post send move rename upload insert append patch modify change assign comment reply publish"
        " merge push commit save copy import enable start restart invite grant approve replace upsert mark toggle store navigate click type"
        " fill press drag submit".split()
    ),
    "read": frozenset(
        "get list read search find fetch query show describe view count check lookup look status info inspect browse tree stat diff log logs"
        " history summarize preview validate explain analyze calculate compute convert echo ping help whoami download export snapshot"
        " screenshot sum time".split()
    ),
}


def tier_of(tool: Mapping[str, Any]) -> tuple[Tier, str]:
    """(the tier, what it is guessed from). Of the name's words the worst counts; the annotations can only make it worse, but that a name which says
    nothing of what it does is believed to read. Where nothing tells, it is destructive, as MCP has it (ToolAnnotations, destructiveHint)."""
    by_name = _by_name(str(tool.get("name", "")))
    annotations = tool.get("annotations")
    by_hint = _by_hint(annotations) if isinstance(annotations, Mapping) else None
    if by_name is None and by_hint is None:
        return "destructive", "nothing tells"
    if by_name is None or (by_hint is not None and ORDER.index(by_hint) > ORDER.index(by_name)):
        assert by_hint is not None
        return by_hint, "annotations"
    if by_hint is None or ORDER.index(by_hint) < ORDER.index(by_name):
        return by_name, "name" if by_hint is None else "name, though its annotations say less"
    return by_name, "name and annotations"


def _by_name(name: str) -> Tier | None:
    """The worst of the words. The verb in front decides between reading and the rest: `list_orders`, `get_refund` only read."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    if words and words[0] in _WORDS["read"]:
        said = set(words[1:]) - _NOUNS if "and" in words else set()
        return next((tier for tier in reversed(ORDER) if said & _WORDS[tier]), "read")
    if words and words[0] in ("order", "trade"):
        return "money"  # as a verb; `update_order` only changes one
    return next((tier for tier in reversed(ORDER) if set(words) & _WORDS[tier]), None)


_NOUNS: Final = frozenset("command script sql order comment post change commit log".split())


def _by_hint(annotations: Mapping[str, Any]) -> Tier | None:
    if annotations.get("readOnlyHint") is True:
        return "read"
    if annotations.get("destructiveHint") is True:
        return "destructive"
    if annotations.get("destructiveHint") is False:
        return "write"
    return "destructive" if annotations.get("readOnlyHint") is False else None
