"""A process's own diagnostics: JSON lines on stderr, no files. Never a body, a token, a secret or a card number."""

import json
import sys
import time
import traceback
from collections import Counter

SAID: Counter[str] = Counter()
"""How often this process has said what, by event."""


def say(event: str, **facts: str | int | float | bool | None) -> None:
    """One line: what happened, when, and the facts."""
    SAID[event] += 1
    line = {"t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **facts}
    sys.stderr.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stderr.flush()


def say_bug(where: str, failure: BaseException | None) -> None:
    """An exception that should not exist: its type and the places it passed, never its text (which may hold a value)."""
    frames = traceback.extract_tb(failure.__traceback__) if failure is not None else []
    trail = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-6:]))
    say("bug", where=where, type=type(failure).__name__, trail=trail)
