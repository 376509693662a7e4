"""What an error tells to install is what pyproject.toml says, and suits every way of installing."""

import tomllib

from gatebook.model import extras
from tests.docs.pages import ROOT


def test_the_packages_are_those_of_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert declared == {"demo": [extras.DEMO], "postgresql": [extras.POSTGRESQL], "otel": [extras.OTEL]}


def test_no_message_and_no_page_asks_an_index_for_gatebook_itself() -> None:
    """It is on none: whoever took the name there would be installed."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    asking = [str(page) for page in pages if "gatebook[" in page.read_text(encoding="utf-8")]
    assert asking == []
