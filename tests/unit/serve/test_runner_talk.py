"""The talk with one process: whose is which line, and whose id stands in it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.model.errors import Malformed
from gatebook.serve.runner.lines import LineSplitter, LineTooLong, event_of, line_of
from gatebook.serve.runner.refusals import Refusal
from gatebook.serve.runner.talk import Exchange, Heard, Serving, Talk, finished, read, replaced
from gatebook.wire.jsonrpc import Request, parse_client
from gatebook.wire.sse import EventSplitter

POOLED: tuple[Serving, ...] = ("caller", "everybody")


def hear(talk: Talk, raw: bytes) -> Heard:
    heard = talk.hear(read(raw))
    if heard.delivery is None:
        return heard
    return msgspec.structs.replace(heard, delivery=finished(heard.delivery, heard.edits))


def request(identity: Any, method: str = "tools/call", **params: Any) -> Request:
    made = parse_client(json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode())
    assert isinstance(made, Request)
    return made


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def asked(talk: Talk, identity: Any, **params: Any) -> tuple[Exchange, dict[str, Any]]:
    exchange, written = talk.ask((request(identity, **params),))
    return exchange, json.loads(written)


def test_a_session_gets_its_messages_as_they_came() -> None:
    talk, made = Talk("session"), request("a/b", _meta={"progressToken": 7})
    _, written = talk.ask((made,))
    assert written == made.raw + b"\n"
    heard = hear(talk, line(id="a/b", result={}))
    assert heard.delivery is not None and heard.delivery.last
    assert heard.delivery.message == line(id="a/b", result={})


def test_an_id_that_is_under_way_in_a_session_is_refused_and_free_when_answered() -> None:
    talk = Talk("session")
    talk.ask((request(1),))
    with pytest.raises(Refusal, match="under way"):
        talk.ask((request(1),))
    hear(talk, line(id=1, result={}))
    talk.ask((request(1),))


@pytest.mark.parametrize("serving", POOLED)
def test_equal_ids_and_tokens_of_two_clients_are_kept_apart(serving: Serving) -> None:
    talk = Talk(serving)
    first, one = asked(talk, "same", _meta={"progressToken": "same"})
    second, other = asked(talk, "same", _meta={"progressToken": "same"})
    assert one["id"] != other["id"]
    token = other["params"]["_meta"]["progressToken"]
    progress = hear(
        talk, line(method="notifications/progress", params={"progressToken": token, "progress": 1})
    ).delivery
    assert progress is not None and progress.exchange is second
    assert json.loads(progress.message)["params"]["progressToken"] == "same"
    answer = hear(talk, line(id=one["id"], result={})).delivery
    assert answer is not None and answer.exchange is first
    assert json.loads(answer.message)["id"] == "same"


def test_what_nobody_asked_and_what_is_answered_twice_goes_to_nobody() -> None:
    talk = Talk("session")
    assert hear(talk, line(id=9, result={})).delivery is None
    talk.ask((request(9),))
    assert hear(talk, line(id=9, result={})).delivery is not None
    assert hear(talk, line(id=9, result={})).delivery is None
    assert (
        hear(talk, line(method="notifications/progress", params={"progressToken": 9, "progress": 1})).delivery is None
    )


def test_a_question_goes_with_the_request_begun_last_and_is_answered_once() -> None:
    talk = Talk("session")
    talk.ask((request(1),))
    second, _ = talk.ask((request(2),))
    question = hear(talk, line(id="q", method="sampling/createMessage", params={})).delivery
    assert question is not None and question.exchange is second
    answer = parse_client(line(id="q", result={}))
    assert not isinstance(answer, Request)
    assert talk.tell(answer) is not None  # type: ignore[arg-type]
    assert talk.tell(answer) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("serving", POOLED)
def test_in_a_pool_nobody_in_particular_is_asked(serving: Serving) -> None:
    heard = hear(Talk(serving), line(id="q", method="sampling/createMessage", params={}))
    assert heard.delivery is None and heard.reply is not None
    assert json.loads(heard.reply) == {
        "jsonrpc": "2.0",
        "id": "q",
        "error": {"code": -32601, "message": "nobody can be asked here"},
    }


def test_what_changes_a_session_goes_to_its_listener_and_else_with_a_request() -> None:
    talk = Talk("session")
    exchange, _ = talk.ask((request(1),))
    changed = line(method="notifications/tools/list_changed")
    without = hear(talk, changed).delivery
    talk.listened = True
    with_one = hear(talk, changed).delivery
    assert without is not None and without.exchange is exchange
    assert with_one is not None and with_one.exchange is None


def test_a_log_line_of_a_process_for_everybody_reaches_nobody_else() -> None:
    talk, said = Talk("everybody"), line(method="notifications/message", params={"level": "info", "data": "x"})
    level = {"io.modelcontextprotocol/logLevel": "info"}
    first, _ = asked(talk, 1, _meta=level)
    alone = hear(talk, said).delivery
    assert alone is not None and alone.exchange is first
    asked(talk, 1, _meta=level)
    assert hear(talk, said).delivery is None


def test_a_subscription_bears_its_own_id_both_ways() -> None:
    talk, name = Talk("caller"), "io.modelcontextprotocol/subscriptionId"
    exchange, written = talk.ask((request("mine", method="subscriptions/listen", notifications={}),))
    key = json.loads(written)["id"]
    came = hear(talk, line(method="notifications/tools/list_changed", params={"_meta": {name: key}})).delivery
    assert came is not None and came.exchange is exchange
    assert json.loads(came.message)["params"]["_meta"][name] == "mine"


def test_who_hangs_up_cancels_in_a_pool_and_a_late_answer_is_nobodys() -> None:
    talk = Talk("caller")
    exchange, written = asked(talk, "x")
    assert json.loads(talk.drop(exchange, cancel=True))["params"]["requestId"] == written["id"]
    assert talk.drop(exchange, cancel=True) == b""
    assert hear(talk, line(id=written["id"], result={})).delivery is None
    assert not talk.busy


@pytest.mark.parametrize(
    "said", [b"Welcome", b"[]", b'{"jsonrpc":"2.0","id":1,"id":2,"result":{}}', b'{"jsonrpc":"1.0"}']
)
def test_what_is_no_message_is_said_to_be_none(said: bytes) -> None:
    with pytest.raises(Malformed):
        hear(Talk("session"), said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, st.integers() | st.text(), st.sampled_from([None, 1, 2]))
def test_a_member_is_replaced_and_every_other_byte_stays(
    before: object, after: object, new: object, indent: int | None
) -> None:
    text = json.dumps({"b": before, "params": {"x": after, "id": 0}, "a": after}, indent=indent).encode()
    made = replaced(text, ("params", "id"), json.dumps(new).encode())
    found = json.loads(made)
    assert found["params"].pop("id") == new
    assert found == {"b": before, "params": {"x": after}, "a": after}
    assert replaced(made, ("params", "id"), b"0") == text


@given(
    st.lists(st.binary(max_size=20).filter(lambda raw: b"\n" not in raw and not raw.endswith(b"\r")), max_size=6),
    st.data(),
)
def test_lines_are_the_same_wherever_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(each + b"\n" for each in lines)
    splitter, found, place = LineSplitter(100), [], 0
    while place < len(stream):
        size = data.draw(st.integers(1, len(stream) - place))
        found += splitter.feed(stream[place : place + size])
        place += size
    assert found == lines


def test_a_line_without_end_is_given_up() -> None:
    splitter = LineSplitter(10)
    splitter.feed(b"12345")
    with pytest.raises(LineTooLong):
        splitter.feed(b"678901")


@given(JSON, st.sampled_from([None, 0, 2]))
def test_a_message_becomes_one_line_and_one_event_of_the_same_value(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent).replace("\n", "\r\n").encode()
    written = line_of(text)
    assert written.count(b"\n") == 1 and b"\r" not in written and json.loads(written) == value
    [event] = EventSplitter(1 << 20).feed(event_of(written[:-1]))
    assert event.data is not None and msgspec.json.decode(event.data) == msgspec.json.decode(text)
