"""`gatebook server suggest-role`: the smallest role that covers what was really used, out of the book."""

import datetime
import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from gatebook.cli import book, printing
from gatebook.cli.server_add import GROUP, ISSUER, ROLE
from gatebook.ledger.entry import Entry
from gatebook.reading.selection import Selection, instant
from gatebook.takeover.roles import Holder, role_of_use

KINDS: Final = {
    "tools/call": "tools",
    "resources/read": "resources",
    "resources/subscribe": "resources",
    "prompts/get": "prompts",
}
"""What a call reaches for by name, and under which key a role grants it. All else follows the grant on its object."""


class Use(msgspec.Struct, kw_only=True):
    """What was used of one server. `people`: who, as entries name them."""

    tools: Counter[str] = msgspec.field(default_factory=Counter)
    resources: Counter[str] = msgspec.field(default_factory=Counter)
    prompts: Counter[str] = msgspec.field(default_factory=Counter)
    people: Counter[str] = msgspec.field(default_factory=Counter)
    calls: int = 0

    def add(self, entry: Entry) -> None:
        kind, name = KINDS.get(entry.res.method or ""), entry.res.name
        if kind is not None and name is not None:
            names: Counter[str] = getattr(self, kind)
            names[name] += 1
            self.people[entry.who.sub] += 1
            self.calls += 1


def suggest_role(
    name: str = typer.Argument(help="The [[server]]'s name."),
    since: str = typer.Option("30d", "--from-book", help="From when on: 30d, 12h, or 2026-11-22."),
    person: str | None = typer.Option(
        None, "--person", help="Only what this subject, agent or human behind a job used."
    ),
    role: str | None = ROLE,
    issuer: str | None = ISSUER,
    group: str | None = GROUP,
    as_json: bool = book.AS_JSON,
    config: Path = book.CONFIG,
    data_dir: Path | None = book.DATA_DIR,
) -> None:
    """Write the smallest role that covers every call of a server that was let through, as TOML on standard output; nothing is changed.

    The search is recorded before anything is shown. Names are those of the entries: one in which something was masked is not granted. Exit codes: 0 written,
    1 nothing was used, 2 the log cannot be read or the reading not recorded.
    """
    asked = {"server": name, "since": since} | ({"person": person} if person is not None else {})
    if (issuer is None) != (group is None):
        printing.give_up("--issuer and --group belong together", 2)
    try:
        selection = Selection(
            person=person, event="call.intent", since=instant(since, datetime.datetime.now(datetime.UTC))
        )
        opened = book.open_book(config, data_dir)
        use = Use()
        for each in opened.backwards():
            if selection.since is not None and each.entry.t < selection.since:
                break
            if each.entry.res.server == name and selection.wants(each.entry):
                use.add(each.entry)
        book.record_reading(opened, book.log_read("server suggest-role", use.calls, asked))
    except book.UNREADABLE as error:
        printing.give_up(book.words(error), printing.CANNOT_READ)
    if not use.calls:
        printing.give_up(f"nobody used {name} since {selection.since}", printing.NOT_FOUND)
    holder = Holder(issuer=issuer, group=group) if issuer is not None and group is not None else None
    used: dict[str, Any] = {
        kind: dict(getattr(use, kind)) for kind in ("tools", "resources", "prompts") if getattr(use, kind)
    }
    source = (
        f"What was used of {name} since {selection.since}: {use.calls} call(s) by {', '.join(sorted(use.people)[:20])}"
        f"{' and others' if len(use.people) > 20 else ''}. What nobody used yet, such as once a year, is not in it."
    )
    text = role_of_use(role or f"{name}-used", {name: used}, holder, source)
    if as_json:
        answer = {
            "server": name,
            "since": selection.since,
            "calls": use.calls,
            "people": dict(use.people),
            "used": used,
            "role": text,
        }
        printing.run_reader(lambda: _print(json.dumps(answer, indent=2)))
    printing.run_reader(lambda: _print(text.lstrip("\n").rstrip("\n")))


def _print(text: str) -> int:
    typer.echo(text)
    return 0
