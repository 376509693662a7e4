"""The documents: README, CHANGELOG and everything under docs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


class Found(NamedTuple):
    """`text`, found in `page` (a path from the root)."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(page: Path) -> Iterator[Found]:
    """Targets of links and pictures, outside code."""
    for target in _LINK.findall(_FENCE.sub("", text_of(page))):
        yield Found(name_of(page), target)


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of every fenced block."""
    yield from _FENCE.findall(text_of(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(text_of(page))}


def commands(page: Path) -> Iterator[Found]:
    """Every `gatebook …` line in shell blocks and in inline code, without comments."""
    for language, text in blocks(page):
        if language in ("sh", "console", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s*(?:&&|\|\||;|\|)\s*", line.partition("#")[0].strip().removeprefix("$ ")):
                    if part.startswith("gatebook "):
                        yield Found(name_of(page), part)
    for code in _INLINE.findall(_FENCE.sub("", text_of(page))):
        if code.startswith("gatebook "):
            yield Found(name_of(page), code)


def paths_of_tests(page: Path) -> Iterator[Found]:
    """Every path under tests/ that the page names, in links or in code."""
    for path in re.findall(r"(?<![\w/.])tests/[\w./*-]*[\w*]", text_of(page)):
        yield Found(name_of(page), path)


def names_of_tests(page: Path) -> Iterator[Found]:
    """Every single test that the page names."""
    for name in re.findall(r"\btest_\w+\b(?!\.py)", text_of(page)):
        yield Found(name_of(page), name)
