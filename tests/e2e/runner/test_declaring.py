"""`Mcp-Param-*` at the socket of a program that sees no header (SEP-2243): the runner demands them as an HTTP server must."""

import json
from pathlib import Path

import pytest

from tests.e2e.runner.at_socket import Caller, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def told(folder: Path) -> list[str]:
    """What the program was asked for, in order: `list`, and `call TOOL`."""
    return (folder / "calls").read_text().splitlines()


async def refused(caller: Caller, tool: str, **more: str) -> None:
    status, body = await caller.modern_call(
        tool, {f"mcp-param-{name}": value for name, value in more.items()}, region="eu"
    )
    assert (status, json.loads(body)["error"]["code"]) == (400, -32020), body


async def passed(caller: Caller, tool: str, **more: str) -> None:
    status, body = await caller.modern_call(
        tool, {f"mcp-param-{name}": value for name, value in more.items()}, region="eu"
    )
    assert status == 200 and b'"result"' in body, body


@pytest.mark.parametrize("processes", ["session", "shared"])
async def test_a_call_that_does_not_repeat_what_its_tool_declares_is_refused_unwritten(
    tmp_path: Path, processes: str
) -> None:
    async with serving(tmp_path, processes=processes) as (endpoint, _):
        caller = Caller(endpoint)
        await refused(caller, "echo")
        await refused(caller, "echo", region="us")
        assert "call echo" not in told(tmp_path)
        await passed(caller, "echo", region="eu")
        await passed(caller, "echo", region="=?base64?ZXU=?=")
        assert told(tmp_path).count("call echo") == 2
        assert (await caller.modern_call("echo"))[0] == 200, "no argument, no header"


async def test_the_program_is_asked_once_and_only_where_it_matters(tmp_path: Path) -> None:
    async with serving(tmp_path) as (endpoint, _):
        caller = Caller(endpoint)
        assert (await caller.modern_call("pid"))[0] == 200
        assert told(tmp_path) == ["call pid"]
        for _ in range(3):
            await passed(caller, "echo", region="eu")
        assert told(tmp_path) == ["call pid", "list", *["call echo"] * 3]


async def test_what_the_program_says_now_counts_whether_it_tells_of_a_change_or_not(tmp_path: Path) -> None:
    async with serving(tmp_path) as (endpoint, _):
        caller = Caller(endpoint)
        await passed(caller, "echo", region="eu")
        # It declares nothing any more and says nothing of that: nobody is refused for what was true once.
        assert (await caller.modern_call("mark"))[0] == 200
        await passed(caller, "echo")
        # It declares another header, and says so.
        assert (await caller.modern_call("mark", **{"as": "Where", "say": True}))[0] == 200
        await refused(caller, "echo")
        await passed(caller, "echo", where="eu")


async def test_a_change_that_it_tells_of_while_it_is_asked_is_not_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path) as (endpoint, _):
        caller = Caller(endpoint)
        # It lists what holds, and in the same breath says that something else holds now.
        assert (await caller.modern_call("mark", **{"as": "Region", "say": True, "next": "Where"}))[0] == 200
        await passed(caller, "echo", region="eu")
        await refused(caller, "echo", region="eu")
        await passed(caller, "echo", where="eu")


async def test_sessions_of_before_know_no_such_headers(tmp_path: Path) -> None:
    async with serving(tmp_path) as (endpoint, _):
        caller = Caller(endpoint)
        assert await caller.initialize() == 200
        assert (await caller.call("echo", region="eu"))[0] == 200
        assert "list" not in told(tmp_path)
