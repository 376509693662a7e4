"""The reference page says what the schema says."""

from pathlib import Path

from gatebook.config.reference import reference

PAGE = Path(__file__).parents[3] / "docs/reference/configuration.md"


def test_the_reference_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m gatebook.config.reference > docs/reference/configuration.md"
    )
