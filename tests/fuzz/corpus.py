"""The inputs worth keeping: one JSON string a line (bytes as Latin-1), the seeds beside them. Whoever reads a diff sees what came in."""

import json
import re
import sys
from itertools import accumulate
from pathlib import Path
from types import FrameType
from typing import Any

from gatebook.masking import MaskingFailed, mask_text
from tests.fuzz.seeds import seeds

DIRECTORY = Path(__file__).parent / "corpus"
MOST_OTHERS = 100
MOST_BYTES = 24_000
"""Of one target's file, and a quarter more. The whole corpus stays below half a megabyte."""

Arc = tuple[str, int, int]

_PUBLISHED = (
    "4111111111111111", "5555555555554444", "378282246310005", "30569309025904", "6011111111111117", "2223003122003222",
    "4222222222222", "6759649826438453", "6221260000000000",
)  # fmt: skip


def entries(target: str) -> list[bytes]:
    """The seeds of `target` and what was kept for it."""
    return seeds(target) + [json.loads(line).encode("latin-1") for line in lines(target)]


def lines(target: str) -> list[str]:
    """What was kept for `target`, as it stands in its file."""
    file = DIRECTORY / f"{target}.jsonl"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def keep(target: str, inputs: list[bytes]) -> int:
    """`inputs` that reach something no shorter one and no seed reaches are the corpus of `target`, then others of every length, as far as
    there is room; returns how many. One that holds a card number nobody published is left out, however it came about."""
    reached: set[Arc] = set().union(*(arcs(target, seed) for seed in seeds(target)))
    new, others = [], []
    for entry in sorted(filter(publishable, set(inputs)), key=lambda entry: (len(entry), entry)):
        found = arcs(target, entry)
        (others if found <= reached else new).append(json.dumps(entry.decode("latin-1")))
        reached |= found
    kept = _first(new, MOST_BYTES) + _first(others[:: max(1, len(others) // MOST_OTHERS)], MOST_BYTES // 4)
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{target}.jsonl").write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return len(kept)


def _first(lines: list[str], most_bytes: int) -> list[str]:
    ends = accumulate(len(line) + 1 for line in lines)
    return [line for line, end in zip(lines, ends, strict=True) if end <= most_bytes]


def arcs(target: str, entry: bytes) -> set[Arc]:
    """Which lines of the gate follow which while the target reads `entry`."""
    from tests.fuzz.targets import (
        TARGETS,
    )  # here, because it brings in the whole gate, which must be instrumented first

    found: set[Arc] = set()

    def local(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, before.get(frame, 0), frame.f_lineno))
            before[frame] = frame.f_lineno
        return local

    def entered(frame: FrameType, event: str, _argument: object) -> Any:
        return local if "/gatebook/" in frame.f_code.co_filename else None

    before: dict[FrameType, int] = {}
    sys.settrace(entered)
    try:
        TARGETS[target](entry)
    finally:
        sys.settrace(None)
    return found


def publishable(entry: bytes) -> bool:
    """Whether the bytes hold no card number but published test numbers."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), entry.decode("latin-1"))
    for number in _PUBLISHED:
        text = re.sub("[ \t._-]{0,3}".join(number), "|", text)
    try:
        return not any(finding.detector in ("pan", "track") for finding in mask_text("card " + text)[1])
    except MaskingFailed:
        return False
