"""The table of attacks in docs/attacks.md: case, refusal, entry. Every row is what a test saw a running gate do and found in its book."""

import ast
import os
import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from gatebook.ledger.entry import Entry

PAGE = Path(__file__).parents[3] / "docs" / "attacks.md"
_BEGIN, _END = "<!-- the table of attacks -->", "<!-- end of the table of attacks -->"

TITLES = {
    1: "`alg` none", 2: "HMAC with the public key", 3: "a key in the header", 4: "an address of a key in the header", 5: "`kid`", 6: "`crit`",
    7: "`exp`", 8: "`nbf`, `iat`", 9: "`aud`", 10: "`iss`", 12: "a token of another endpoint", 14: "where the token stands",
    15: "size, encryption, depth, duplicates", 16: "signatures", 18: "rotation of keys", 19: "an outage of the issuer", 20: "an empty key set",
    21: "a flood of unknown keys", 22: "monstrous key sets", 23: "where keys are fetched", 24: "a poisoned key set", 59: "another's session",
    61: "two readings of one message", 62: "what a caller says of itself", 63: "our credentials elsewhere", 64: "framing of requests",
    65: "Origin and Host", 67: "the injected credential, echoed", 76: "a clock that is five minutes off",
}  # fmt: skip
"""The cases that the table answers, by their numbers in the list of attacks that the design began with."""


class Row(NamedTuple):
    case: int
    refusal: str
    entry: str
    test: str
    variant: str


SEEN: list[Row] = []
"""What this run of the tests has seen so far."""


def saw(case: int, variant: str, refusal: str, entry: str) -> None:
    """The running test saw this."""
    test = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].partition("[")[0].partition(" ")[0]
    SEEN.append(Row(case, refusal, entry, test, variant))


def in_words(entry: Entry) -> str:
    """What an entry says of an attack: the event and its reason."""
    return f"`{entry.ev}` `{entry.out.reason}`"


def rendered(rows: list[Row]) -> str:
    """The table, one line for each set of variants that one test saw treated alike."""
    lines = ["| case | variants | what the caller got | the entry | test |", "|---|---|---|---|---|"]
    for (case, refusal, entry, test), found in groupby(sorted(set(rows)), key=lambda row: row[:4]):
        variants = "; ".join(_shown(row.variant) for row in found)
        lines.append(f"| {case} {TITLES[case]} | {variants} | {refusal} | {entry} | `{test}` |")
    return "\n".join(lines)


def _shown(variant: str) -> str:
    printable = "".join(sign if sign.isprintable() else f"U+{ord(sign):04X}" for sign in variant)
    return re.sub(r"([|`<>\\*_\[\]])", r"\\\1", printable)


def committed() -> str:
    """The table as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0].strip()


def holds(row: Row) -> bool:
    """Whether the page has this row."""
    begin, end = f"| {row.case} {TITLES[row.case]} | ", f" | {row.refusal} | {row.entry} | `{row.test}` |"
    lines = [line for line in committed().splitlines() if line.startswith(begin) and line.endswith(end)]
    return any(_shown(row.variant) in line.removeprefix(begin).removesuffix(end).split("; ") for line in lines)


def write(table: str) -> None:
    """The page has `table` from now on."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    PAGE.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def tests_of_the_package() -> set[str]:
    """The names of every test function beside this file."""
    return {
        node.name
        for file in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
