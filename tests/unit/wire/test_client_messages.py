"""What a client may say, and in how many ways one text could be read. The corpus is data: tests/vectors/wire."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.wire import strict_json
from gatebook.wire.jsonrpc import Batch, Notification, Request, Response, parse_client, plain_id, salvage_id

CORPUS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors/wire/client_messages.json").read_text(encoding="utf-8")
)
KINDS = {"request": Request, "notification": Notification, "response": Response, "batch": Batch}


def body_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode()


def refusal(body: bytes) -> Malformed:
    with pytest.raises(Malformed) as caught:
        parse_client(body)
    return caught.value


@pytest.mark.parametrize("vector", [v for v in CORPUS if "kind" in v], ids=lambda v: v["why"])
def test_what_every_parser_reads_alike_is_taken_with_its_bytes(vector: dict[str, Any]) -> None:
    body = body_of(vector)
    message = parse_client(body)
    assert type(message) is KINDS[vector["kind"]]
    assert message.raw == body
    if "id" in vector:
        assert isinstance(message, Request | Response)
        assert message.id == vector["id"].encode()
    if isinstance(message, Batch):
        assert [element.raw.decode() for element in message.elements] == vector["raws"]


@pytest.mark.parametrize("vector", [v for v in CORPUS if "refused" in v], ids=lambda v: v["why"])
def test_what_two_parsers_could_read_differently_is_refused(vector: dict[str, Any]) -> None:
    assert refusal(body_of(vector)).reason == vector["refused"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}}",
        b"[[]," * 10_000,
        b'"' + b"[" * 10_000,
    ],
)
def test_ten_thousand_levels_are_a_plain_refusal(body: bytes) -> None:
    assert refusal(body).reason is Reason.PARSE_ERROR


@pytest.mark.parametrize(
    "body",
    [
        b"[" * (1 << 20),
        b"[" * (1 << 19) + b"]" * (1 << 19),
        b'"\\' * (1 << 19),
        b'"' * (1 << 20),
        b'["' + b'\\"[' * (1 << 18) + b'"]',
        b"[[]" * (1 << 18) + b"]" * (1 << 18),
        b"\\" * (1 << 20),
        b" " * (1 << 20),
        b"[" + b"1" * (1 << 20) + b"]",
        b"[" + b",".join([b"9" * 308] * 3000) + b"]",
    ],
    ids=lambda body: repr(body[:6]),
)
def test_a_hostile_megabyte_is_refused_in_linear_time(body: bytes) -> None:
    # Processor time of this thread with room for a slow machine; a quadratic way would take minutes.
    before = time.thread_time()
    refusal(body)
    assert time.thread_time() - before < 2


def test_a_refusal_repeats_nothing_of_the_message() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"4111111111111111","name":"4111111111111111"}}'
    for broken in (body, body[:-1], body + b"4111", b"\xff" + body, body.replace(b'"name":', b'"Name":', 1)):
        error = refusal(broken)
        assert "4111" not in f"{error} {error.words} {error.args}"
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None


def test_parameters_are_there_even_where_none_were_sent() -> None:
    message = parse_client(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert isinstance(message, Request)
    assert message.params == {}


def test_large_integers_stay_exact() -> None:
    message = parse_client(
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"n":9007199254740993,"m":123456789012345678901234567890}}'
    )
    assert isinstance(message, Request)
    assert message.params == {"n": 9007199254740993, "m": 123456789012345678901234567890}


def test_an_answer_holds_what_the_client_said() -> None:
    said = parse_client(b'{"jsonrpc":"2.0","id":"e1","result":{"action":"accept","content":{"a":1}}}')
    assert isinstance(said, Response)
    assert said.result is True
    assert said.content == {"action": "accept", "content": {"a": 1}}
    failed = parse_client(b'{"jsonrpc":"2.0","id":"e1","error":{"code":-1,"message":"no"}}')
    assert isinstance(failed, Response)
    assert failed.result is False
    assert failed.content == {"code": -1, "message": "no"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"1", b"1", True),
        (b'"a/b"', b'"a\\/b"', True),
        (b'"\\u0061"', b'"a"', True),
        (b"1", b'"1"', False),
        (b"9007199254740993", b"9007199254740992", False),
        (b"-0", b"0", True),
    ],
)
def test_ids_are_compared_by_value(one: bytes, other: bytes, same: bool) -> None:
    assert (plain_id(one) == plain_id(other)) is same


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}', b"7"),
        (b'{"jsonrpc":"1.0","id":"a\\/b"}', b'"a\\/b"'),
        (b'{"id":7,"id":8,"method":"ping"}', None),
        (b'{"id":null}', None),
        (b'{"id":1.0}', None),
        (b'{"method":"ping"}', None),
        (b'[{"id":1}]', None),
        (b'{"id":7', None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_refused_message_is_answered_under_its_id_only_where_that_is_plain(
    body: bytes, expected: bytes | None
) -> None:
    assert salvage_id(body) == expected


def test_a_message_that_two_parsers_read_differently_is_refused_whatever_the_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strict_json, "_JSON", json.JSONDecoder(parse_int=float, parse_float=lambda _: 0.0))
    body = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"n":0.50}}'
    assert refusal(body).words == "The message can be read in two ways."
