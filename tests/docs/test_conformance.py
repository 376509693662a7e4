"""The page on conformance says what the tests hold."""

import re

from tests.docs.pages import ROOT
from tests.e2e.conformance.client_suite import SCENARIOS
from tests.e2e.conformance.suite import REVISIONS, baseline, totals
from tests.e2e.conformance.test_clients_through_gatebook import CHECKS

PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
ROWS = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|"]
CORE = ("2026-07-28", "2025-11-25")


def figures(row: int) -> list[int]:
    """The numbers of a row's two columns, direct and through, which are the same."""
    direct, through = ROWS[row][1:3]
    assert direct == through
    return [int(number) for number in re.findall(r"\d+", direct)]


def row_of(text: str, after: int = 0) -> int:
    return next(number for number, row in enumerate(ROWS) if number > after and text in row[0])


def test_the_servers_figures_are_the_baselines() -> None:
    first = row_of("server scenarios (checks): 2026-07-28")
    counts = [len(baseline()[revision]) for revision in REVISIONS]
    assert [figures(first + number) for number in range(len(REVISIONS))] == [[count] for count in counts]
    assert figures(row_of("all server scenarios")) == list(totals(baseline()))


def test_the_clients_figures_are_those_that_the_test_demands() -> None:
    first = row_of("client scenarios (checks): 2026-07-28")
    assert [figures(first + number) for number in range(2)] == [[len(SCENARIOS[r]), CHECKS[r]] for r in CORE]
    total = [sum(len(SCENARIOS[r]) for r in CORE), sum(CHECKS[r] for r in CORE)]
    assert figures(row_of("all client scenarios")) == total
    assert figures(row_of("2025-06-18, on top")) == [len(SCENARIOS["2025-06-18"]), CHECKS["2025-06-18"]]


def test_every_file_of_wire_tests_has_its_place_in_the_table() -> None:
    named = set(re.findall(r"test_\w+", PAGE))
    for file in sorted((ROOT / "tests" / "e2e" / "wire").glob("test_*.py")):
        within = re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert file.stem in named or named & set(within), f"{file.name} is not in docs/conformance.md"
