"""The reference pages say what the code says: reasons, commands, entries, settings."""

import ast
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatebook.cli import reference as commands_page
from gatebook.config.reading import tables
from gatebook.gate import reference as reasons_page
from gatebook.gate.hints import HINTS, OTHER_WORDS
from gatebook.ledger import entry
from gatebook.ledger.entry import Entry
from gatebook.model.errors import Reason
from gatebook.model.record import Event, Who
from gatebook.serve.metering import catalogue as metrics_page

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
ENTRIES = (REFERENCE / "entries.md").read_text(encoding="utf-8")

EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", ENTRIES, re.DOTALL)]


def test_the_page_of_reasons_is_current() -> None:
    assert (REFERENCE / "reasons.md").read_text(encoding="utf-8") == reasons_page.reference(), (
        "run: python -m gatebook.gate.reference > docs/reference/reasons.md"
    )


def test_the_page_of_commands_is_current() -> None:
    assert (REFERENCE / "commands.md").read_text(encoding="utf-8") == commands_page.reference(), (
        "run: python -m gatebook.cli.reference > docs/reference/commands.md"
    )


def test_the_page_of_metrics_is_current() -> None:
    assert (REFERENCE / "metrics.md").read_text(encoding="utf-8") == metrics_page.reference(), (
        "run: python -m gatebook.serve.metering.catalogue > docs/reference/metrics.md"
    )


def test_every_reason_has_a_meaning_and_something_to_do() -> None:
    assert set(HINTS) == set(Reason)
    assert all(hint.meaning.endswith(".") and hint.operator.endswith(".") for hint in HINTS.values())
    assert not set(OTHER_WORDS) & ({str(reason) for reason in Reason} - {"completed"})


def nodes_of_the_code(word: str) -> Iterator[ast.AST]:
    """Everything in the files of the product that hold the word; without the demonstration."""
    for file in (ROOT / "src/gatebook").rglob("*.py"):
        if "demo" not in file.parts and word in (text := file.read_text(encoding="utf-8")):
            yield from ast.walk(ast.parse(text))


def literal_reasons() -> set[str]:
    """Every reason that is written down as a text in the code, instead of as a Reason."""
    return {
        str(node.value.value)
        for node in nodes_of_the_code("reason=")
        if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant)
    }


def test_every_other_word_for_a_reason_is_explained_and_used() -> None:
    assert literal_reasons() == set(OTHER_WORDS)


def diagnostics() -> set[str]:
    """The events that our processes may write to standard error."""
    found: set[str] = set()
    for node in nodes_of_the_code("say("):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say" and node.args:
            found |= {str(each.value) for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)}
    return found


def test_every_line_of_diagnostics_is_explained_and_no_other() -> None:
    section = (ROOT / "docs/howto/operate.md").read_text(encoding="utf-8").partition("Lines on standard error")[2]
    rows = re.findall(r"^\| (`[^|]*`) \|", section.partition("\n## ")[0], re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([^`]+)`", row)} - {"event"}
    assert explained == diagnostics()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_stands_in_the_reference(reason: Reason) -> None:
    assert f"| `{reason}` |" in (REFERENCE / "reasons.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", tables().items(), ids=lambda table: table[0] or "top level")
def test_every_setting_stands_in_the_reference(table: tuple[str, type]) -> None:
    where, model = table
    title = "## Top level" if model.__name__ == "File" else f"## `{where}`"
    page = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    section = page.partition(f"{title}\n")[2].partition("\n## ")[0]
    missing = [key for key in model.model_fields if f"| `{key}` |" not in section]  # type: ignore[attr-defined]
    assert missing == []


def fields_of(struct: type, prefix: str = "") -> list[str]:
    """Every field of an entry as it stands in JSON, dotted; lists and nested structs walked."""
    names: list[str] = []
    for field in msgspec.structs.fields(struct):
        name = prefix + field.encode_name
        names.append(name)
        for inner in (field.type, *typing.get_args(field.type)):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                names += fields_of(inner, f"{name}.")
    return names


def test_the_walk_over_an_entrys_fields_sees_them() -> None:
    assert {"v", "from.ip", "pay.x", "pol.rule", "q.shape", "who.acting_for"} <= set(fields_of(Entry))


@pytest.mark.parametrize("field", fields_of(Entry))
def test_every_field_of_an_entry_is_explained(field: str) -> None:
    assert f"| `{field}` |" in ENTRIES


@pytest.mark.parametrize("event", typing.get_args(Event))
def test_every_event_is_explained(event: str) -> None:
    assert f"| `{event}` |" in ENTRIES


def test_no_field_and_no_event_is_explained_that_does_not_exist() -> None:
    explained = set(re.findall(r"^\| `([a-z_.0-9]+)` \|", ENTRIES, re.MULTILINE))
    kinds = set(typing.get_args(typing.get_type_hints(Who)["kind"]))
    assert explained - set(fields_of(Entry)) - set(typing.get_args(Event)) - kinds == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["ev"]))
def test_each_example_is_an_entry(example: dict[str, object]) -> None:
    canonical = json.dumps(example, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    decoded = entry.decode(canonical)
    assert entry.lacking(decoded) == ()
    assert entry.instant_us(decoded.t) > 0


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
    assert {"call.intent", "call.result"} <= {example["ev"] for example in EXAMPLES}
