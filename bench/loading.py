"""One load on one server: what to ask, what must come back, and what was measured."""

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bench import places
from bench.bodies import CARD_TOOL, request
from bench.processes import LOAD_CORE


class Wrong(Exception):
    """An answer, or the count of them, was not what it must be: the row is void."""


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of one server: `requests` in the order of `order` (positions in `requests`), again and again."""

    requests: list[bytes]
    classes: list[int]
    """Which of the expected answers is right for each request."""
    order: list[int]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The right answers, as bytes of the body: `plain` to everything but CARD_TOOL. `whole`: all of the body, else a part of it."""

    plain: bytes
    card: bytes
    whole: bool = True


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How: closed with `connections` that ask as soon as they are answered, or at `rate` calls a second at random instants."""

    connections: int
    seconds: float
    warm_s: float = 0.3
    rate: float | None = None
    most_requests: int | None = None
    patience_s: float = 20.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one load saw. `counted`: answers within the measured time; `sent`: all requests, those before it included."""

    sent: int
    answers: int
    counted: int
    seconds: float
    began: float
    """On the system's monotonic clock."""
    lasted: float
    """Seconds from then to the last answer, those after the measured time included."""
    p50_us: float
    p99_us: float
    p999_us: float
    mean_us: float
    worst_us: float
    behind_us: float
    unsent: int
    """Calls that were due and not sent in the measured time, because every connection was still waiting."""
    cpu_s: float
    wrong: int
    first_wrong: str | None = None
    tls: str | None = None

    @property
    def per_s(self) -> float:
        return self.counted / self.seconds if self.seconds > 0 else 0.0


CARDS_EVERY: Final = 100
_LEAST_ORDER = 6400


def questions(host: str, callers: Sequence[tuple[str, str]], tools: Sequence[str]) -> Questions:
    """Every caller (path, token) with every tool in rotation, callers changing fastest; each hundredth call asks for a card instead."""
    asked = [(path, token, tool) for tool in tools for path, token in callers]
    cards = [(path, token, CARD_TOOL) for path, token in callers]
    order: list[int] = []
    for number in range(len(asked) * max(1, _LEAST_ORDER // len(asked))):
        if len(order) % CARDS_EVERY == CARDS_EVERY - 1:
            order.append(len(asked) + (len(order) // CARDS_EVERY) % len(cards))
        order.append(number % len(asked))
    return Questions(
        requests=[request(path, host, tool, token) for path, token, tool in (*asked, *cards)],
        classes=[2 if tool == CARD_TOOL else 1 for _, _, tool in (*asked, *cards)],
        order=order,
    )


def run(
    port: int, asked: Questions, expected: Expected, load: Load, *, ca_file: str | None = None, core: int = LOAD_CORE
) -> Measured:
    """The load has run and every answer was right. Raises Wrong."""
    config: dict[str, Any] = {
        "port": port,
        "connections": load.connections,
        "requests": [one.decode("latin-1") for one in asked.requests],
        "classes": asked.classes,
        "order": [position + 1 for position in asked.order],
        "expected": [expected.plain.decode("latin-1"), expected.card.decode("latin-1")],
        "by_contents": not expected.whole,
        "buffer_bytes": 2 * max(len(expected.plain), len(expected.card)) + (1 << 16),
        "warm_s": load.warm_s,
        "seconds": load.seconds,
        "patience_s": load.patience_s,
        "rate": load.rate,
        "most_requests": load.most_requests,
        "seed": 20_260_728,
        "ca_file": ca_file,
    }
    done = subprocess.run(
        [str(places.LOAD_PYTHON), str(places.ROOT / "bench" / "programs" / "load.py")],
        input=json.dumps(config),
        capture_output=True,
        text=True,
        timeout=load.warm_s + load.seconds + load.patience_s + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode != 0:
        raise Wrong(done.stderr.strip()[-2000:])
    measured = msgspec.convert({key: _number(value) for key, value in json.loads(done.stdout).items()}, Measured)
    if measured.wrong:
        raise Wrong(f"{measured.wrong} of {measured.answers} answers are wrong; the first: {measured.first_wrong}")
    if measured.sent != measured.answers:
        raise Wrong(f"{measured.sent} calls were sent and {measured.answers} answered")
    return measured


def _number(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
