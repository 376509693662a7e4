"""What is said of a log that was begun by a restore."""

import pytest

from gatebook.ledger.predecessor import Predecessor


@pytest.mark.parametrize(
    ("known_size", "words"),
    [
        (0, "RESTORED, and nobody knows whether later entries were lost"),
        (7, "RESTORED, and nothing was lost"),
        (8, "RESTORED, and nothing was lost"),
        (11, "ROLLED BACK by 3 entries"),
    ],
)
def test_a_restore_says_what_is_known_to_be_missing(known_size: int, words: str) -> None:
    """Also where the checkpoint that was shown is older than the copy, which holds more than that."""
    before = Predecessor(
        origin="example.com/log", vkey="", size=8, root="", known_size=known_size, former="former/1", restored_at="", by=""
    )  # fmt: skip
    assert before.words().startswith(f"{words}: ")
