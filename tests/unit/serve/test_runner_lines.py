"""Long lines of one program do not hold up the others of the runner."""

import asyncio
import json
import threading
import tracemalloc
from typing import Any, cast

import pytest

from gatebook.masking import Secrets
from gatebook.serve.runner import complaints, process
from gatebook.serve.runner.complaints import Complaints
from gatebook.serve.runner.lines import LineSplitter
from gatebook.serve.runner.process import ON_LOOP_BYTES, ServerProcess
from gatebook.serve.runner.talk import Line, Talk, read


class Heard(ServerProcess):
    """What is heard of a process that does not run."""

    def __init__(self) -> None:
        self._secrets = Secrets((b"s3cr3t-of-this-server",))
        self._talk = Talk("session")
        self._inboxes = {}
        self._listener = None
        self.delivered: list[Any] = []
        self.complaints = Complaints("server", 1, self._secrets, lambda: 0.0)

    def _deliver(self, delivery: Any) -> None:
        self.delivered.append(delivery.message)


def said(length: int) -> bytes:
    params = {"data": "s3cr3t-of-this-server" + "x" * length}
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": params}).encode()


async def test_a_long_line_is_read_and_masked_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen megabytes of escapes or card numbers took seconds, in which no other server's call went on."""
    heard, loop, steps = Heard(), asyncio.get_running_loop(), cast(list[str], [])

    def goes_on(step: str) -> bool:
        """Whether the loop turns while we are here."""
        steps.append(step)
        turned = threading.Event()
        loop.call_soon_threadsafe(turned.set)
        return turned.wait(30)

    def slow_read(line: bytes) -> Line:
        assert goes_on("read")
        return read(line)

    def slow_mask(*arguments: Any) -> Any:
        assert goes_on("mask")
        return mask(*arguments)

    mask = process.mask
    monkeypatch.setattr(process, "read", slow_read)
    monkeypatch.setattr(process, "mask", slow_mask)
    await heard._hear(said(ON_LOOP_BYTES))
    assert steps == ["read", "mask"]
    [message] = heard.delivered
    assert b"s3cr3t" not in message and len(message) > ON_LOOP_BYTES


async def test_a_long_line_that_is_no_message_is_cut_before_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked: list[int] = []

    def noting(text: str, secrets: Secrets) -> Any:
        looked.append(len(text))
        return mask_text(text, secrets)

    mask_text = complaints.mask_text
    monkeypatch.setattr(complaints, "mask_text", noting)
    await Heard()._hear(b"4111111111111111 " * (1 << 16))
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "command.stdout_no_message" and "4111111111111111" not in line
    assert looked == [complaints.LINE_BYTES]


@pytest.mark.slow
def test_a_line_in_many_small_pieces_costs_what_it_is_long() -> None:
    splitter = LineSplitter(1 << 20)
    tracemalloc.start()
    try:
        for _ in range(200_000):
            assert splitter.feed(b"xy"[:1] + b"z") == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert splitter.feed(b"\n") == [b"xz" * 200_000]
    assert held < 1 << 20
