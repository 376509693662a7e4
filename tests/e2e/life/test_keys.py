"""Key sets on their way from a real local issuer to the workers: rotation, outage, and a desk that dies."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.gate import free_port, token
from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Answered, Deployed, call, until
from tests.faults.key_server import DISCOVERY, KeyServer, key_server
from tests.issuing import Issuer

CALLS_FOR_BOTH_WORKERS = 16
REFETCH_S = 45.0
"""A fetch starts at most every 30 s, whoever asks."""


@contextmanager
def in_a_thread() -> Iterator[tuple[KeyServer, asyncio.AbstractEventLoop]]:
    """A key server on a loop of its own."""
    started, over = threading.Event(), asyncio.Event()
    found: list[tuple[KeyServer, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        async with key_server() as server:
            found.append((server, asyncio.get_running_loop()))
            started.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield found[0]
    finally:
        found[0][1].call_soon_threadsafe(over.set)
        thread.join()


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with in_a_thread() as (server, _):
        yield server


def issuer_of(name: str, url: str) -> str:
    everything = 'tools = ["**"], resources = ["**"], prompts = ["**"], methods = ["**"]'
    return f"""
[[issuer]]
name = "{name}"
url = "{url}"
kind = "person"
[[role]]
name = "{name}-people"
match = [ {{ issuer = "{name}", group = "everybody" }} ]
allow = [ {{ server = "counting", {everything} }} ]
"""


def asked(gate: Deployed, issuer: Issuer) -> list[Answered]:
    """One call per connection, as many as reach both workers."""
    shown = token(issuer, f"{gate.public_url}/counting/mcp")
    return [gate.ask(call("work", "key"), shown) for _ in range(CALLS_FOR_BOTH_WORKERS)]


def outcomes(answers: list[Answered]) -> set[tuple[int, str | None]]:
    return {(answer.status, answer.reason) for answer in answers}


def test_rotation_and_outage_reach_every_worker(deploy: Deploy, keys: KeyServer) -> None:
    """Two issuers at once, because each may be asked only every 30 s: one rotates its keys, the other is down when the gate starts."""
    rotating = Issuer(keys.url, name="rotating")
    keys.publish(rotating.jwks())
    down_port = free_port()
    late = Issuer(f"http://127.0.0.1:{down_port}", name="late")
    with deploy(more=issuer_of("rotating", rotating.url) + issuer_of("late", late.url)) as gate:
        assert outcomes(asked(gate, rotating)) == {(200, None)}
        assert outcomes(asked(gate, late)) == {(503, "keys_unavailable")}
        assert [said["issuer"] for said in gate.said("issuer.keys_missing")] == ["late"]
        fetched = keys.asked.count("/jwks")
        # The old key goes, a new one comes; nobody tells the gate but the tokens.
        rotating.rotate(keep_old=False)
        keys.publish(rotating.jwks())
        assert outcomes(asked(gate, rotating)) == {(401, "token_key_unknown")}
        with serving(down_port, late):
            until(lambda: outcomes(asked(gate, rotating)) == {(200, None)}, "the new key in both workers", REFETCH_S)
            until(lambda: outcomes(asked(gate, late)) == {(200, None)}, "the late issuer in both workers", REFETCH_S)
        assert keys.asked.count("/jwks") == fetched + 1, "one fetch for all those unknown keys"
        assert gate.stop() == 0
        gate.verify()


@contextmanager
def serving(port: int, issuer: Issuer) -> Iterator[None]:
    """The issuer is up at last, on the port where it was expected."""
    documents = {
        DISCOVERY: json.dumps({"issuer": issuer.url, "jwks_uri": issuer.url + "/jwks"}).encode(),
        "/jwks": json.dumps(issuer.jwks()).encode(),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = documents[self.path]
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_desk_that_dies_is_replaced_and_the_keys_known_so_far_stay_in_force(deploy: Deploy, keys: KeyServer) -> None:
    issuer = Issuer(keys.url, name="online")
    keys.publish(issuer.jwks())
    with deploy(more=issuer_of("online", issuer.url)) as gate:
        assert outcomes(asked(gate, issuer)) == {(200, None)}
        keys.answers.clear()  # the issuer fails from here on
        [desk] = gate.rooms("desk")
        os.kill(desk, signal.SIGKILL)
        until(lambda: gate.rooms("desk") not in ([], [desk]), "another desk")
        before = len(keys.asked)
        assert outcomes(asked(gate, issuer)) == {(200, None)}
        until(lambda: len(keys.asked) > before or gate.said("issuer.keys_missing"), "the new desk asked the issuer")
        assert outcomes(asked(gate, issuer)) == {(200, None)}
        # It does its whole work: what it finds reaches the workers, and it compiles.
        gate.issuer.rotate(keep_old=False)
        (gate.directory / "jwks.json").write_text(json.dumps(gate.issuer.jwks()))
        [desk] = gate.rooms("desk")
        os.kill(desk, signal.SIGKILL)
        until(lambda: outcomes(asked(gate, gate.issuer)) == {(200, None)}, "the new key of the file")
        gate.process.send_signal(signal.SIGHUP)
        until(lambda: len(gate.said("config.loaded")) == 2, "reloaded by the new desk")
        assert outcomes(asked(gate, issuer)) == {(200, None)}
        assert gate.stop() == 0


def test_a_reload_that_meets_a_dead_desk_is_done_by_the_next_one(deploy: Deploy) -> None:
    with deploy() as gate:
        [desk] = gate.rooms("desk")
        os.kill(desk, signal.SIGSTOP)
        gate.process.send_signal(signal.SIGHUP)
        os.kill(desk, signal.SIGKILL)
        until(lambda: gate.said("config.loaded")[1:] or gate.said("config.refused"), "loaded, or refused with words")
        for said in gate.said("config.refused"):
            assert said["problem"] == "the desk ended meanwhile; try again"
        until(lambda: gate.rooms("desk") not in ([], [desk]), "another desk")
        loaded = len(gate.said("config.loaded"))
        gate.process.send_signal(signal.SIGHUP)
        until(lambda: len(gate.said("config.loaded")) > loaded, "loaded by the new desk")
