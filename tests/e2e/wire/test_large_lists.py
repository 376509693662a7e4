"""Lists of two megabytes, as one body and as one event, whole and filtered."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.attacks.recording import Asked
from tests.e2e.wire.place import LAST_CHUNK, Place, chunk, event, kept, modern, raw_id, stream_begins

LEGACY = {"MCP-Protocol-Version": "2025-11-25"}
TOOLS = 1500
PACKET = 64 << 10


def tool(number: int) -> bytes:
    schema = b'{"type":"object","properties":{"p%d":{"type":"string","description":"%b"}}, "$defs":{}}'
    return (
        b'{"name":"tool-%d" ,"inputSchema":' % number
        + schema % (number, b"w\\u0041 " + b"W\xc3\xb6rter \\u3042\\n " * 80)
        + b',"x":[1.0]}'
    )


def whole_list(token: bytes, tools: list[bytes], *, scope: bytes = b"") -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":'
        + token
        + b',"result":{"tools":['
        + b",".join(tools)
        + b"]"
        + scope
        + b',"nextCursor":"n=="}}'
    )


EVERY = [tool(number) for number in range(TOOLS)]
ALLOWED = [each for number, each in enumerate(EVERY) if str(number).startswith("1")]


def script(asked: Asked, shape: str, told: bytes) -> Iterator[bytes]:
    if shape == "body":
        yield kept(told)
    else:
        framed = event(told)
        yield stream_begins()
        yield from (chunk(framed[start : start + PACKET]) for start in range(0, len(framed), PACKET))
        yield LAST_CHUNK


@pytest.mark.parametrize("shape", ["body", "event"])
@pytest.mark.parametrize("group", ["everybody", "readers"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_list_of_two_megabytes_passes_and_holds_what_its_caller_may_use(
    place: Place, era: str, group: str, shape: str
) -> None:
    body, headers = modern("tools/list")
    if era == "legacy":
        body, headers = b'{"jsonrpc":"2.0","id":"l/1","method":"tools/list"}', LEGACY
    token = raw_id(body)
    told = whole_list(token, EVERY)
    assert len(told) > 2_000_000
    with place.playing(lambda asked: script(asked, shape, told)):
        got = place.ask(body, bearer=place.token(groups=(group,)), headers=headers)
    private = b',"cacheScope":"private"' if era == "modern" else b""
    expected = whole_list(token, EVERY if group == "everybody" else ALLOWED, scope=private)
    assert got.status == 200 and got.body == (expected if shape == "body" else event(expected))


def test_large_lists_for_many_at_once_disturb_neither_one_another_nor_small_calls(place: Place) -> None:
    told = whole_list(b"1", EVERY)
    small = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
    listing = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    calling = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}'

    def script_(asked: Asked) -> Iterator[bytes]:
        yield kept(told if json.loads(asked.body)["method"] == "tools/list" else small)

    def ask(number: int) -> bool:
        body, expected = (listing, told) if number % 2 else (calling, small)
        return place.ask(body, bearer=place.token(f"person-{number}"), headers=LEGACY).body == expected

    with place.playing(script_), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == [True] * 24


@pytest.mark.parametrize("shape", ["body", "event"])
def test_what_is_larger_than_the_limit_is_refused_by_name(place: Place, shape: str) -> None:
    told = whole_list(b"1", EVERY * 5)
    with place.playing(lambda asked: script(asked, shape, told)):
        got = place.ask(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', bearer=place.token(), headers=LEGACY)
    assert b'"reason":"upstream_too_large"' in got.body and len(got.body) < 1000
