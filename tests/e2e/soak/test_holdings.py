"""`room.holds`: what an operator sees who suspects a leak."""

import os
import signal

import pytest

from tests.e2e.life.conftest import deploy, upstream
from tests.e2e.life.deployed import call, until

__all__ = ["deploy", "upstream"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_rooms_tell_what_they_hold_and_a_signal_to_all_of_them_ends_none(deploy, upstream) -> None:  # type: ignore[no-untyped-def]
    with deploy() as gate:
        assert gate.ask(call("work", "once"), gate.token("counting")).status == 200
        before = gate.everyone()
        for pid in before:
            os.kill(pid, signal.SIGUSR1)
        until(lambda: len(gate.said("room.holds")) >= 3, "all have told")
        told = {line["room"]: line for line in gate.said("room.holds")}
        assert set(told) == {"supervisor", "gate-0", "gate-1"}
        assert all(line[what] > 0 for line in told.values() for what in ("rss_bytes", "tasks", "threads", "sockets"))
        assert told["gate-0"]["tokens"] + told["gate-1"]["tokens"] == 1
        assert gate.everyone() == before
        assert gate.stop() == 0
