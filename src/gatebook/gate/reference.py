"""docs/reference/reasons.md, made from `refusal` and `hints`: `python -m gatebook.gate.reference > docs/reference/reasons.md`."""

import sys
from collections.abc import Iterable

from gatebook.gate.hints import HINTS, OTHER_WORDS
from gatebook.gate.refusal import TABLE
from gatebook.model.errors import Reason

_INTRODUCTION = """# Reasons

<!-- Made from src/gatebook/gate/refusal.py and src/gatebook/gate/hints.py; a test holds it current. -->

Every refusal has one reason. It stands in the answer (`error.data.reason`, with the call's id in `error.data.call`), in the log
(`out.reason`), and below. The caller reads the words in the last column of the first table, or more exact ones that hold no value.

There is no call id where nobody could be identified (401, `clock_unsynchronised`), and where refusals are only counted (`disk_short`, but for the first of a minute).

Bytes that never became an HTTP request are answered with an HTTP status and a line of plain text. A refused notification has no JSON-RPC answer; it gets the HTTP status, 400 where
the table says 200. A batch is answered with one error per call.

**Was it done?** For a refusal before the intent, no. Where `call.intent` is in the log, the server may have acted, whatever the caller was
told: `gatebook why CALL_ID` shows which of the two it was. Nothing is ever sent twice by the gate.
"""


def reference() -> str:
    """The whole page, ending in a newline. Deterministic."""
    refusals = [reason for reason in Reason if reason in TABLE]
    outcomes = [reason for reason in Reason if reason not in TABLE]
    parts = (
        _INTRODUCTION,
        "## Refusals\n",
        *_table(("reason", "HTTP", "JSON-RPC", "what the caller reads"), (_told(reason) for reason in refusals)),
        "",
        "## What they mean, and what you do\n",
        *_table(("reason", "meaning", "what you do"), (_explained(reason) for reason in refusals)),
        "",
        "## Outcomes\n",
        "Only in the log; nobody is refused by them.\n",
        *_table(("reason", "meaning", "what you do"), (_explained(reason) for reason in outcomes)),
        "",
        "## Other words in `out.reason`\n",
        *_table(("reason", "meaning"), ((f"`{word}`", meaning) for word, meaning in sorted(OTHER_WORDS.items()))),
    )
    return "\n".join(parts) + "\n"


def _told(reason: Reason) -> tuple[str, ...]:
    wording = TABLE[reason]
    return f"`{reason}`", str(wording.status), str(wording.code), wording.words


def _explained(reason: Reason) -> tuple[str, ...]:
    return f"`{reason}`", HINTS[reason].meaning, HINTS[reason].operator


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(titles), _row(("---",) * len(titles)), *(_row(row) for row in rows)]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference())
