"""Rounds of disasters under load: whoever is killed or away, each call is executed once at most, and what was answered is in the log."""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, Written, alive, call, descendants, until
from tests.e2e.life.load import Load, load
from tests.e2e.life.test_crashes import _lock, assert_all_in_the_log
from tests.e2e.life.upstream import Upstream, counting_server

VICTIMS = ["worker"] * 7 + ["sealer"] * 6 + ["supervisor"] * 3 + ["everything"] * 4
SEED = 20261122


def strike(gate: Deployed, victim: str, chance: random.Random) -> None:
    """SIGKILL for one room, the supervisor, or all; returns when the others have done what they do about it."""
    if victim == "everything":
        gate.kill_everything()
    elif victim == "supervisor":
        rooms = descendants(gate.pid)
        gate.process.kill()
        gate.process.wait()
        until(lambda: not alive(rooms), "the rooms ended", 20)
    else:
        kind = {"worker": "gate", "sealer": "sealer"}[victim]
        # One that was struck before may just be starting once more: it is struck when it is there.
        until(lambda: gate.rooms(kind), f"a {kind} to strike", 20)
        before = gate.rooms(kind)
        killed = chance.choice(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(gate.rooms(kind)) == len(before) and killed not in gate.rooms(kind), f"another {kind}")


def _whose(outcome: Written) -> object:
    """The call; of one that came late its session and JSON-RPC id. None: an error without an id, which answers a notification and is no call's."""
    if outcome.entry.call is not None:
        return outcome.entry.call
    late = outcome.entry.x.get("id")
    return (outcome.entry.sess, late) if late else None


def assert_each_call_is_told_once(gate: Deployed, upstream: Upstream) -> None:
    """At the server none was executed twice, and each that was is in the log; nobody's outcome is there twice."""
    assert set(upstream.executed.values()) == {1}
    intents = {json.loads(w.entry.q.id or "null") for w in gate.log("call.intent") if w.entry.q is not None}
    assert set(upstream.executed) <= intents
    outcomes = Counter(filter(None, map(_whose, gate.log("call.result"))))
    assert [call for call, count in outcomes.items() if count > 1] == []


@pytest.mark.timeout(400)
def test_in_twenty_rounds_of_kills_nothing_is_executed_twice_and_nothing_acknowledged_is_missing(
    deploy: Deploy, upstream: Upstream
) -> None:
    chance = random.Random(SEED)
    victims = chance.sample(VICTIMS, len(VICTIMS))
    struck: list[str] = []
    loads: list[Load] = []
    while len(struck) < len(victims):
        with deploy() as gate, load(gate, f"life-{len(loads)}", callers=3) as callers:
            loads.append(callers)
            while gate.process.poll() is None and len(struck) < len(victims):
                answered = len(callers.acknowledged)
                until(lambda: len(callers.acknowledged) > answered + 10, "calls go on")  # noqa: B023
                time.sleep(chance.uniform(0, 0.4))  # the random moment
                struck.append(victims[len(struck)])
                strike(gate, struck[-1], chance)
    with deploy() as gate:
        assert gate.stop() == 0
        assert_all_in_the_log(gate, *loads)
        assert_each_call_is_told_once(gate, upstream)
    acknowledged = sum(len(each.acknowledged) for each in loads)
    broken = sum(len(each.broken) for each in loads)
    print(
        f"{dict(Counter(struck))}: {acknowledged} calls answered, {broken} broken, {upstream.executed.total()} executed, none twice"
    )


def test_a_server_that_goes_away_under_load_costs_only_the_calls_it_had(deploy: Deploy, upstream: Upstream) -> None:
    port = upstream.port
    with deploy() as gate:
        with load(gate) as callers:
            until(lambda: len(callers.acknowledged) > 50, "calls")
            upstream.stop()
            until(lambda: len(callers.refused) > 20, "refused")
            with counting_server(port, upstream):
                before = len(callers.acknowledged)
                until(lambda: len(callers.acknowledged) > before + 50, "calls go on")
        reasons = {answer.reason for answer in callers.refused}
        assert reasons <= {"upstream_unreachable", "upstream_broken"} and callers.broken == []
        assert gate.stop() == 0
        assert_all_in_the_log(gate, callers)
        assert_each_call_is_told_once(gate, upstream)
        intents = {w.entry.call for w in gate.log("call.intent")}
        assert intents == {w.entry.call for w in gate.log("call.result")}


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_with_its_sealer_dead_for_two_minutes_the_gate_goes_on_for_one_and_then_refuses(deploy: Deploy) -> None:
    """By the real clock and with the grace that ships; in `make test` the same is tested with a grace of a second."""
    with deploy() as gate:
        token = gate.token("counting")

        def asked() -> tuple[int, str | None]:
            answer = gate.ask(call("work", "key"), token)
            return answer.status, answer.reason

        with (gate.data_dir / "log" / ".lock").open("rb") as lock, contextlib.ExitStack():
            [sealer] = gate.rooms("sealer")
            os.kill(sealer, signal.SIGSTOP)
            os.kill(sealer, signal.SIGKILL)
            _lock(lock.fileno())
            dead_since = time.monotonic()
            last_served = dead_since
            while time.monotonic() < dead_since + 120:
                if asked() == (200, None):
                    last_served = time.monotonic()
                else:
                    assert asked() == (503, "ledger_unavailable")
                time.sleep(0.5)
            print(f"served for {last_served - dead_since:.0f} s of 120")
            assert 30 < last_served - dead_since <= 61
        until(lambda: asked() == (200, None), "served again")
        assert gate.stop() == 0
        gate.verify()
