"""The table of attacks on the desk is whole, and its sums are right. That the tests it names exist is asked for every page."""

import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("<!-- the table of attacks on the desk -->")[2].partition("<!-- end of the table")[0]
ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in TABLE.splitlines() if line[:1] == "|"]

ELSEWHERE = {60, 66, 68, 69, 70}
"""Of 1 to 77: what the page says in words."""


def numbers(cell: str) -> set[int]:
    found = re.match(r"(\d+)(?: to (\d+))? ", cell)
    assert found, f"a row without a number: {cell}"
    return set(range(int(found[1]), int(found[2] or found[1]) + 1))


def test_the_desks_cases_are_each_there_once_and_add_up() -> None:
    *rows, total = ROWS[2:]
    named = [number for row in rows for number in sorted(numbers(row[0]))]
    assert len(named) == len(set(named)) and named == sorted(named)
    assert total[0] == f"**{len(named)} cases**" and total[2] == f"**{sum(int(row[2]) for row in rows)}**"
    assert all(re.search(r"`test_\w+`", row[5]) for row in rows), "a row without a test"


def test_every_number_of_the_list_is_on_the_page() -> None:
    of_the_gate = PAGE.partition("<!-- the table of attacks -->")[2].partition("<!-- end of")[0]
    named = {number for row in ROWS[2:-1] for number in numbers(row[0])}
    named |= {int(found) for found in re.findall(r"^\| (\d+) ", of_the_gate, re.MULTILINE)}
    assert named | ELSEWHERE == set(range(1, 78))
    for number in ELSEWHERE:
        assert re.search(rf"\b{number}\b", PAGE.partition("| besides |")[2].partition("## Cases")[0])
