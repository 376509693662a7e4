"""JSON-RPC ids cross the gate as the bytes they are, and an answer finds its caller whatever others chose."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.attacks.ground import PAN
from tests.e2e.attacks.recording import Asked
from tests.e2e.wire.place import (
    META,
    VERSION,
    Place,
    answer,
    chunk,
    event,
    events_then_end,
    kept,
    stream_begins,
)

IDS = [
    b'"a/b"', b'"a\\/b"', b'"a\\u002fb"', b'"..//%2e%2e/?#"', b'"\\ud83d\\ude00"', '"\U0001f600 \u00fc"'.encode(), b'""', b'" 1 "', b'"null"',
    b'"\\"\\\\\\n\\t"', b'"1"', b'"9007199254740993"', b"0", b"-0", b"-1", b"9007199254740991", b"9007199254740993", b"-9007199254740993",
    b"18446744073709551616", b"1" + b"0" * 40, b'"' + b"x" * 1000 + b'"',
]  # fmt: skip
"""Among them some that a parser would write otherwise, and integers that JavaScript and 64 bits cannot hold."""


def call(token: bytes, *, modern: bool, text: str = "42") -> bytes:
    params = {"name": "get_order", "arguments": {"id": text}, **({"_meta": META} if modern else {})}
    return b'{"jsonrpc":"2.0","id":' + token + b',"method":"tools/call","params":' + json.dumps(params).encode() + b"}"


def headers(*, modern: bool) -> dict[str, str]:
    if not modern:
        return {"MCP-Protocol-Version": "2025-11-25"}
    return {"MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": "get_order"}


def as_body(asked: Asked) -> Iterator[bytes]:
    yield kept(answer(asked))


def as_event(asked: Asked) -> Iterator[bytes]:
    yield events_then_end(event(answer(asked)))


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("token", IDS, ids=repr)
def test_an_id_passes_both_ways_as_the_bytes_it_is(place: Place, token: bytes, era: str) -> None:
    modern = era == "modern"
    sent = call(token, modern=modern)
    for script, came in ((as_body, b"%b"), (as_event, event(b"%b"))):
        with place.playing(script):
            got = place.ask(sent, bearer=place.token(), headers=headers(modern=modern))
        assert place.payments.asked[-1].body == sent
        assert (got.status, got.body) == (200, came % (b'{"jsonrpc":"2.0","id":' + token + b',"result":{}}'))


@pytest.mark.parametrize("token", IDS, ids=repr)
def test_an_error_of_the_gate_itself_bears_the_id_as_it_stood(place: Place, token: bytes) -> None:
    with place.nothing_arrives():
        got = place.ask(call(token, modern=False, text=PAN), bearer=place.token())
    assert got.reason == "card_number_in_arguments"
    assert b'"id":' + token + b"," in got.body


@pytest.mark.parametrize(
    ("asked_as", "answered_as"), [(b'"a/b"', b'"a\\u002fb"'), (b'"a\\/b"', b'"a/b"'), (b"0", b"-0")], ids=repr
)
def test_an_answer_may_spell_the_id_in_another_way(place: Place, asked_as: bytes, answered_as: bytes) -> None:
    told = b'{"jsonrpc":"2.0","id":' + answered_as + b',"result":{}}'
    with place.playing(lambda asked: iter([kept(told)])):
        got = place.ask(call(asked_as, modern=False), bearer=place.token())
    assert (got.status, got.body) == (200, told)


@pytest.mark.parametrize(
    ("asked_as", "answered_as"),
    [(b"1", b'"1"'), (b'"1"', b"1"), (b"9007199254740993", b"9007199254740992"), (b'"a"', b'"A"')],
    ids=repr,
)
def test_an_answer_under_another_id_is_not_the_answer(place: Place, asked_as: bytes, answered_as: bytes) -> None:
    told = b'{"jsonrpc":"2.0","id":' + answered_as + b',"result":{"secret":"another caller\'s"}}'
    with place.playing(lambda asked: iter([kept(told)])):
        got = place.ask(call(asked_as, modern=False), bearer=place.token())
    assert (got.status, got.reason) == (502, "upstream_invalid")
    assert "another caller" not in got.whole and b'"id":' + asked_as + b"," in got.body


@pytest.mark.parametrize("token", IDS, ids=repr)
def test_a_servers_own_question_and_its_answer_keep_the_servers_id(place: Place, token: bytes) -> None:
    question = b'{"jsonrpc":"2.0","id":' + token + b',"method":"roots/list"}'
    with place.playing(lambda asked: iter([events_then_end(event(question), event(answer(asked)))])):
        got = place.ask(call(b"1", modern=False), bearer=place.token())
    assert got.body.startswith(event(question))
    told = b'{"jsonrpc":"2.0", "id":' + token + b', "result":{"roots":[]}}'
    with place.playing(lambda asked: iter([kept(b"", status=b"202 Accepted")])):
        got = place.ask(told, bearer=place.token())
    assert (got.status, place.payments.asked[-1].body) == (202, told)


@pytest.mark.parametrize("shape", ["body", "event"])
@pytest.mark.parametrize("token", [b"1", b'"a/b"'], ids=repr)
def test_many_callers_with_the_same_id_at_once_get_each_its_own_answer(place: Place, token: bytes, shape: str) -> None:
    """All are on their way before the first is answered; the last to come is answered first."""
    callers = 24
    all_here = threading.Barrier(callers, timeout=20)

    def script(asked: Asked) -> Iterator[bytes]:
        if shape == "event":
            yield stream_begins()
        all_here.wait()
        text = json.loads(asked.body)["params"]["arguments"]["id"]
        told = answer(asked, b'{"content":[{"type":"text","text":"for ' + text.encode() + b'"}]}')
        yield kept(told) if shape == "body" else chunk(event(told)) + b"0\r\n\r\n"

    def ask(caller: int) -> bytes:
        # Three programs of each of eight people: the same principal uses one id three times at once.
        bearer = place.token(f"person-{caller % 8}")
        return place.ask(call(token, modern=False, text=f"caller {caller}"), bearer=bearer).body

    with place.playing(script), ThreadPoolExecutor(callers) as pool:
        got = list(pool.map(ask, range(callers)))
    assert [b'"for caller %d"' % caller in body for caller, body in enumerate(got)] == [True] * callers
