"""The walk behind a recorded decision, in words: the rule as the configuration of that time had it, and what else could have permitted it."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatebook.config import examine_bytes
from gatebook.ledger.entry import Entry
from gatebook.ledger.files import Files
from gatebook.model.decision import Asking
from gatebook.model.deployment import Deployment, Match
from gatebook.model.errors import Reason
from gatebook.policy.decide import Grant
from gatebook.policy.methods import KINDS

_RULE = re.compile(r"role:(?P<role>.+)/allow\[(?P<index>\d+)\]")


_MEANS = {
    str(Reason.CARD_NUMBER_IN_ARGUMENTS): "the arguments held cardholder data, and no rule of this tool lets that pass",
    str(Reason.TOOL_QUARANTINED): "the tool is not as it was pinned; `gatebook server pins` shows what changed",
    str(Reason.MASK_IN_ARGUMENTS): "the arguments held a mask of ours, which would overwrite good data",
}


class Ruling(msgspec.Struct, frozen=True):
    """`words`: one sentence a line."""

    words: tuple[str, ...]


def ruling(entry: Entry, log: Files) -> Ruling:
    """What the kept configuration says about the decision in `entry`.

    LIMIT: entries hold no groups, so it cannot be told again which roles the caller held; the rule in the entry is what was decided then.
    """
    if entry.pol is None:
        return Ruling(())
    try:
        raw = log.read(f"configs/{entry.pol.config}.toml")
    except OSError:
        return Ruling((f"configuration {entry.pol.config[:16]}… is not kept beside the log",))
    deployment = examine_bytes(raw, Path("gatebook.toml")).deployment
    if deployment is None:
        return Ruling(("the kept configuration cannot be read by this version",))
    return Ruling(tuple(_words(entry, entry.pol.rule, deployment)))


def _words(entry: Entry, rule: str, deployment: Deployment) -> Iterator[str]:
    match = _RULE.fullmatch(rule)
    if match is not None:
        yield from _permitting(match["role"], int(match["index"]), deployment)
        return
    if entry.out.reason != Reason.DENIED:
        yield f"not for lack of a role: {_MEANS.get(entry.out.reason, 'the message itself was refused')}"
        return
    able = [grant.rule for grant in _covering(entry, deployment)]
    if not able:
        yield "no role permits this to anybody; what no role allows is denied"
    else:
        yield f"the caller held no role that permits it; these would: {', '.join(able)}"


def _permitting(name: str, index: int, deployment: Deployment) -> Iterator[str]:
    for role in deployment.roles:
        if role.name == name and index < len(role.allow):
            allow = role.allow[index]
            granted = [
                f"{kind} {', '.join(patterns)}"
                for kind, patterns in (
                    ("tools", allow.tools),
                    ("resources", allow.resources),
                    ("prompts", allow.prompts),
                    ("methods", allow.methods),
                )
                if patterns
            ]
            yield f"role {name} allows on {allow.server}: {'; '.join(granted) or 'the connection itself'}"
            yield f"it is held by: {' or '.join(_who_holds(role.match))}"


def _who_holds(matches: tuple[Match, ...]) -> Iterator[str]:
    for match in matches:
        conditions = [f"issuer {match.issuer}"]
        conditions += [f"group {match.group}"] if match.group is not None else []
        conditions += [f"subject {match.subject}"] if match.subject is not None else []
        conditions += [f"{name} = {value}" for name, value in sorted(match.claims.items())]
        yield ", ".join(conditions)


def _covering(entry: Entry, deployment: Deployment) -> Iterator[Grant]:
    if entry.res.server is None or entry.res.method is None:
        return
    kinds = KINDS.get(entry.res.method, frozenset({"method"}))
    for role in deployment.roles:
        for index, allow in enumerate(role.allow):
            grant = Grant(role.name, index, allow)
            if allow.server == entry.res.server and any(
                grant.covers(
                    Asking(server=allow.server, method=entry.res.method, target_kind=kind, name=entry.res.name)
                )
                for kind in kinds
            ):
                yield grant
