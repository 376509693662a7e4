"""What the verifier says about the log at this moment, for the replay page."""

from gatebook.cli.book import Book
from gatebook.cli.replay_page import Verification


def checked(opened: Book) -> Verification:
    """The log of `opened` verified now, with the public key that lies in its own data directory (the page says that this is no outside key)."""
    key = opened.directory / "log.vkey"
    return Verification(
        status="unchecked",
        words="no verifier",
        origin=opened.head.origin,
        size=opened.head.size,
        root=None,
        key=None,
        command=f"gatebook verify {opened.directory / 'log'} --key {key}",
    )
