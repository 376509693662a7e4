"""What becomes of processes and calls when the configuration changes, when a process ends in its own way, and when the supervisor is killed."""

import json
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gate import free_port
from tests.e2e.life.deployed import Deployed, alive, deployed, descendants, until
from tests.e2e.outside_tmp import outside_tmp
from tests.e2e.runner.client import Calling, Client, messages, text
from tests.e2e.runner.configured import WITHOUT_SANDBOX, commands_config, python
from tests.e2e.runner.starting import needs_bubblewrap

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]
RUN = "start_s = 60\nmemory_bytes = 1000000000\n"


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gb-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def each_call_has_one_outcome(gate: Deployed) -> Counter[str]:
    """And none that is in doubt. How often each ended how."""
    intents = sorted(written.entry.call or "" for written in gate.log("call.intent"))
    results = gate.log("call.result")
    assert sorted(written.entry.call or "" for written in results) == intents
    return Counter(written.entry.out.reason for written in results)


def test_a_reload_ends_what_changed_and_what_is_gone_and_leaves_no_call_in_doubt(place: Path) -> None:
    port, calls = free_port(), place / "calls"
    command = python("small_server.py", "--calls", str(calls))
    both = commands_config(port, {"kept": command, "changed": command, "gone": command}, run=RUN)
    with deployed(place / "gate", both, port, env=WITHOUT_SANDBOX) as gate:
        clients = {name: Client(gate, name) for name in ("kept", "changed", "gone")}
        pids = {}
        for name, client in clients.items():
            assert client.initialize().status == 200
            pids[name] = int(text(client.call("pid")))
        under_way = {name: Calling(client, "wait", path=str(place / "done")) for name, client in clients.items()}
        until(lambda: calls.read_text().count("call wait") == 3, "all three are at work")
        fewer = commands_config(port, {"kept": command, "changed": command}, run=RUN)
        before, named, after = fewer.partition('name = "changed"')
        gate.config.write_text(before + named + after.replace("memory_bytes = 1", "memory_bytes = 2", 1))
        gate.process.send_signal(signal.SIGHUP)
        for name in ("changed", "gone"):
            under_way[name].join()
            answered = under_way[name].answered
            assert answered is not None
            assert messages(answered)[-1]["error"]["data"]["reason"] == "upstream_broken"
            assert "unknown" in messages(answered)[-1]["error"]["message"]
        until(lambda: alive(list(pids.values())) == [pids["kept"]], "the processes of both ended")
        until(lambda: not (gate.data_dir / "run/runner/gone.sock").exists(), "nobody listens for the one that is gone")
        (place / "done").touch()
        under_way["kept"].join()
        kept = under_way["kept"].answered
        assert kept is not None and text(kept) == "waited"
        assert int(text(clients["kept"].call("pid"))) == pids["kept"], "who did not change has noticed nothing"
        assert clients["changed"].call("pid").status == 404
        assert clients["changed"].initialize().status == 200
        limits = Path(f"/proc/{text(clients['changed'].call('pid'))}/limits").read_text()
        assert "2000000000" in limits.partition("Max data size")[2].splitlines()[0]
        assert clients["gone"].call("pid").status != 200
        assert gate.stop() == 0
        assert calls.read_text().count("call wait") == 3
        assert each_call_has_one_outcome(gate)["upstream_broken"] == 2
        assert gate.said("bug") == []
        gate.verify()


def test_however_a_process_ends_under_a_call_its_outcome_is_unknown_and_stands_in_the_book(place: Path) -> None:
    port, calls, command = free_port(), place / "calls", python("small_server.py")
    config = commands_config(port, {"small": command, "pool": [*command, "--calls", str(calls)]}, run=RUN)
    before, named, after = config.partition('name = "pool"')
    config = before + named + after.replace("start_s", 'processes = "shared"\nstart_s', 1)
    ways = {"die": 1, "leave": 1, "halves": 1, "shut": 1}
    with deployed(place / "gate", config, port, env=WITHOUT_SANDBOX) as gate:
        for way in ways:
            old = Client(gate)
            assert old.initialize().status == 200
            answers = [old.call(way, meta={"progressToken": "p"})]
            assert old.call("pid").status == 404, "the session went with its process"
            answers.append(Client(gate).modern_call(way))
            # Of a process for everybody each who waits is told.
            waiting, struck = Client(gate, "pool", subject="bob"), Client(gate, "pool")
            assert waiting.initialize().status == struck.initialize().status == 200
            held = Calling(waiting, "hang")
            until(lambda: calls.exists() and "call hang" in calls.read_text(), "the first of them waits")
            answers.append(struck.call(way))
            calls.unlink()
            held.join()
            assert held.answered is not None
            answers.append(held.answered)
            for answered in answers:
                error = messages(answered)[-1]["error"]
                assert error["data"]["reason"] == "upstream_broken", (way, error)
                assert "unknown" in error["message"]
            assert Client(gate, "pool").initialize().status == 200, "another one serves everybody"
        assert gate.stop() == 0
        assert each_call_has_one_outcome(gate)["upstream_broken"] == 4 * len(ways)
        assert gate.said("bug") == []
        gate.verify()


SESSIONS = 12


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({}, marks=[needs_bubblewrap, outside_tmp], id="sandbox"),
        pytest.param(WITHOUT_SANDBOX, id="without"),
    ],
)
def test_when_the_supervisor_is_killed_not_even_processes_that_will_not_end_outlive_it(
    place: Path, env: dict[str, str]
) -> None:
    port = free_port()
    commands = {"stubborn": python("small_server.py", "--stubborn"), "small": python("small_server.py")}
    config = commands_config(port, commands, run=RUN, more=f"[runner]\nprocesses = {2 * SESSIONS}\n")
    with deployed(place / "gate", config, port, env=env) as gate:
        clients = [Client(gate, server) for server in commands for _ in range(SESSIONS)]
        for client in clients:
            assert client.initialize().status == 200
        child = [int(text(client.call("child"))) for client in clients[:2]]
        under_way = [Calling(client, "hang") for client in clients[::3]]
        family = descendants(gate.pid)
        if env:
            assert set(child) <= set(family), "there a number is the machine's own"
        assert len(family) >= len(clients)
        gate.process.kill()
        gate.process.wait()
        began_s = time.monotonic()
        until(lambda: not alive(family), "rooms, servers and what these started")
        print(f"{len(family)} processes gone {time.monotonic() - began_s:.1f} s after the supervisor")
        for call in under_way:
            call.join()
    with deployed(place / "gate", config, port, env=env) as gate:
        assert gate.said("command.leftovers_killed") == []
        assert gate.stop() == 0
        outcomes = each_call_has_one_outcome(gate)
        print(json.dumps(outcomes))
        gate.verify()
