"""What the verifier says about the log at this moment, for the replay page."""

import shlex
import time
from pathlib import Path

from gatebook.adapters.segment_tails import epochs_in
from gatebook.cli.book import Book
from gatebook.cli.replay_page import Verification
from gatebook.cli.verify import SETTLE_S
from gatebook.ledger.files import CannotJudge
from gatebook.ledger.note import NoteError
from gatebook.ledger.verification import Report, verify


def checked(opened: Book, key: str | None) -> Verification:
    """The log of `opened` and its recordings, judged now by `key` (a verifier key, or a file holding it); without one by the key that lies
    in the data directory, which the words say. Never raises for what is wrong with log or key: that is the answer."""
    own = opened.directory / "log.vkey"
    named = key if key is not None else str(own)
    # Words of a shell, so that the line can be pasted.
    command = shlex.join(["gatebook", "verify", str(opened.directory), "--key", named])
    try:
        text = Path(named).read_text("utf-8").strip() if key is None or Path(named).is_file() else named
        report = verify(
            opened.log,
            opened.payloads,
            text,
            settle=lambda: time.sleep(SETTLE_S),
            at_work=lambda: epochs_in(opened.directory / "segments"),
        )
    except (CannotJudge, NoteError, OSError, UnicodeDecodeError) as error:
        return _unchecked(opened, str(error), command)
    return Verification(
        status="intact" if report.intact else "broken",
        words=_words(report, own_key=key is None),
        origin=report.origin,
        size=report.size,
        root=report.root,
        key=text,
        command=command,
    )


def _words(report: Report, *, own_key: bool) -> str:
    if not report.intact:
        first = report.problems[0]
        return f"{len(report.problems)} problems; the first: {first.where}: {first.what}."
    whose = (
        "with the key that lies beside the log: take the key from where you keep it, not from this host"
        if own_key
        else "with the key that was given"
    )
    return (
        f"When this page was made, all {report.size} entries, {report.checkpoints} checkpoints and {report.payloads} "
        f"recorded bodies were read and found unchanged, {whose}."
    )


def _unchecked(opened: Book, why: str, command: str) -> Verification:
    return Verification(
        status="unchecked",
        words=f"It could not be judged: {why}.",
        origin=opened.head.origin,
        size=None,
        root=None,
        key=None,
        command=command,
    )
