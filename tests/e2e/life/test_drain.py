"""SIGTERM: not ready, calls under way end, streams are closed with their records, everything is sealed, nobody is left."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.gate import ISSUER_URL, config_for, free_port
from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, alive, call, children, deployed, until
from tests.e2e.life.held import Held
from tests.e2e.life.load import load
from tests.e2e.life.upstream import Upstream
from tests.issuing import Issuer

STREAMS = 6


def open_stream(gate: Deployed) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A GET stream of which the first event has come."""
    connection = gate.connect()
    headers = gate.headers_for(gate.token("counting")) | {"accept": "text/event-stream"}
    connection.request("GET", "/counting/mcp", headers=headers)
    response = connection.getresponse()
    assert response.status == 200
    until(lambda: b"notifications/message" in response.readline(), "an event")
    return connection, response


def rest_of(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read()
    except (OSError, http.client.HTTPException):
        return b""


def test_calls_under_way_are_answered_and_new_ones_told_to_come_back(deploy: Deploy, upstream: Upstream) -> None:
    with deploy() as gate:
        everyone = gate.everyone()
        calls = [Held(gate, f"held-{number}") for number in range(8)]
        until(lambda: len(upstream.held) == 8, "all calls at the server")
        gate.process.send_signal(signal.SIGTERM)
        until(lambda: {gate.get("/readyz") for _ in range(24)} == {503}, "both workers are not ready")
        assert gate.get("/healthz") == 200
        refused = gate.ask(call("work", "late"), gate.token("counting"))
        assert (refused.status, refused.reason, refused.headers["retry-after"]) == (503, "draining", "5")
        assert b'"id":"late"' in refused.body.replace(b" ", b"")
        assert gate.process.poll() is None
        upstream.released.set()
        for each in calls:
            each.join()
        assert [each.answered.reason for each in calls if each.answered] == [None] * 8
        assert gate.process.wait(20) == 0
        assert alive(everyone) == []
        assert "late" not in upstream.executed
        in_the_log = {written.leaf for written in gate.log()}
        assert {each.answered.receipt for each in calls if each.answered} <= in_the_log
        assert gate.log()[-1].entry.ev == "log.stop"
        assert gate.log("log.recover") == []
        gate.verify()


def test_while_one_worker_drains_nobody_waits_for_one_that_has_ended(deploy: Deploy, upstream: Upstream) -> None:
    with deploy() as gate:
        held = Held(gate, "held")
        until(lambda: upstream.held == {"held"}, "the call at the server")
        gate.process.send_signal(signal.SIGTERM)
        until(lambda: len(gate.rooms("gate")) == 1, "the worker without a call has ended")
        assert [gate.get("/readyz") for _ in range(24)] == [503] * 24
        upstream.released.set()
        held.join()
        assert held.answered is not None and held.answered.reason is None
        assert gate.process.wait(20) == 0


def test_streams_are_closed_with_their_records_and_hold_up_nothing(deploy: Deploy, upstream: Upstream) -> None:
    """Even with half an hour for calls: nobody waits for a stream that ends only with its reader."""
    with deploy(more="[limits]\ndrain_s = 1800\n") as gate:
        streams = [open_stream(gate) for _ in range(STREAMS)]
        assert gate.stop() == 0
        for connection, response in streams:
            rest_of(response)
            connection.close()
        until(lambda: upstream.streams == 0, "the server's streams ended")
        assert len(gate.log("stream.open")) == STREAMS
        closed = gate.log("stream.close")
        assert {w.entry.call for w in closed} == {w.entry.call for w in gate.log("stream.open")}
        assert {w.entry.out.reason for w in closed} == {"cancelled"}
        assert len(gate.log("session.chunk")) == STREAMS
        gate.verify()


@pytest.mark.parametrize("tool", ["hold", "trickle"])
def test_a_call_that_takes_longer_than_the_drain_is_broken_off_and_said_to_be(
    deploy: Deploy, upstream: Upstream, tool: str
) -> None:
    with deploy(more="[limits]\ndrain_s = 1\n") as gate:
        everyone = gate.everyone()
        held = Held(gate, "held", tool)
        until(lambda: upstream.held == {"held"}, "the call at the server")
        assert gate.stop() == 0
        held.join()
        assert alive(everyone) == []
        assert held.answered is not None
        assert b'"reason":"upstream_broken"' in held.answered.body
        [intent], [result] = gate.log("call.intent"), gate.log("call.result")
        assert (result.entry.call, result.entry.out.reason) == (intent.entry.call, "upstream_broken")
        gate.verify()


def test_no_connection_is_refused_while_a_worker_is_replaced(deploy: Deploy) -> None:
    with deploy(workers=1) as gate:
        [worker] = gate.rooms("gate")
        os.kill(worker, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        token = gate.token("counting")
        tried = 0
        while True:
            there = gate.rooms("gate")
            with socket.create_connection(("127.0.0.1", gate.port), timeout=30):
                tried += 1
            if there not in ([], [worker]):
                break
        assert gate.ask(call("work", "after"), token).reason is None
        assert tried > 1


def test_connections_made_while_there_is_no_worker_are_answered_by_the_next(deploy: Deploy) -> None:
    with deploy(workers=1) as gate:
        [worker] = gate.rooms("gate")
        os.kill(worker, signal.SIGKILL)
        until(lambda: not alive([worker]), "killed")
        waiting = [Held(gate, f"early-{number}", "work") for number in range(5)]
        for each in waiting:
            each.join()
        assert [each.broken for each in waiting] == [None] * 5
        assert [each.answered.reason for each in waiting if each.answered] == [None] * 5


def test_a_stop_under_load_loses_nothing_that_was_answered(deploy: Deploy, upstream: Upstream) -> None:
    with deploy() as gate:
        everyone = gate.everyone()
        with load(gate) as callers:
            until(lambda: len(callers.acknowledged) > 100, "calls")
            assert gate.stop() == 0
        assert alive(everyone) == []
        assert {one.leaf for one in callers.acknowledged} <= {written.leaf for written in gate.log()}
        assert {answer.reason for answer in callers.refused} <= {"draining"}
        assert set(upstream.executed.values()) == {1}
        intents, results = ({w.entry.call for w in gate.log(event)} for event in ("call.intent", "call.result"))
        assert intents == results
        gate.verify()


def test_a_stop_during_the_start_leaves_nobody(deploy: Deploy) -> None:
    """At any moment of it: the rooms that are there end, and a later start finds a log it can go on with."""
    with deploy() as gate:
        gate.stop()
    for step in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "gatebook", "serve"], cwd=gate.directory, stderr=subprocess.DEVNULL
        )
        there = until(lambda: len(children(process.pid)) >= min(step, 4), "so many rooms")  # noqa: B023
        assert there
        family = [process.pid, *children(process.pid)]
        time.sleep(0.05)  # any moment will do: this only spreads them
        family += children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)  # before Python is up it cannot be told
        until(lambda: not alive(family), "nobody left", 10)  # noqa: B023
    with deploy() as gate:
        assert gate.ask(call("work", "after"), gate.token("counting")).reason is None
        assert gate.stop() == 0
        gate.verify()


def test_a_unix_listener_is_shared_by_the_workers_and_taken_over_from_a_killed_deployment(
    upstream: Upstream, tmp_path: Path
) -> None:
    port, path = free_port(), tmp_path / "gate.sock"
    config = config_for(port, {"counting": upstream.url}).replace("listen = [", f'listen = ["unix:{path}", ')
    issuer = Issuer(ISSUER_URL, name="corp")

    def asked() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request(
            "POST", "/counting/mcp", body=call("work", "key"), headers=gate.headers_for(gate.token("counting"))
        )
        status = connection.getresponse().status
        connection.close()
        return status

    with deployed(tmp_path / "gate", config, port, issuer=issuer) as gate:
        assert {asked() for _ in range(8)} == {200}
        os.kill(gate.rooms("gate")[0], signal.SIGKILL)
        assert {asked() for _ in range(8)} == {200}
        gate.kill_everything()
        assert path.exists()
    with deployed(tmp_path / "gate", config, port, issuer=issuer) as gate:
        assert {asked() for _ in range(8)} == {200}
        assert gate.stop() == 0
    assert not path.exists()
