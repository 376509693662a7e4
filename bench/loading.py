"""One load on one server: what to ask, what must come back, and what was measured."""

import json
import os
import subprocess
from typing import Any

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
    first: int = 0
    """Position in the order at which it begins."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one load saw. `counted`: answers within the measured time; `sent`: all requests, those before it included."""

    sent: int
    answers: int
    counted: int
    seconds: float
    p50_us: float
    p99_us: float
    p999_us: float
    mean_us: float
    worst_us: float
    behind_us: float
    cpu_s: float
    wrong: int
    first_wrong: str | None = None
    tls: str | None = None

    @property
    def per_s(self) -> float:
        return self.counted / self.seconds if self.seconds > 0 else 0.0


def questions(host: str, path: str, tools: tuple[str, ...], tokens: list[str], *, cards_every: int = 100) -> Questions:
    """Every token with every tool in rotation, and each `cards_every`th call asks for a card instead. 0: never."""
    asked = [(token, tool) for tool in tools for token in tokens]
    cards = [(token, CARD_TOOL) for token in tokens] if cards_every else []
    length = len(asked) * cards_every if cards_every else len(asked)
    order = []
    for n in range(length):
        is_card = cards_every and n % cards_every == cards_every - 1
        order.append(len(asked) + (n // cards_every) % len(tokens) if is_card else n % len(asked))
    return Questions(
        requests=[request(path, host, tool, token) for token, tool in (*asked, *cards)],
        classes=[2 if tool == CARD_TOOL else 1 for _, tool in (*asked, *cards)],
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
        "first": load.first,
        "seed": 20_260_728,
        "ca_file": ca_file,
    }
    done = subprocess.run(
        [str(places.LOAD_PYTHON), str(places.ROOT / "bench" / "load" / "run.py")],
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
