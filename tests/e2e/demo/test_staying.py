"""The demonstration that stays: what it prints works when pasted, and it ends cleanly, whoever ends it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.e2e.demo.running import (
    command_line,
    descendants,
    gatebook,
    run_demo,
    running_demo,
    wait_until_gone,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_everything_when_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path / "demo") as demo:
        below = descendants(demo.process.pid)
        assert len(below) > 3
        assert demo.stop(number) == 0
        assert wait_until_gone(below, 1.0) == []


def test_nothing_outlives_it_even_when_it_is_killed(tmp_path: Path) -> None:
    with running_demo(tmp_path / "demo") as demo:
        below = descendants(demo.process.pid)
        demo.process.kill()
        assert [command_line(pid) for pid in wait_until_gone(below, 30.0)] == []


@pytest.mark.parametrize(
    ("victim", "name"),
    [("gatebook.demo.payments", "payments-server"), ("gatebook.demo.idp", "identity-providers"), ("serve", "gatebook")],
)
def test_when_a_part_dies_it_says_which_and_stops_the_rest(tmp_path: Path, victim: str, name: str) -> None:
    with running_demo(tmp_path / "demo") as demo:
        below = descendants(demo.process.pid)
        os.kill(demo.children()[victim], signal.SIGKILL)
        assert demo.process.wait(30) == 1
        assert wait_until_gone(below) == []
    assert f"{name} has stopped (signal SIGKILL)" in (tmp_path / "demo-stderr.txt").read_text()


def test_the_printed_call_works_when_pasted_and_is_in_the_book(tmp_path: Path) -> None:
    with running_demo(tmp_path / "demo") as demo:
        pasted = subprocess.run(
            ["bash", "-c", demo.introduction["try_it"]], capture_output=True, text=True, timeout=30, check=True
        )
        card = json.loads(pasted.stdout)["result"]["structuredContent"]["card"]["number"]
        assert card == "411111******1111"
        assert demo.stop(signal.SIGINT) == 0
    found = gatebook(
        "log", "--event", "call", "--tool", "get_customer", "--json", "--config", demo.introduction["configuration"]
    )
    assert [json.loads(line)["ev"] for line in found.stdout.splitlines()] == ["call.intent", "call.result"]


def test_people_and_jobs_without_a_role_are_refused(tmp_path: Path) -> None:
    with running_demo(tmp_path / "demo") as demo:
        url = demo.introduction["mcp_url"]
        for token_url in (
            f"{demo.introduction['people']}/token?person=mallory&audience={url}&format=text",
            f"{demo.introduction['ci']}/token?job=playground&audience={url}&format=text",
        ):
            token = httpx2.get(token_url, trust_env=False).text
            call = demo.introduction["try_it"].split(' -H "Authorization')[0] + f" -H 'Authorization: Bearer {token}'"
            said = subprocess.run(["bash", "-c", call], capture_output=True, text=True, timeout=30, check=True).stdout
            assert json.loads(said)["error"]["data"]["reason"] == "denied"


def test_a_second_demonstration_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with running_demo(tmp_path / "demo"):
        second = run_demo(tmp_path / "demo")
    assert second.returncode == 1
    assert "another demonstration is running" in second.stdout + second.stderr


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "precious"
    directory.mkdir()
    (directory / "thesis.txt").write_text("three years of work")
    refused = run_demo(directory)
    assert refused.returncode == 1
    assert (directory / "thesis.txt").read_text() == "three years of work"


def test_the_book_goes_on_where_it_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    for options in ((), ("--keep",)):
        with running_demo(directory, *options) as demo:
            subprocess.run(["bash", "-c", demo.introduction["try_it"]], capture_output=True, timeout=30, check=True)
            assert demo.stop(signal.SIGINT) == 0
    found = gatebook("sessions", "--json", "--config", str(directory / "gatebook.toml"))
    assert len(found.stdout.splitlines()) == 2
