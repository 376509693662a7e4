"""The demonstration plays its whole story, and says where it does not hold."""

import json
import socket
from pathlib import Path

import pytest

from gatebook.demo.customers import customers
from tests.e2e.demo.running import processes_naming, run_demo

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_tour_holds_in_less_than_a_minute_and_leaves_nothing_running(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    done = run_demo(directory, "--tour", "--json", "--port", _free_port())
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["held"] is True
    assert sum(step["seconds"] for step in told["steps"]) < 60
    assert all(step["checks"] and step["failed"] is None for step in told["steps"])
    assert Path(told["page"]).is_file()
    assert processes_naming(str(directory)) == []


def test_no_card_number_in_clear_is_anywhere_in_the_book(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    done = run_demo(directory, "--tour", "--port", _free_port())
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = {customer.card_number.encode() for customer in customers()}
    holding = [
        str(file.relative_to(directory))
        for file in directory.rglob("*")
        if file.is_file() and file.suffix != ".sqlite" and any(number in file.read_bytes() for number in numbers)
    ]
    assert holding == []
    assert not any(number.decode() in done.stdout for number in numbers)


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
