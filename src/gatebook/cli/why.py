"""`gatebook why`: everything about one call, or one refused login, for the operator."""

from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, api_wanted
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.visible import visible
from gatebook.ledger.entry import Entry
from gatebook.model.record import SENT_BY_CALLERS
from gatebook.reading.account import Account, account_of


def why(
    call: str = typer.Argument(
        help="The call's id, as the caller was told it (or a page, at a login) and every entry names it; or its beginning."
    ),
    as_json: bool = book.AS_JSON,
    desk: str | None = DESK,
    config: Path = book.CONFIG,
    data_dir: Path | None = book.DATA_DIR,
) -> None:
    """Say everything about one call: who, what, by which rule, what was found, how it ended, and where the log says so.

    The reading itself is recorded before anything is shown. Exit codes: 0 told, 1 no such call (or several begin so), 2 the log cannot be
    read or the reading not recorded.
    """
    try:
        api = api_wanted(desk, config, data_dir)
        account = _from_files(call, config, data_dir) if api is None else api.call(call)
    except PersonError as error:
        printing.give_up(told(error), printing.CANNOT_READ)
    except book.UNREADABLE as error:
        printing.give_up(book.words(error), printing.CANNOT_READ)
    if account is None:
        printing.give_up(f"no single call in the log has an id that begins with {visible(call)}", printing.NOT_FOUND)
    printing.run_reader(lambda: _show(account, as_json))


def _from_files(call: str, config: Path, data_dir: Path | None) -> Account | None:
    opened = book.open_book(config, data_dir)
    account = account_of(opened, call)
    book.record_reading(opened, book.log_read("why", len(account.entries) if account else 0, {"call": call}))
    return account


def _show(account: Account, as_json: bool) -> int:
    if as_json:
        printing.print_json_lines([_as_json(account)])
        return 0
    console = printing.console()
    console.print(Text.assemble(("call ", printing.DIM), (visible(account.call), printing.BOLD)))
    for title, lines in _chapters(account):
        _print_chapter(title, lines, console)
    return 0


def _chapters(account: Account) -> list[tuple[str, list[str]]]:
    return [
        ("who", _who(account.decided)),
        ("what", _what(account.decided)),
        ("decision", _decision(account)),
        ("findings", _findings(account)),
        ("outcome", _outcome(account)),
        ("in the log", _places(account)),
    ]


def _who(entry: Entry) -> list[str]:
    who = entry.who
    evidence = [f"amr {' '.join(who.amr)}" if who.amr else "", f"acr {who.acr}" if who.acr else ""]
    return [
        printing.spoken(who),
        f"issuer {who.iss}" + (f", login {who.login}" if who.login else ""),
        f"log-in evidence: {', '.join(filter(None, evidence)) or 'none in the token'}",
        f"from {entry.from_.ip}" + (f", which calls itself {entry.from_.client}" if entry.from_.client else ""),
    ]


def _what(entry: Entry) -> list[str]:
    words = [" ".join(word for word in (entry.res.server or entry.res.kind, entry.res.method, entry.res.name) if word)]
    if entry.q is not None and entry.q.shape:
        words.append("arguments: " + ", ".join(f"{name} ({kind})" for name, kind in sorted(entry.q.shape.items())))
    if entry.q is not None and entry.q.fp:
        words.append(f"fingerprint of the masked arguments: {entry.q.fp}")
    if entry.cred is not None:
        words.append(f"credential injected: {entry.cred}")
    return words


def _decision(account: Account) -> list[str]:
    policy = account.decided.pol
    if policy is None:
        return ["no rule was asked"]
    verdict = "permitted" if policy.decision == "permit" else f"denied ({account.decided.out.reason})"
    return [
        f"{verdict} by {policy.rule}, snapshot {policy.snapshot}, configuration {policy.config[:16]}…",
        *account.ruling.words,
    ]


def _findings(account: Account) -> list[str]:
    told = [
        f"{printing.spoken_findings(each.entry.dlp)} in the {'request' if each.entry.ev in SENT_BY_CALLERS else 'answer'}"
        for each in account.entries
        if each.entry.dlp
    ]
    return told or ["nothing was found"]


def _outcome(account: Account) -> list[str]:
    if account.decided.ev == "call.refused":
        return [f"refused: {account.decided.out.reason}; nothing was sent to the server"]
    if account.decided.ev == "login.refused":
        return [f"refused: {account.decided.out.reason}; nothing was issued", *_facts(account.decided)]
    if account.result is None and account.decided.ev == "message.client":
        return ["sent; a message that awaits no answer has no other outcome"]
    if account.result is None:
        return ["no outcome is in the log: whether the server acted is unknown"]
    return [
        f"{account.result.out.reason}, {account.took_ms:.1f} ms after the intent was durable",
        *_facts(account.result),
    ]


def _facts(entry: Entry) -> list[str]:
    return [f"{name} {value}" for name, value in sorted(entry.x.items())]


def _places(account: Account) -> list[str]:
    return [
        f"{each.entry.t}  {each.entry.ev:<12}  entry {each.index}  leaf {each.leaf[:16]}…  by {each.entry.w.n}"
        for each in account.entries
    ]


def _print_chapter(title: str, lines: list[str], console: Console) -> None:
    for number, line in enumerate(lines):
        console.print(Text.assemble((f"{'' if number else title:<11}", printing.DIM), visible(line)), soft_wrap=True)


def _as_json(account: Account) -> dict[str, Any]:
    return {
        "call": account.call,
        "decision": msgspec.to_builtins(account.decided.pol),
        "ruling": list(account.ruling.words),
        "outcome": account.result.out.reason if account.result else account.decided.out.reason,
        "took_ms": account.took_ms,
        "entries": [printing.as_json(each) for each in account.entries],
    }
