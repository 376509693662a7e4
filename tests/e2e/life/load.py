"""Callers that call as fast as they can, or at a pace, each on a connection of its own, and remember what they were answered."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.e2e.life.deployed import Answered, Deployed, call

CALLS_PER_CONNECTION = 20


class Acknowledged(NamedTuple):
    """A call that was answered: its key, and the leaf its receipt names."""

    key: str
    leaf: str


class Load:
    """`acknowledged`: answered with a result. `refused`: answered with anything else. `broken`: the connection ended instead."""

    def __init__(self, gate: Deployed, name: str, *, every_s: float, per_connection: int) -> None:
        self._gate = gate
        self._every_s = every_s
        self._per_connection = per_connection
        self._name = name
        self._token = gate.token("counting")
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: list[Acknowledged] = []
        self.refused: list[Answered] = []
        self.broken: list[str] = []

    def run(self, caller: int) -> None:
        number = 0
        due = time.monotonic()
        while not self._over.is_set():
            connection = self._gate.connect(30)
            with contextlib.closing(connection):
                for _ in range(self._per_connection):
                    number += 1
                    due = max(due + self._every_s, time.monotonic() - 1)
                    self._over.wait(due - time.monotonic())
                    if self._over.is_set() or not self._one(f"{self._name}-{caller}-{number}", connection):
                        break

    def _one(self, key: str, connection: http.client.HTTPConnection) -> bool:
        """One call; False where the connection is of no more use."""
        try:
            answered = self._gate.ask(call("work", key), self._token, connection=connection)
        except (OSError, http.client.HTTPException) as failure:
            with self._lock:
                self.broken.append(f"{key}: {failure!r}")
            self._over.wait(0.02)
            return False
        with self._lock:
            if answered.status == 200 and answered.reason is None and answered.receipt is not None:
                self.acknowledged.append(Acknowledged(key, answered.receipt))
                return True
            self.refused.append(answered)
        self._over.wait(0.02)
        return False

    def stop(self) -> None:
        self._over.set()


@contextlib.contextmanager
def load(
    gate: Deployed,
    name: str = "load",
    *,
    callers: int = 6,
    calls_per_s: float | None = None,
    per_connection: int = CALLS_PER_CONNECTION,
) -> Iterator[Load]:
    """Calls are made while the context is open; every caller is done when it is left. `calls_per_s`: of all together, where given."""
    every_s = 0.0 if calls_per_s is None else callers / calls_per_s
    made = Load(gate, name, every_s=every_s, per_connection=per_connection)
    threads = [threading.Thread(target=made.run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stop()
        for thread in threads:
            thread.join()
