"""The demonstration plays its whole story, and says where it does not hold."""

import json
from pathlib import Path

import pytest

from gatebook.demo.customers import customers
from tests.e2e.demo.running import processes_naming, run_demo
from tests.e2e.gate import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_tour_holds_and_leaves_nothing_running(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    done = run_demo(directory, "--tour", "--json", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["held"] is True
    assert all(step["checks"] and step["failed"] is None for step in told["steps"])
    assert Path(told["page"]).is_file()
    assert processes_naming(str(directory)) == []


def test_no_card_number_in_clear_is_anywhere_in_the_book(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    done = run_demo(directory, "--tour", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = {customer.card_number.encode() for customer in customers()}
    holding = [
        str(file.relative_to(directory))
        for file in directory.rglob("*")
        if file.is_file() and file.suffix != ".sqlite" and any(number in file.read_bytes() for number in numbers)
    ]
    assert holding == []
    assert not any(number.decode() in done.stdout for number in numbers)
