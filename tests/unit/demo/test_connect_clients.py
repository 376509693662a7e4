"""docs/howto/connect-clients.md shows what the demonstration prints, and its program runs as far as it can without a gate."""

import ast
import re
from pathlib import Path

import pytest

from gatebook.demo import clients
from gatebook.gate.refusal import TABLE
from gatebook.model.errors import Reason

PAGE = (Path(__file__).parents[3] / "docs/howto/connect-clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "instruction",
    [
        *clients.instructions("http://127.0.0.1:8080/payments/mcp"),
        clients.with_header("http://127.0.0.1:8080/payments/mcp", "TOKEN"),
    ],
    ids=lambda instruction: instruction.client,
)
def test_the_page_has_the_printed_text(instruction: clients.Instruction) -> None:
    assert f"{instruction.text}\n" in BLOCKS
    assert f"## {instruction.client}" in PAGE


def test_the_program_on_the_page_is_one() -> None:
    [program] = [block for block in BLOCKS if block.startswith("import asyncio")]
    ast.parse(program)


@pytest.mark.parametrize(
    "reason",
    [Reason.DENIED, Reason.CARD_NUMBER_IN_ARGUMENTS, Reason.MASK_IN_ARGUMENTS],
    ids=lambda reason: reason.value,
)
def test_the_codes_on_the_page_are_the_gates(reason: Reason) -> None:
    quoted = re.search(rf"error {TABLE[reason].code}, “([^”]+)”", PAGE)
    assert quoted is not None
    assert quoted[1] in TABLE[reason].words
