"""The tour's own means: the change that it makes to a copied log must be one that a verifier has to find."""

from pathlib import Path

import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.demo.place import DemoError
from gatebook.demo.tour import change_one_byte
from gatebook.ledger.tiles import join_bundle, split_bundle
from gatebook.ledger.verification import Report, verify
from tests.unit.cli.sealed_book import SealedBook, story


def judged(book: SealedBook) -> Report:
    log, payloads = LogFiles(book.directory / "log"), LogFiles(book.directory / "payloads")
    return verify(log, payloads, (book.directory / "log.vkey").read_text().strip())


def test_in_a_copy_that_holds_more_than_was_signed_what_was_signed_is_changed(tmp_path: Path) -> None:
    book = SealedBook(tmp_path, story())
    log = book.directory / "log"
    signed = max((log / "tile/entries").rglob("000.p/*"), key=lambda path: int(path.name))
    entries = split_bundle(signed.read_bytes(), int(signed.name))
    unsigned = signed.with_name(f"{len(entries) + 1}")  # as a sealer leaves it that has not published yet
    unsigned.write_bytes(join_bundle([*entries, entries[-1]]))
    assert judged(book).intact

    changed, offset = change_one_byte(log)

    assert changed == signed and signed.read_bytes()[offset - 1 : offset + 6] == b'"eenied'
    assert [problem.where for problem in judged(book).problems if problem.where.startswith("entry ")]


def test_a_log_in_which_nothing_was_denied_says_so(tmp_path: Path) -> None:
    book = SealedBook(tmp_path, story()[:2])
    with pytest.raises(DemoError, match="no entry of a denied call"):
        change_one_byte(book.directory / "log")
