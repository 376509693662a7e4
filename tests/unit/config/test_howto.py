"""The examples of docs/howto/configure.md are what the schema accepts."""

import re
import tomllib
from pathlib import Path

import pytest

from gatebook.config.reading import read

PAGE = Path(__file__).parents[3] / "docs/howto/configure.md"
SERVER = '[[server]]\nname = "payments"\nurl = "https://payments.internal/mcp"\n'
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_accepted_where_it_belongs(example: str) -> None:
    text = example if example.startswith(("[[role", "[[issuer")) else SERVER + example
    assert tomllib.loads(text)
    assert read(text.encode()).problems == ()
