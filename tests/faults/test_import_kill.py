"""An import that is killed, at each moment at which it changes something: no secret is lost, doing it again ends it, undoing takes it back."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatebook.takeover import journal
from gatebook.takeover.importing import Asked, plan

pytestmark = pytest.mark.slow

SECRETS = {
    b"first-secret-value-1": "a-a-token",
    b"second-secret-value-2": "b-authorization",
    b"third-secret-value-3": "c-api-key",
}
CLIENT = b"""{"mcpServers": {
  "a": {"command": "a", "env": {"A_TOKEN": "first-secret-value-1"}},
  "b": {"url": "https://b.example/mcp", "headers": {"Authorization": "Bearer second-secret-value-2"}},
  "c": {"command": "c", "args": ["--api-key", "third-secret-value-3"]}
}}
"""
CHANGING = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.link"})


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client, self.config = folder / "project/.mcp.json", folder / "gate/gatebook.toml"
        for path, content in ((self.client, CLIENT), (self.config, b'profile = "dev"\ndata_dir = "/run/g"\n')):
            path.parent.mkdir(parents=True)
            path.write_bytes(content)

    def take_over(self) -> None:
        with journal.alone(self.config):
            planned = plan(Asked(file=self.client, config=self.config, home=self.folder))
            if planned.change is not None:
                journal.apply(planned.change)

    def undo(self) -> None:
        with journal.alone(self.config):
            journal.undo(self.config, self.client)

    def tree(self) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
            for path in self.folder.rglob("*")
        }


def killed_at(moment: int, work: Callable[[], None]) -> bool:
    """Whether `work`, in a process of its own, was killed just before the `moment`-th change of the file system; False: it came to its end."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal count
            creates = event == "open" and isinstance(args[2], int) and bool(args[2] & os.O_CREAT)
            if event in CHANGING or creates:
                count += 1
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            work()
            os._exit(0)  # not the end of the tests' own process
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work itself failed"
    return os.WIFSIGNALED(status)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Callable[[], Place]]:
    numbers = iter(range(1000))
    yield lambda: Place(tmp_path / str(next(numbers)))
    shutil.rmtree(tmp_path)


def no_secret_is_lost(place: Place) -> None:
    """Each stands in the client's file, or whole in the file that gatebook.toml names in its stead."""
    client, config = place.client.read_bytes(), place.config.read_bytes()
    for secret, name in SECRETS.items():
        if secret not in client:
            assert (place.config.parent / "secrets" / name).read_bytes() == secret + b"\n"
            assert f"file:secrets/{name}".encode() in config


def undone(place: Place) -> None:
    """Taken back; where it was killed before it began, or after it had ended, there is nothing to take back."""
    with contextlib.suppress(journal.CannotWrite):
        place.undo()


def test_an_import_killed_at_any_moment_is_ended_by_doing_it_again_or_taken_back(places: Callable[[], Place]) -> None:
    whole = places()
    whole.take_over()
    moments = 0
    while True:
        first, second = places(), places()
        before = first.tree()
        killed = killed_at(moments + 1, first.take_over)
        no_secret_is_lost(first)
        first.take_over()
        assert (first.client.read_bytes(), first.config.read_bytes()) == (
            whole.client.read_bytes(),
            whole.config.read_bytes(),
        )
        first.undo()
        assert first.tree() == before
        if not killed:
            break
        moments += 1
        killed_at(moments, second.take_over)
        undone(second)
        assert second.tree() == before
    assert moments >= 12


def test_an_undoing_killed_at_any_moment_is_ended_by_doing_it_again(places: Callable[[], Place]) -> None:
    moments = 0
    while True:
        place = places()
        before = place.tree()
        place.take_over()
        killed = killed_at(moments + 1, place.undo)
        no_secret_is_lost(place)
        if not killed:
            break
        moments += 1
        undone(place)
        assert place.tree() == before
    assert moments >= 8
