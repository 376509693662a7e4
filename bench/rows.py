"""The rows of the table as data."""

from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from bench.bodies import Kind

Manner = Literal["side-by-side", "roles", "stalled", "sealer-alone", "sealer-behind", "servers", "streams", "workers"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `tokens` in rotation; `cards`: every answer carries a card number, not one in a hundred."""

    name: str
    what: str
    manner: Manner = "side-by-side"
    kind: Kind = "clean"
    kib: int = 1
    connections: int = 32
    events: bool = False
    cards: bool = False
    tls: bool = False
    tokens: int = 64
    direct: bool = False
    """The upstream is also asked without anything between, and the disk's fdatasync is measured."""
    fastmcp: bool = False
    paced_rounds: int = 1


ROWS: Final[tuple[Row, ...]] = (
    Row(name="clean-1k-c1", what="clean 1 KB, one connection", connections=1, direct=True),
    Row(name="clean-1k-c32", what="clean 1 KB, 32 connections", fastmcp=True, paced_rounds=99),
    Row(name="clean-1k-c256", what="clean 1 KB, 256 connections", connections=256),
    Row(name="clean-200k-c32", what="clean 200 KB, 32 connections", kib=200),
    Row(name="ids-1k-c32", what="ids and timestamps, 1 KB, 32 connections", kind="ids"),
    Row(name="ids-200k-c32", what="ids and timestamps, 200 KB, 32 connections", kind="ids", kib=200),
    Row(name="cards-1k-c32", what="a card number in every answer, 1 KB, 32 connections", cards=True),
    Row(name="sse-1k-c32", what="event streams: a notification and the answer, 1 KB, 32 connections", events=True),
    Row(name="tls-1k-c32", what="TLS 1.3 on both hops, clean 1 KB, 32 connections", tls=True),
    Row(
        name="roles-1000",
        what="1,000 roles against 1: 1,000 tokens and 20 tools in rotation",
        manner="roles",
        tokens=1000,
    ),
    Row(
        name="stalled-1-of-10",
        what="nine servers' calls, without and with a tenth that never answers",
        manner="stalled",
    ),
    Row(name="sealer-alone", what="the sealer alone on a core, behind a backlog", manner="sealer-alone"),
    Row(
        name="sealer-behind",
        what="how far the sealer is behind at 500, 1,000 and 2,000 calls/s",
        manner="sealer-behind",
    ),
)


NIGHTLY: Final[tuple[Row, ...]] = (
    Row(name="servers-200", what="200 servers against 1", manner="servers"),
    Row(name="streams-5000", what="calls beside 5,000 open event streams", manner="streams"),
    Row(name="workers-2", what="two workers against one; the load shares their cores", manner="workers"),
)


def chosen(patterns: str, among: tuple[Row, ...] = ROWS) -> tuple[Row, ...]:
    """The rows whose names match one of the comma-separated patterns (`*` and `?`), in their order. Raises ValueError where one matches none."""
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(fnmatchcase(row.name, pattern) for row in among):
            raise ValueError(f"no row is called {pattern!r}; there are: {', '.join(row.name for row in among)}")
    return tuple(row for row in among if any(fnmatchcase(row.name, pattern) for pattern in wanted))
