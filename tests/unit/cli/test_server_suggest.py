"""`gatebook server suggest-role` on a real book: what was let through and used, nothing else, and the reading is recorded first."""

import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gatebook.cli.app import app
from gatebook.config import examine
from gatebook.model.record import Draft, Resource
from tests.unit.cli.sealed_book import SealedBook, a_draft

pytestmark = pytest.mark.slow  # the book is written and synced to the disk


def used(number: int, method: str, name: str, *, server: str = "payments", event: str = "call.intent") -> Draft:
    draft = a_draft(event, name, f"019aac11-0000-7000-8000-{number:012d}", rule=("role:support/allow[0]", "permit"))
    return msgspec.structs.replace(
        draft, resource=Resource(kind="server", server=server, method=method, name=name), payloads=()
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> SealedBook:
    drafts = [
        *(used(number, "tools/call", "get_order") for number in range(3)),
        used(3, "tools/call", "list_orders"),
        used(4, "tools/call", "delete_customer", event="call.refused"),
        used(5, "tools/call", "of_another", server="orders"),
        used(6, "resources/read", "orders://2026/11"),
        used(7, "resources/read", "orders://**/x"),
        used(8, "prompts/get", "complain"),
        used(9, "tools/list", "not an object"),
    ]
    return SealedBook(tmp_path_factory.mktemp("deployment"), drafts)


def run(book: SealedBook, *words: str) -> Result:
    return CliRunner().invoke(app, ["server", "suggest-role", *words, "-c", str(book.config)])


def test_the_role_covers_what_was_used_and_no_more(book: SealedBook, tmp_path: Path) -> None:
    result = run(book, "payments", "--from-book", "2026-01-01", "--issuer", "people", "--group", "support")
    assert result.exit_code == 0, result.output
    [role] = tomllib.loads(result.stdout)["role"]
    assert role["match"] == [{"issuer": "people", "group": "support"}]
    assert role["allow"] == [
        {
            "server": "payments",
            "tools": ["get_order", "list_orders"],
            "resources": ["orders://2026/11"],
            "prompts": ["complain"],
        }
    ]
    assert "# 3 call(s)" in result.stdout and '#"orders://**/x"' in result.stdout and "by alice" in result.stdout
    config = tmp_path / "gatebook.toml"
    config.write_text(book.config.read_text() + result.stdout)
    known = {each.what for each in examine(config).problems} - {each.what for each in examine(book.config).problems}
    assert known <= {"is the name of another role too"} and examine(config).deployment is not None


def test_the_reading_is_in_the_book_before_anything_is_shown(book: SealedBook) -> None:
    result = run(book, "payments", "--from-book", "2026-01-01", "--json")
    said = json.loads(result.stdout)
    assert said["used"]["tools"] == {"get_order": 3, "list_orders": 1} and said["people"] == {"alice": 7}
    book.seal()
    entry = book.entries("log.read")[-1]
    assert entry.res.method == "server suggest-role"
    assert entry.x == {"server": "payments", "since": "2026-01-01", "found": 7}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("nobody-used-it",), 1),
        (("payments", "--person", "bob", "--from-book", "2026-01-01"), 1),
        (("payments", "--from-book", "soon"), 2),
        (("payments", "--issuer", "people"), 2),
    ],
)
def test_nothing_used_and_nonsense_are_told_apart(book: SealedBook, words: tuple[str, ...], status: int) -> None:
    assert run(book, *words).exit_code == status
