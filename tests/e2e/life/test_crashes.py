"""SIGKILL, wherever it hits: nothing acknowledged is lost, nothing is executed twice, and what can go on goes on."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, alive, call, descendants, refusal, until
from tests.e2e.life.held import Held
from tests.e2e.life.load import Load, load
from tests.e2e.life.upstream import Upstream

ROUNDS = 5


def assert_all_in_the_log(gate: Deployed, *loads: Load) -> None:
    in_the_log = {written.leaf for written in gate.log()}
    acknowledged = [one for each in loads for one in each.acknowledged]
    assert acknowledged
    assert [one for one in acknowledged if one.leaf not in in_the_log] == []
    gate.verify()


def test_a_killed_worker_is_replaced_and_none_of_its_calls_is_executed_twice(
    deploy: Deploy, upstream: Upstream
) -> None:
    with deploy(more="[limits]\nsession_idle_s = 1\n") as gate:
        calls = [Held(gate, f"held-{number}") for number in range(12)]
        until(lambda: len(upstream.held) == 12, "all calls at the server")
        killed = gate.rooms("gate")[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(gate.rooms("gate")) == 2 and killed not in gate.rooms("gate"), "another worker")
        upstream.released.set()
        for each in calls:
            each.join()
        broken = [each for each in calls if each.broken is not None]
        answered = [each for each in calls if each.answered is not None]
        assert broken
        assert {each.answered.reason for each in answered if each.answered} <= {None}
        for number in range(24):
            assert gate.ask(call("work", f"after-{number}"), gate.token("counting")).reason is None
        assert set(upstream.executed.values()) == {1}
        # The session closes 30 s after its idle time; the ended writer's calls are then known to have no outcome.
        unknown = until(lambda: [w for w in gate.log("call.result") if w.entry.out.reason == "unknown"], "unknown", 60)
        assert gate.stop() == 0
        unknown = [w for w in gate.log("call.result") if w.entry.out.reason == "unknown"]
        assert len(unknown) == len(broken)
        intents = {w.entry.call for w in gate.log("call.intent")}
        results = [w.entry.call for w in gate.log("call.result")]
        assert sorted(results) == sorted(intents)
        [recovered] = [w.entry for w in gate.log("log.recover")]
        assert str(recovered.x["writer"]).startswith("gate-")
        gate.verify()


def test_the_sealer_is_killed_under_load_and_nothing_is_lost(deploy: Deploy) -> None:
    with deploy() as gate:
        with load(gate) as callers:
            for _ in range(3):
                until(lambda: callers.acknowledged, "calls")
                [sealer] = gate.rooms("sealer")
                os.kill(sealer, signal.SIGKILL)
                until(lambda: gate.rooms("sealer") not in ([], [sealer]), "another sealer")  # noqa: B023
                before = len(callers.acknowledged)
                until(lambda: len(callers.acknowledged) > before, "calls go on")  # noqa: B023
        assert (callers.refused, callers.broken) == ([], [])
        assert gate.stop() == 0
        assert_all_in_the_log(gate, callers)


def test_without_a_sealer_calls_are_refused_after_the_grace_period_and_taken_again_when_it_is_back(
    deploy: Deploy,
) -> None:
    impatient = (str(Path(__file__).with_name("impatient.py")),)
    with deploy(command=impatient) as gate:
        token = gate.token("counting")

        def asked() -> tuple[int, str | None]:
            answer = gate.ask(call("work", "key"), token)
            return answer.status, answer.reason

        with (gate.data_dir / "log" / ".lock").open("rb") as lock:
            [sealer] = gate.rooms("sealer")
            os.kill(sealer, signal.SIGSTOP)
            os.kill(sealer, signal.SIGKILL)
            # No sealer can start while somebody else holds its lock.
            _lock(lock.fileno())
            assert asked() == (200, None)
            until(lambda: asked() == (503, "ledger_unavailable"), "refused")
            assert gate.get("/readyz") == 503
            [worker, _] = gate.rooms("gate")
            os.kill(worker, signal.SIGKILL)
            until(lambda: len(gate.rooms("gate")) == 2 and worker not in gate.rooms("gate"), "another worker")
            until(lambda: len(gate.said("worker.refusing")) >= 3, "the new worker refuses too")
            assert {asked() for _ in range(24)} == {(503, "ledger_unavailable")}
        until(lambda: asked() == (200, None), "served again")
        until(lambda: gate.get("/readyz") == 200, "ready again")
        # A refusal that was due from an earlier failure must not come true later.
        until(lambda: len(gate.said("worker.serving")) >= 2, "told to serve")
        refusing = len(gate.said("worker.refusing"))
        for number in range(150):
            assert asked() == (200, None), number
        assert len(gate.said("worker.refusing")) == refusing
        assert gate.stop() == 0
        gate.verify()


def _lock(descriptor: int) -> None:
    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    until(taken, "the sealer's lock")


def test_without_their_supervisor_the_rooms_end_by_themselves_and_a_new_start_recovers(
    deploy: Deploy, upstream: Upstream
) -> None:
    with deploy() as gate:
        with load(gate) as callers:
            until(lambda: len(callers.acknowledged) > 50, "calls")
            rooms = descendants(gate.pid)
            gate.process.kill()
            gate.process.wait()
            until(lambda: not alive(rooms), "the rooms ended", 5)
        first = callers
    with deploy() as gate:
        with load(gate, "second") as callers:
            until(lambda: callers.acknowledged, "calls")
        assert (callers.refused, callers.broken) == ([], [])
        assert gate.stop() == 0
        assert_all_in_the_log(gate, first, callers)
    assert set(upstream.executed.values()) == {1}


def test_calls_that_are_held_do_not_keep_a_worker_alive_without_its_supervisor(
    deploy: Deploy, upstream: Upstream
) -> None:
    with deploy() as gate:
        calls = [Held(gate, f"held-{number}") for number in range(8)]
        until(lambda: len(upstream.held) == 8, "all calls at the server")
        rooms = descendants(gate.pid)
        gate.process.kill()
        gate.process.wait()
        until(lambda: not alive(rooms), "the rooms ended", 8)
        for each in calls:
            each.join()
        assert {each.answered.reason for each in calls if each.answered} == {"upstream_broken"}
        assert [each.broken for each in calls] == [None] * 8


def test_everything_is_killed_under_load_again_and_again_and_every_acknowledged_call_is_in_the_log(
    deploy: Deploy, upstream: Upstream
) -> None:
    rounds: list[Load] = []
    for number in range(ROUNDS):
        with deploy() as gate, load(gate, f"round-{number}") as callers:
            rounds.append(callers)
            until(lambda: len(callers.acknowledged) >= 30 + 40 * number, "calls")  # noqa: B023
            gate.kill_everything()
    with deploy() as gate:
        assert gate.stop() == 0
        assert_all_in_the_log(gate, *rounds)
        recovered = {str(w.entry.x["epoch"]) for w in gate.log("log.recover")}
        assert len(recovered) == ROUNDS * 4, "two workers, the supervisor and the sealer ended unclean in each round"
    assert set(upstream.executed.values()) == {1}


def test_a_second_deployment_on_the_same_directory_is_refused(deploy: Deploy, tmp_path: Path) -> None:
    with deploy() as gate:
        other = gate.config.read_text().replace('"data"', f'"{gate.data_dir}"')
        other = other.replace('"jwks.json"', f'"{gate.directory / "jwks.json"}"')
        said = refusal(tmp_path / "other", other)
        assert f"data_dir {gate.data_dir}: another deployment runs here" in said.replace("\n", " ")
        assert gate.ask(call("work", "first"), gate.token("counting")).reason is None


def test_a_log_that_is_not_the_signed_one_refuses_the_start_and_stays_as_it_is(deploy: Deploy) -> None:
    with deploy() as gate:
        gate.ask(call("work", "key"), gate.token("counting"))
        assert gate.stop() == 0
    [*_, tile] = sorted((gate.data_dir / "log" / "tile" / "0").rglob("*[0-9]"))
    content = tile.read_bytes()
    tile.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    before = {path: path.read_bytes() for path in (gate.data_dir / "log").rglob("*") if path.is_file()}
    said = refusal(gate.directory, gate.config.read_text())
    assert "sealer did not start: the tiles of the signed log cannot be read" in said.replace("\n", " ")
    assert {path: path.read_bytes() for path in (gate.data_dir / "log").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_room_that_is_ended_by_hand_is_started_again(deploy: Deploy, number: signal.Signals) -> None:
    with deploy() as gate:
        for kind in ("desk", "gate", "sealer"):
            before = gate.rooms(kind)
            os.kill(before[0], number)
            until(lambda: before[0] not in gate.rooms(kind), "ended")  # noqa: B023
            until(lambda: len(gate.rooms(kind)) == len(before), "started again")  # noqa: B023
        until(lambda: gate.ask(call("work", "key"), gate.token("counting")).reason is None, "serving")
        assert gate.stop() == 0
        gate.verify()
