"""SIGHUP: a good file is in force in every worker at once, a bad one changes nothing and says why."""

import hashlib
import os
import pwd
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Answered, Deployed, call, until
from tests.e2e.life.load import load

SECOND_ROLE = """
[[role]]
name = "second"
match = [ { issuer = "corp", group = "second" } ]
allow = [ { server = "counting", tools = ["work"] } ]
"""
CALLS_FOR_BOTH_WORKERS = 24


@pytest.fixture
def gate(deploy: Deploy) -> Iterator[Deployed]:
    with deploy() as gate:
        yield gate


def reload(gate: Deployed, config: str) -> None:
    gate.config.write_text(config)
    gate.process.send_signal(signal.SIGHUP)


def ask_both(gate: Deployed, token: str) -> list[Answered]:
    """One call per connection, as many as reach both workers."""
    return [gate.ask(call("work", "key"), token) for _ in range(CALLS_FOR_BOTH_WORKERS)]


def author() -> str:
    return f"os:{pwd.getpwuid(os.getuid()).pw_name}"


def test_a_new_role_works_in_every_worker_and_the_book_says_who_loaded_it(gate: Deployed) -> None:
    token = gate.token("counting", groups=("second",), subject="bob")
    assert gate.ask(call("work", "before"), token).reason == "denied"
    old = gate.config.read_text()
    reload(gate, old + SECOND_ROLE)
    until(lambda: len(gate.said("config.loaded")) == 2, "loaded")
    until(lambda: {answer.reason for answer in ask_both(gate, token)} == {None}, "in force in both workers", 5)
    assert gate.stop() == 0
    first, second = gate.log("config.load")
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (old, old + SECOND_ROLE)]
    assert [entry.entry.x["config_sha256"] for entry in (first, second)] == hashes
    assert second.entry.x["old_config_sha256"] == hashes[0]
    assert (second.entry.who.sub, second.entry.who.declared, second.entry.out.ok) == (author(), True, True)
    for text, digest in zip((old, old + SECOND_ROLE), hashes, strict=True):
        assert (gate.data_dir / "log" / "configs" / f"{digest}.toml").read_text() == text
    assert len({entry.entry.w.n for entry in gate.log("call.intent")}) == 2
    gate.verify()


def test_a_bad_file_changes_nothing_and_says_why(gate: Deployed) -> None:
    workers = gate.rooms("gate")
    reload(gate, gate.config.read_text() + '[[role]]\nname = "odd"\nmatsch = []\n')
    until(lambda: gate.said("config.refused"), "refused")
    assert any("matsch" in said["problem"] for said in gate.said("config.refused"))
    assert gate.ask(call("work", "still"), gate.token("counting")).reason is None
    assert gate.rooms("gate") == workers
    gate.stop()
    [refused] = gate.log("config.refused")
    assert (refused.entry.out.ok, refused.entry.who.sub) == (False, author())
    assert len(gate.log("config.load")) == 1


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [("workers", "workers = 2", "workers = 3"), ("listen", "listen = [", 'listen = ["127.0.0.1:1", ')],
)
def test_what_cannot_change_while_running_is_refused_with_words(gate: Deployed, key: str, old: str, new: str) -> None:
    reload(gate, gate.config.read_text().replace(old, new))
    [said] = until(lambda: gate.said("config.refused"), "refused")
    assert said["problem"] == f"{key}: cannot change while running; restart to change it"
    assert gate.ask(call("work", "still"), gate.token("counting")).reason is None
    assert len(gate.rooms("gate")) == 2


def test_twenty_reloads_under_load_lose_no_call(gate: Deployed) -> None:
    config = gate.config.read_text()
    with load(gate) as callers:
        until(lambda: callers.acknowledged, "calls")
        for number in range(20):
            reload(gate, config + SECOND_ROLE * (number % 2) + f"# {number}\n")
            until(lambda: len(gate.said("config.loaded")) == number + 2, f"reload {number}")  # noqa: B023
        before = len(callers.acknowledged)
        until(lambda: len(callers.acknowledged) > before, "calls after the last reload")
    assert (callers.refused, callers.broken) == ([], [])
    gate.stop()
    snapshots = {written.entry.pol.snapshot for written in gate.log("call.intent") if written.entry.pol}
    assert len(snapshots) > 5
    assert {one.leaf for one in callers.acknowledged} <= {written.leaf for written in gate.log()}


def test_an_issuer_that_is_exchanged_leaves_none_of_its_keys_behind(gate: Deployed) -> None:
    """The name stays, the issuer is another: what the old one signed must not count as the new one's word."""
    config = gate.config.read_text()
    elsewhere = config.replace('jwks_file = "jwks.json"', 'jwks_file = "other.json"')
    (gate.directory / "other.json").write_text('{"keys": []}')
    forged = gate.token("counting")
    assert gate.ask(call("work", "before"), forged).reason is None
    reload(gate, elsewhere)
    until(lambda: len(gate.said("config.loaded")) == 2, "loaded")
    refused = {(503, "keys_unavailable")}
    until(lambda: {(a.status, a.reason) for a in ask_both(gate, forged)} == refused, "no key in either worker", 5)
