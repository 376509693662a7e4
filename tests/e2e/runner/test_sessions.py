"""Servers that are commands, called through a real gate: whose process is whose, what passes, and what is refused."""

import json
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gate import free_port
from tests.e2e.life.deployed import Deployed, alive, deployed, until
from tests.e2e.runner.client import MODERN, Calling, Client, message, messages, next_message, text
from tests.e2e.runner.configured import WITHOUT_SANDBOX, commands_config, python

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECRET = "s3cr3t-of-the-small-server-0815"
CARD = "4111111111111111"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gb-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def gate(place: Path) -> Iterator[Deployed]:
    """One gate for all of them: five commands, of which each test uses its own sessions."""
    (place / "key").write_text(SECRET + "\n")
    (place / "key").chmod(0o600)
    calls = ["--calls", str(place / "calls")]
    commands = {
        "small": python("small_server.py", *calls),
        "old": python("small_server.py", "--legacy"),
        "dumb": python("small_server.py", "--dumb"),
        "deaf": python("small_server.py", "--deaf"),
        "missing": ["/nowhere/at-all"],
        "pool": python("small_server.py", *calls),
    }
    run = f"""start_s = 60
environment = {{ MODE = "text" }}
secrets = {{ API_KEY = "file:{place}/key" }}
secret_files = {{ KEY_PATH = "file:{place}/key" }}
"""
    port = free_port()
    config = commands_config(port, commands, run=run, more="[runner]\nprocesses = 30\n")
    config = _with(
        _with(config, "dumb", "start_s = 60", "start_s = 0.5"), "pool", "start_s", 'processes = "shared"\nstart_s'
    )
    with deployed(place / "gate", config, port, env=WITHOUT_SANDBOX) as gate:
        yield gate


def _with(config: str, server: str, old: str, new: str) -> str:
    before, name, after = config.partition(f'name = "{server}"')
    return before + name + after.replace(old, new, 1)


def sockets(gate: Deployed) -> list[Path]:
    return sorted((gate.data_dir / "run" / "runner").glob("*.sock"))


def test_each_session_has_a_process_of_its_own_that_ends_with_it(gate: Deployed) -> None:
    first, second = Client(gate), Client(gate)
    assert first.initialize().status == second.initialize().status == 200
    pids = [int(text(client.call("pid"))) for client in (first, second)]
    assert len(set(pids)) == 2
    assert first.delete() == 200
    until(lambda: alive(pids) == [pids[1]], "the first session's process ended")
    assert first.call("pid").status == 404
    assert text(second.call("pid")) == str(pids[1])
    second.delete()


def test_a_socket_is_for_the_runners_user_alone_and_nothing_else_listens(gate: Deployed) -> None:
    assert [path.name for path in sockets(gate)] == [
        f"{name}.sock" for name in ("deaf", "dumb", "missing", "old", "pool", "small")
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in sockets(gate)} == {0o600}
    assert stat.S_IMODE(sockets(gate)[0].parent.stat().st_mode) == 0o700


