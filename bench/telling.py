"""What the person asked for, and the progress lines on standard error."""

import sys
import time

import msgspec

_BEGUN = time.monotonic()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    peers: tuple[str, ...] = ("nginx", "envoy", "gatebook", "fastmcp")
    seconds: float = 2.0
    rounds: int = 3
    keep: bool = False


def say(line: str) -> None:
    print(f"[{time.monotonic() - _BEGUN:6.1f} s] {line}", file=sys.stderr, flush=True)
