"""The outside of what a server sends."""

import json

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.wire import jsonrpc
from gatebook.wire.jsonrpc import BatchEnvelope, Envelope, parse_server


def envelope(body: bytes) -> Envelope:
    parsed = parse_server(body)
    assert isinstance(parsed, Envelope)
    assert parsed.raw == body
    return parsed


def test_a_result_is_known_by_its_id() -> None:
    parsed = envelope(b'{"jsonrpc":"2.0","id":"a\\/b","result":{"content":[]}}')
    assert (parsed.kind, parsed.id, parsed.is_error, parsed.error_code) == ("response", b'"a\\/b"', False, None)


@pytest.mark.parametrize("space", [None, 1, 8])
def test_a_tools_own_failure_is_seen_in_any_layout(space: int | None) -> None:
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"isError": 0}], "isError": True}}, indent=space
    )
    assert envelope(body.encode()).is_error is True


def test_an_escaped_key_counts_as_what_it_decodes_to() -> None:
    assert envelope(b'{"jsonrpc":"2.0","\\u0069d":1,"result":{"\\u0069sError":true}}').is_error is True


@pytest.mark.parametrize("said", [b"false", b"1", b'"true"', b"null", b"[true]"])
def test_only_true_is_a_failure(said: bytes) -> None:
    assert envelope(b'{"jsonrpc":"2.0","id":1,"result":{"isError":%b}}' % said).is_error is False


def test_the_kind_of_result_is_seen() -> None:
    parsed = envelope(b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{}}}')
    assert parsed.result_type == "input_required"


def test_an_error_has_its_code() -> None:
    parsed = envelope(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}')
    assert (parsed.kind, parsed.id, parsed.error_code) == ("response", b"1", -32603)


@pytest.mark.parametrize("member", [b"", b'"id":null,'])
def test_an_error_may_answer_no_known_request(member: bytes) -> None:
    assert envelope(b'{"jsonrpc":"2.0",%b"error":{"code":-32700,"message":"x"}}' % member).id is None


def test_a_servers_own_request_and_its_notification_are_told_apart() -> None:
    request = envelope(b'{"jsonrpc":"2.0","id":0,"method":"sampling/createMessage","params":{}}')
    assert (request.kind, request.id, request.method) == ("request", b"0", "sampling/createMessage")
    notification = envelope(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}')
    assert (notification.kind, notification.id, notification.method) == ("notification", None, "notifications/progress")


def test_a_batch_is_read_element_by_element() -> None:
    parsed = parse_server(b' [{"jsonrpc":"2.0","id":1,"result":{}} , {"jsonrpc":"2.0","method":"x"}]')
    assert isinstance(parsed, BatchEnvelope)
    assert [element.raw for element in parsed.elements] == [
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","method":"x"}',
    ]


GOOD = b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"1",
        b"[]",
        b"[1]",
        b"[[" + GOOD + b"]]",
        b"{}",
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"x",
        GOOD + GOOD,
        GOOD.replace(b'"a"', b'"\xff"'),
        GOOD.replace(b'"a"', b'"\xed\xa0\x80"'),
        GOOD.replace(b'"2.0"', b'"1.0"'),
        GOOD.replace(b'"jsonrpc":"2.0",', b""),
        GOOD.replace(b'"id":1,', b""),
        GOOD.replace(b'"id":1', b'"id":null'),
        GOOD.replace(b'"id":1', b'"id":1.0'),
        GOOD.replace(b'"id":1', b'"id":true'),
        GOOD.replace(b'{"a":1}', b"[]"),
        GOOD.replace(b'{"a":1}', b"null"),
        GOOD.replace(b'"id":1', b'"id":1,"method":"x"'),
        GOOD.replace(b'"id":1', b'"id":1,"error":{"code":1,"message":""}'),
        b'{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":""}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"message":""}}',
        b'{"jsonrpc":"2.0","id":1,"error":"x"}',
        b'{"jsonrpc":"2.0","id":1,"method":1}',
        b'{"jsonrpc":"2.0","id":null,"method":"x"}',
        b'{"jsonrpc":"2.0","id":1,"result":{"resultType":1}}',
        b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:70]),
)
def test_what_is_no_message_is_the_servers_fault(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_server(body)
    assert caught.value.reason is Reason.UPSTREAM_INVALID


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n ", "\t:  ")])
@pytest.mark.parametrize(
    "twice", ['"id":1', '"id":2', '"result":{}', '"result":{"b":2}', '"jsonrpc":"2.0"', '"\\u0069d":1']
)
def test_a_reserved_key_never_stands_twice_in_any_layout(separators: tuple[str, str], twice: str) -> None:
    comma, colon = separators
    members = ['"jsonrpc":"2.0"', '"id":1', '"result":{"a":1}']
    for place in range(len(members) + 1):
        laid_out = comma.join((*members[:place], twice, *members[place:])).replace('":', f'"{colon}')
        with pytest.raises(Malformed):
            parse_server(f"{{{laid_out}}}".encode())
    laid_out = comma.join(members).replace('":', f'"{colon}')
    assert envelope(f"{{{laid_out}}}".encode()).id == b"1"


@pytest.mark.parametrize("text", ["\xff", "\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80"])
@pytest.mark.parametrize(
    "layout", ['{"jsonrpc":"2.0","id":1,"result":{"a":"%s"}}', '{"result":{"a":"%s"},"jsonrpc":"2.0","id":1}']
)
def test_what_is_no_utf_8_is_refused_also_where_no_value_is_read(layout: str, text: str) -> None:
    assert envelope((layout % "\u00fc").encode()).id == b"1"
    with pytest.raises(Malformed):
        parse_server((layout % text).encode("latin-1"))


@pytest.mark.parametrize("id_", ["0", "-7", "9007199254740993", '"a-1"', '""', '"9f0e, :{}"'])
@pytest.mark.parametrize(
    "layout",
    [
        '{"jsonrpc":"2.0","id":%s,"result":%s}',
        '{"jsonrpc": "2.0", "id": %s, "result": %s}\n',
        '{"result":%s,"jsonrpc":"2.0","id":%s}',
        '\r\n{"result" : %s ,\n "jsonrpc" : "2.0" ,\t"id" : %s }',
    ],
)
def test_results_as_servers_write_them_are_looked_at_once(layout: str, id_: str) -> None:
    result = '{"isError":true,"resultType":"task","content":[{"text":"\u00fc},"}]}'
    body = (layout % ((result, id_) if "result" in layout[:12] else (id_, result))).encode()
    usual = jsonrpc._usual_result(body)
    assert usual == jsonrpc._envelope(body) == envelope(body)
    assert usual == Envelope(raw=body, kind="response", id=id_.encode(), is_error=True, result_type="task")


@pytest.mark.parametrize(
    "id_", ["-0", "01", "1.0", "null", "1e2", '"a\\u0062"', '"\u00fc"', f'"{"x" * 129}"', "1" * 20]
)
def test_an_unusual_id_is_judged_the_long_way(id_: str) -> None:
    assert jsonrpc._usual_result(f'{{"jsonrpc":"2.0","id":{id_},"result":{{}}}}'.encode()) is None
    assert jsonrpc._usual_result(f'{{"result":{{}},"jsonrpc":"2.0","id":{id_}}}'.encode()) is None


@pytest.mark.parametrize("name", ["Id", "RESULT", "Method", "jsonRPC", "errOr"])
def test_no_key_looks_like_a_reserved_one(name: str) -> None:
    with pytest.raises(Malformed):
        parse_server(GOOD[:-1] + f',"{name}":1}}'.encode())