def test_what_comes_before_an_answer_comes_as_a_stream_in_order(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    came = messages(client.call("echo", request="a/b", meta={"progressToken": "7"}, x=1))
    assert [one.get("method") for one in came] == ["notifications/progress", None]
    assert came[0]["params"]["progressToken"] == "7"
    assert came[1]["id"] == "a/b"
    logged = messages(client.call("log"))
    assert [one.get("method") for one in logged] == ["notifications/message", None]
    client.delete()


def test_a_server_asks_its_client_and_gets_the_answer(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize({"sampling": {}})
    connection = gate.connect()
    body = message("tools/call", {"name": "ask", "arguments": {}}, request=5)
    headers = {**gate.headers_for(client.token), "mcp-session-id": client.session or ""}
    connection.request("POST", "/small/mcp", body=body, headers=headers)
    stream = connection.getresponse()
    question = next_message(stream)
    assert question["method"] == "sampling/createMessage"
    answer = {
        "jsonrpc": "2.0",
        "id": question["id"],
        "result": {"role": "assistant", "content": {"type": "text", "text": "42"}},
    }
    assert client.post(json.dumps(answer).encode()).status == 202
    assert "42" in json.dumps(next_message(stream))
    connection.close()
    client.delete()


def test_who_listens_to_a_session_hears_what_changes_in_it(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    assert text(client.call("change")) == "changed"
    with client.listening() as stream:
        assert next_message(stream)["method"] == "notifications/tools/list_changed"  # it came before anybody listened
        assert text(client.call("change")) == "changed"
        assert next_message(stream)["method"] == "notifications/tools/list_changed"
    client.delete()


def test_a_cancellation_reaches_the_process_while_its_call_is_under_way(gate: Deployed, place: Path) -> None:
    client = Client(gate)
    client.initialize()
    calling = Calling(client, "hang", request="hanging")
    until(lambda: "call hang" in (place / "calls").read_text(), "the call arrived")
    assert client.post(message("notifications/cancelled", {"requestId": "hanging"})).status == 202
    until(lambda: "cancelled hanging" in (place / "calls").read_text(), "the cancellation arrived")
    client.delete()
    calling.join()


def test_a_process_that_dies_under_a_call_leaves_it_unknown_and_its_session_gone(gate: Deployed, place: Path) -> None:
    client = Client(gate)
    client.initialize()
    before = (place / "calls").read_text().count("call die") if (place / "calls").exists() else 0
    died = client.call("die")
    assert messages(died)[-1]["error"]["data"]["reason"] == "upstream_broken"
    assert "unknown" in messages(died)[-1]["error"]["message"]
    assert (place / "calls").read_text().count("call die") == before + 1
    assert client.call("pid").status == 404
    assert client.initialize().status == 200
    assert client.call("pid").status == 200
    client.delete()


def test_a_child_that_a_process_left_behind_ends_with_it(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    child = int(text(client.call("child")))
    assert alive([child])
    client.delete()
    until(lambda: not alive([child]), "the process's own child ended")


def test_secrets_reach_the_process_alone_and_never_come_back(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    assert text(client.call("env", name="MODE")) == "text"
    echoed = text(client.call("env", name="API_KEY"))
    assert echoed not in ("", "not set") and SECRET not in echoed
    assert text(client.call("file", name="KEY_PATH")) == f"{len(SECRET)} bytes, mode 600"
    assert text(client.call("env", name="PWD")) != str(gate.directory)
    client.delete()
    assert SECRET not in (gate.directory / "gate.log").read_text()


def test_what_a_process_complains_of_is_told_masked(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    # Backwards, because the gate lets no card number in; the program turns it round.
    assert text(client.call("complain", backwards=f"the disk is full of {CARD}"[::-1])) == "complained"
    told = until(lambda: [line for line in gate.said("command.stderr") if "disk" in line["text"]], "the complaint")
    assert told[0]["server"] == "small"
    assert CARD not in (gate.directory / "gate.log").read_text()
    assert text(client.call("greet")) == "greeted"
    assert until(lambda: gate.said("command.stdout_no_message"), "the greeting")
    client.delete()


def test_two_callers_of_2026_have_a_process_each_and_one_has_one(gate: Deployed) -> None:
    alice, bob = Client(gate), Client(gate, subject="bob")
    pids = [text(client.modern_call("pid", request=1)) for client in (alice, bob, alice)]
    assert pids[0] == pids[2] != pids[1]


def test_equal_ids_and_tokens_at_once_get_each_its_own_answer(gate: Deployed) -> None:
    client = Client(gate)

    def call(number: int) -> list[dict[str, Any]]:
        meta = {"progressToken": "same"}
        params = {"name": "echo", "arguments": {"number": number}, "_meta": meta}
        return messages(client.modern("tools/call", params, request="same"))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(24)))
    for number, came in enumerate(found):
        assert [one.get("method") for one in came] == ["notifications/progress", None]
        assert came[0]["params"]["progressToken"] == "same"
        assert came[1]["id"] == "same"
        assert json.loads(came[1]["result"]["content"][0]["text"]) == {"number": number}


def test_an_unknown_method_is_404_in_2026_and_a_hang_up_cancels(gate: Deployed, place: Path) -> None:
    client = Client(gate)
    unknown = client.modern("resources/list")
    assert (unknown.status, messages(unknown)[0]["error"]["code"]) == (404, -32601)
    before = (place / "calls").read_text().count("call hang")
    connection = gate.connect()
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    body = message("tools/call", {"name": "hang", "arguments": {}, "_meta": meta}, request=1)
    headers = {
        **gate.headers_for(client.token),
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "hang",
    }
    cancelled = (place / "calls").read_text().count("cancelled")
    connection.request("POST", "/small/mcp", body=body, headers=headers)
    until(lambda: (place / "calls").read_text().count("call hang") > before, "the call arrived")
    connection.close()
    until(lambda: (place / "calls").read_text().count("cancelled") > cancelled, "the cancellation arrived")


def test_a_server_of_the_old_era_alone_sends_clients_of_2026_back(gate: Deployed) -> None:
    client = Client(gate, "old")
    refused = client.modern("server/discover")
    assert refused.status == 400
    assert messages(refused)[0]["error"]["code"] not in (-32020, -32021, -32022, -32601)
    assert client.initialize().status == 200
    assert client.call("pid").status == 200
    client.delete()


def test_one_process_serves_everybody_where_the_operator_says_so(gate: Deployed) -> None:
    alice, bob = Client(gate, "pool"), Client(gate, "pool", subject="bob")
    assert alice.initialize().status == bob.initialize().status == 200
    assert text(alice.call("pid", request=1)) == text(bob.call("pid", request=1))
    assert alice.delete() == 200
    assert alice.call("pid").status == 404
    assert bob.call("pid").status == 200
    assert text(alice.modern_call("pid")) == text(bob.modern_call("pid"))


def test_a_command_that_cannot_start_says_why_and_is_not_tried_without_end(gate: Deployed) -> None:
    missing = Client(gate, "missing").initialize()
    assert missing.status == 503
    assert "no such program" in messages(missing)[0]["error"]["message"]
    again = [Client(gate, "missing").initialize() for _ in range(6)]
    assert "is tried again in" in messages(again[-1])[0]["error"]["message"]
    deaf = Client(gate, "deaf").initialize()
    assert "ended before it answered" in messages(deaf)[0]["error"]["message"]
    assert until(lambda: [line for line in gate.said("command.stderr") if line["server"] == "deaf"], "its last words")
    late = Client(gate, "dumb").initialize()
    assert "run.start_s" in messages(late)[0]["error"]["message"]


def test_a_large_answer_passes_whole(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    assert len(text(client.call("large", chars=6_000_000))) == 6_000_000
    client.delete()


def test_the_book_holds_every_call_and_is_whole(gate: Deployed) -> None:
    client = Client(gate)
    client.initialize()
    client.call("pid")
    client.delete()
    assert gate.stop() == 0
    intents = [one.entry.call for one in gate.log("call.intent")]
    results = [one.entry.call for one in gate.log("call.result")]
    assert intents and sorted(intents) == sorted(results)
    assert [one.entry for one in gate.log("call.result") if one.entry.out.reason == "upstream_broken"]
    assert gate.said("bug") == []
    gate.verify()
