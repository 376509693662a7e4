"""The replay page: one file, nothing runs in it, nothing that a caller chose becomes markup."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

from gatebook.cli.replay_page import Verification, highlighted, page
from gatebook.model.record import Who
from gatebook.reading.playback import play
from tests.unit.cli.fabricated import ALICE, SESSION, FabricatedBook, story

INTACT = Verification(
    status="intact",
    words="Every entry was read.",
    origin="gatebook.example/demo",
    size=9,
    root="UIajKR4sdl6sXsRDrPUx7i4gVgLk3mnb0QyV9j1VqsA=",
    key="gatebook.example/demo+1ad0ab+AYk",
    command="gatebook verify book/log --key log.vkey",
)
MADE_AT = "2026-11-22T17:00:00.000000Z"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J\u202e"


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    return reader


def a_page(book: FabricatedBook, verification: Verification = INTACT) -> str:
    return page(play(SESSION, book.located, book.opener), verification, made_at=MADE_AT)


def test_the_page_needs_nothing_and_runs_nothing() -> None:
    document = a_page(story())
    reader = read(document)
    assert {"script", "link", "img", "iframe", "object", "form", "a", "base"}.isdisjoint(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert not re.search(r"url\(|@import", document)
    [policy] = [value for name, value in reader.attributes if name == "content" and value and "default-src" in value]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_nothing_that_a_caller_chose_becomes_markup() -> None:
    tame, wild = story(), story()
    for book, words in ((tame, "harmless"), (wild, EVIL)):
        who = Who(
            kind="person", iss=words, sub=words, agent=words, login=words, amr=(words,), acr=words, acting_for=words
        )
        book.located[0] = msgspec.structs.replace(
            book.located[0], entry=msgspec.structs.replace(book.located[0].entry, who=who)
        )
        book.add("call.refused", at_s=3, ok=False, reason=words, name=words, call=words, rule=words, method=words,
                 found={words: 1}, bodies={"request": {words: words}})  # fmt: skip
    verification = msgspec.structs.replace(INTACT, words=EVIL, origin=EVIL, key=EVIL, command=EVIL, root=EVIL)
    evil = a_page(wild, verification)
    assert read(evil).tags == read(a_page(tame)).tags
    assert "<img" not in evil
    assert not set("\x1b\u202e") & set(evil)


def test_masks_are_marked_and_other_numbers_are_not() -> None:
    text = '"411111******1111" 4111 11** **** 1111 ************1111 [cvv removed] 4012880000011881 1234567890123456 378282*****0005 12.5 ****'
    marked = [str(piece) for piece in highlighted(text) if piece.startswith("<mark>")]
    assert marked == [
        "<mark>411111******1111</mark>",
        "<mark>4111 11** **** 1111</mark>",
        "<mark>************1111</mark>",
        "<mark>[cvv removed]</mark>",
        "<mark>4012880000011881</mark>",
        "<mark>378282*****0005</mark>",
    ]
    plain = "".join(re.sub(r"</?mark>", "", piece) for piece in highlighted(text))
    assert plain == text


def test_the_page_tells_the_story() -> None:
    document = a_page(story())
    for words in (ALICE.sub, "claude-code", SESSION, "get_customer", "role:support/allow[0]", "denied", "card_number_in_arguments",
                  "no outcome is in the log yet", "The log verifies", "By itself it proves nothing", MADE_AT):  # fmt: skip
        assert words in document


@pytest.mark.parametrize("status", ["broken", "unchecked"])
def test_a_log_that_was_not_found_intact_says_so(status: str) -> None:
    document = a_page(story(), msgspec.structs.replace(INTACT, status=status, size=None, root=None, key=None))
    assert "NOT" in document or "not verified" in document
    assert "The log verifies" not in document
