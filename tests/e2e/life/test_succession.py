"""The gate is replaced while it serves, by itself and by another release: nobody is refused, and nothing is executed twice."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gatebook import __version__
from gatebook.ledger.entry import instant_us
from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, alive, call, children, refusal, until
from tests.e2e.life.held import Held
from tests.e2e.life.load import Load, load
from tests.e2e.life.releases import Release
from tests.e2e.life.test_crashes import assert_all_in_the_log
from tests.e2e.life.test_drain import open_stream
from tests.e2e.life.test_rounds import assert_each_call_is_told_once
from tests.e2e.life.upstream import Upstream

PACE = 200
QUICK = "[limits]\nidle_s = 3\n"


def begun(callers: Load, more: int = 100) -> None:
    answered = len(callers.acknowledged)
    until(lambda: len(callers.acknowledged) >= answered + more, "calls go on")


def assert_nobody_noticed(gate: Deployed, callers: Load, upstream: Upstream) -> None:
    assert (callers.refused, callers.broken) == ([], [])
    assert gate.stop() == 0
    assert_all_in_the_log(gate, callers)
    assert_each_call_is_told_once(gate, upstream)


def releases(gate: Deployed) -> list[tuple[Any, Any]]:
    """Of each configuration that came into force: the release, and the one before it."""
    return [(w.entry.x["release"], w.entry.x.get("old_release")) for w in gate.log("config.load")]


@pytest.mark.timeout(600)
def test_everything_is_replaced_under_load_and_no_call_fails(deploy: Deploy, upstream: Upstream) -> None:
    with deploy(more=QUICK) as gate:
        before = children(gate.pid)
        with load(gate, callers=16, calls_per_s=PACE, per_connection=10_000) as callers:
            begun(callers)
            told = gate.command("restart", timeout_s=250)
            assert f"release {__version__} serves in the place of {__version__}" in told.stdout
            until(lambda: not alive(before), "everybody before has gone", 20)
            begun(callers)
        assert len(children(gate.pid)) == 4 and not set(children(gate.pid)) & set(before)
        assert len(gate.said("room.left")) == 2 and {said["status"] for said in gate.said("room.left")} == {0}
        assert_nobody_noticed(gate, callers, upstream)
        assert gate.said("worker.serving") == [], "nothing was short, so nothing is said of it"
        assert releases(gate) == [(__version__, None), (__version__, __version__)]
        assert gate.log("log.recover") == [], "every writer said goodbye"
        print(f"{len(callers.acknowledged)} calls, none failed")


@pytest.mark.timeout(600)
def test_another_release_takes_over_and_gives_back_under_load_and_no_call_fails(
    deploy: Deploy, upstream: Upstream, tmp_path: Path
) -> None:
    following = Release(tmp_path / "next", "0.2.0")
    with deploy(more=QUICK) as gate, load(gate, callers=16, calls_per_s=PACE, per_connection=10_000) as callers:
        begun(callers)
        first = children(gate.pid)
        up = following.command(gate.directory, "upgrade")
        assert (up.returncode, up.stderr) == (0, ""), up.stdout
        assert f"release 0.2.0 serves in the place of {__version__}" in up.stdout
        begun(callers)
        until(lambda: not alive(first), "everybody of the first release has gone", 30)
        second = children(gate.pid)
        down = gate.command("upgrade", timeout_s=250)
        assert f"release {__version__} serves in the place of 0.2.0" in down.stdout
        until(lambda: not alive(second), "everybody of the second release has gone", 30)
        begun(callers)
        callers.stop()
        assert_nobody_noticed(gate, callers, upstream)
    assert releases(gate) == [(__version__, None), ("0.2.0", __version__), (__version__, "0.2.0")]
    sealed_by = [w.entry.x["release"] for w in gate.log("log.start")]
    assert sealed_by == [__version__, "0.2.0", __version__]
    seconds = longest_without_sealer_s(gate)
    assert seconds < 60
    print(f"{len(callers.acknowledged)} calls, none failed; the sealer was away for at most {seconds:.1f} s")


def longest_without_sealer_s(gate: Deployed) -> float:
    stops = [instant_us(w.entry.t) for w in gate.log("log.stop")]
    starts = [instant_us(w.entry.t) for w in gate.log("log.start")]
    return max(start - stop for stop, start in zip(stops, starts[1:], strict=False)) / 1_000_000


@pytest.mark.timeout(600)
def test_a_release_that_cannot_take_over_leaves_the_one_that_serves(
    deploy: Deploy, upstream: Upstream, tmp_path: Path
) -> None:
    broken = Release(tmp_path / "broken", "0.2.0")
    broken.change("serve/worker.py", "        masking.self_test()\n", "        raise SystemExit(3)\n")
    foreign = Release(tmp_path / "foreign", "0.3.0")
    foreign.change("serve/control.py", "\nVERSION = 1\n", "\nVERSION = 2\n")
    newer = Release(tmp_path / "newer", "0.4.0")
    newer.change("formats.py", '"payloads": Format(version=1', '"payloads": Format(version=2')
    with deploy(more=QUICK) as gate, load(gate, callers=4, calls_per_s=50, per_connection=10_000) as callers:
        begun(callers, 20)
        workers = gate.rooms("gate")
        # One whose worker does not start has the place for a moment, and gives it back.
        refused = broken.command(gate.directory, "upgrade")
        assert refused.returncode == 1
        assert f"release {__version__} serves on: gate-0 did not start" in refused.stdout
        assert [said["to"] for said in gate.said("serve.gives_back")] == [__version__]
        assert set(workers) <= set(gate.rooms("gate"))
        begun(callers, 20)
        # Of one that speaks otherwise to its rooms, and of a bad configuration, nothing is tried.
        refused = foreign.command(gate.directory, "upgrade")
        assert refused.returncode == 1
        assert "release 0.3.0 speaks control 2 to its rooms, the one that runs speaks 1" in refused.stdout
        good = gate.config.read_text()
        gate.config.write_text(good + "[[role]]\nmatsch = []\n")
        refused = broken.command(gate.directory, "upgrade")
        assert refused.returncode == 1 and "matsch" in refused.stdout
        gate.config.write_text(good)
        begun(callers, 20)
        # What a newer release may have written is not read by an older one, running or not.
        assert newer.command(gate.directory, "upgrade").returncode == 0
        refused = gate.command("upgrade", check=False, timeout_s=250)
        assert refused.returncode == 1
        why = f"payloads are of format 2, written by release 0.4.0; this is release {__version__}, which reads up to 1"
        assert why in refused.stdout and "formats.json" in refused.stdout
        begun(callers, 20)
        callers.stop()
        assert_nobody_noticed_by(newer, gate, callers, upstream)
    assert why in refusal(gate.directory, good).replace("\n", " ")
    assert why in gate.command("sessions", check=False).stderr.replace("\n", " ")


def assert_nobody_noticed_by(release: Release, gate: Deployed, callers: Load, upstream: Upstream) -> None:
    assert (callers.refused, callers.broken) == ([], [])
    assert gate.stop() == 0
    assert_each_call_is_told_once(gate, upstream)
    done = release.command(gate.directory, "verify", "data", "--key", "data/log.vkey")
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(240)
def test_who_is_connected_to_a_leaving_worker_is_answered_by_what_is_in_force_now(
    deploy: Deploy, upstream: Upstream
) -> None:
    with deploy(more="[limits]\nupstream_response_s = 170\n") as gate:
        held = Held(gate, "held", patience_s=170)
        until(lambda: upstream.held, "a call at the server")
        streams = [open_stream(gate) for _ in range(4)]
        quiet = [gate.connect() for _ in range(8)]
        token = gate.token("counting")
        for number, connection in enumerate(quiet):
            first = gate.ask(call("work", f"first-{number}"), token, connection=connection)
            assert (first.reason, first.headers.get("connection")) == (None, None)
        before = gate.rooms("gate")
        gate.command("restart", timeout_s=250)
        assert set(before) <= set(alive(children(gate.pid))), "they wait for those who are connected"
        # Streams without an end are over, whole and with their record.
        for connection, response in streams:
            response.read()  # raises where it is cut off
            connection.close()
        # What is taken away now is taken away there too.
        gate.config.write_text(gate.config.read_text().replace('tools = ["**"]', 'tools = ["hold"]'))
        loaded = len(gate.said("config.loaded"))
        gate.process.send_signal(signal.SIGHUP)
        until(lambda: len(gate.said("config.loaded")) > loaded, "loaded")
        for number, connection in enumerate(quiet):
            last = gate.ask(call("work", f"last-{number}"), token, connection=connection)
            assert (last.reason, last.headers.get("connection")) == ("denied", "close")
        # And who still waits for an answer gets it.
        assert alive(before)
        upstream.released.set()
        held.join()
        assert held.answered is not None and (held.answered.reason, held.answered.status) == (None, 200)
        until(lambda: not alive(before), "nobody is connected, so they have gone", 20)
        assert gate.stop() == 0
        closed = [w.entry for w in gate.log("stream.close") if w.entry.out.reason == "draining"]
        assert len(closed) == 4 and {entry.w.n for entry in closed} <= {"gate-0", "gate-1"}
        assert not [key for key in upstream.executed if key.startswith("last")]
        gate.verify()


def test_an_order_to_a_gate_that_does_not_run_says_so(deploy: Deploy) -> None:
    with deploy() as gate:
        assert gate.stop() == 0
        told = gate.command("restart", check=False)
        assert told.returncode == 2 and "no gate runs there" in told.stderr


@pytest.mark.timeout(240)
def test_told_to_stop_while_it_is_replaced_the_gate_stops_and_everything_is_sealed(deploy: Deploy) -> None:
    with deploy(more=QUICK) as gate:
        for number in range(5):
            assert gate.ask(call("work", f"key-{number}"), gate.token("counting")).reason is None
        everyone = gate.everyone()
        order = subprocess.Popen([sys.executable, "-m", "gatebook", "restart"], cwd=gate.directory)
        until(lambda: gate.said("serve.hands_over"), "the hand-over", 120)
        assert gate.stop() == 0
        order.wait()
        assert not alive(everyone)
        assert gate.log()[-1].entry.ev == "log.stop"
        assert not list((gate.data_dir / "segments").iterdir())
        gate.verify()
