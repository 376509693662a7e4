"""What a shell lets a program open at first is not what a gate is content with."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import call


@pytest.fixture
def few_files() -> Iterator[int]:
    """This process, and those that it starts, may open 512 unless they ask for more; what they may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_each_room_may_open_as_many_files_as_the_machine_allows(deploy: Deploy, few_files: int) -> None:
    with deploy(workers=1) as gate:
        assert gate.ask(call("work", "1"), gate.token("counting")).status == 200
        for pid in gate.everyone():
            allowed = Path(f"/proc/{pid}/limits").read_text().partition("Max open files")[2].split()[0]
            assert allowed == str(few_files), pid
        assert gate.stop() == 0
