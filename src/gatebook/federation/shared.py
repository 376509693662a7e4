"""Accounts that are not one person's: shared mailboxes, system and service accounts (PCI DSS 8.2.2, 8.6.1). Told by marks, never proven.

LIMIT: an account that several people share under a person's name bears no mark. It is only noted that its logins are in use side by side
(`beside` in `login.completed`). Who may log in for whom is the provider's affair.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.records import LoggedIn
from gatebook.model.deployment import Desk, SharedMarks

_NAMED_BY = ("email", "preferred_username", "upn")


def looks_shared(sources: Iterable[Mapping[str, Any]], groups: Iterable[str], marks: SharedMarks) -> str:
    """What marks the account as nobody's in particular, in words for the operator; empty where nothing does. `sources`: verified claims."""
    for source in sources:
        for claim in _NAMED_BY:
            if (name := _local_part(source.get(claim))) and any(_fits(name, mark) for mark in marks.names):
                return f"{claim} is on the list of shared names"
        for claim, value in marks.claims.items():
            if claim in source and _as_text(source[claim]) == value:
                return f"claim {claim}"
    if set(groups) & set(marks.groups):
        return "a group of shared accounts"
    return ""


def demand_one_person(seen: LoggedIn, desk: Desk) -> None:
    """Raise LoginRefused(SHARED_ACCOUNT) where the account bears a mark, and such accounts are refused."""
    if seen.shared and desk.shared == "refuse":
        words = "This account is shared or belongs to a system; log in with an account of your own."
        raise LoginRefused(Cause.SHARED_ACCOUNT, words, hint=seen.shared)


def _local_part(name: object) -> str:
    return name.partition("@")[0].casefold() if isinstance(name, str) else ""


def _fits(name: str, mark: str) -> bool:
    """`svc-*`: whatever begins so. `+tag` behind a name is the same mailbox."""
    wanted = mark.casefold()
    if wanted.endswith("*"):
        return name.startswith(wanted[:-1])
    return name == wanted or name.startswith(wanted + "+")


def _as_text(value: object) -> str | None:
    """As roles compare claims: booleans as "true" and "false", integers in decimal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int)) else None
