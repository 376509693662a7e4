"""The messages that the gate makes itself."""

import json

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.wire.build import error, filtered_list, shape
from gatebook.wire.jsonrpc import parse_server

LIST = (
    b'{"jsonrpc":"2.0", "id":"a\\/b" ,"result":{ "tools" : [ {"name":"a","n":1e2} , {"x":[{"name":"b"}], "name":"\\u0062"},'
    b'{"name":"c"}] ,"nextCursor":"\\u00e9","_meta":{"k":9007199254740993}}}'
)


def without(*names: str) -> tuple[bytes, int]:
    return filtered_list(LIST, "tools", lambda name, _element: name not in names, "name", False)


def test_an_error_echoes_the_id_as_it_stood() -> None:
    assert error(b'"a\\/b"', -32601, "Method not found") == (
        b'{"jsonrpc":"2.0","id":"a\\/b","error":{"code":-32601,"message":"Method not found"}}'
    )
    assert error(b"9007199254740993", 1, "x").startswith(b'{"jsonrpc":"2.0","id":9007199254740993,')


def test_an_error_that_answers_no_request_has_no_id() -> None:
    assert error(None, -32700, "Parse error", {"call": "c"}) == (
        b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"call":"c"}}}'
    )


@pytest.mark.parametrize("id_raw", [None, b"1", b'"x"'])
def test_an_error_is_a_message_to_our_own_parser(id_raw: bytes | None) -> None:
    parsed = parse_server(error(id_raw, 4001, "Denied", {"reason": "denied"}))
    assert parsed.kind == "response"  # type: ignore[union-attr]


def test_a_list_of_which_all_may_be_seen_is_the_same_object() -> None:
    body, dropped = without("z")
    assert body is LIST
    assert dropped == 0


def test_what_may_not_be_seen_is_gone_and_all_else_stands_byte_for_byte() -> None:
    assert without("a", "c") == (
        b'{"jsonrpc":"2.0", "id":"a\\/b" ,"result":{ "tools" : [{"x":[{"name":"b"}], "name":"\\u0062"}] '
        b',"nextCursor":"\\u00e9","_meta":{"k":9007199254740993}}}',
        2,
    )


def test_a_name_is_judged_as_it_decodes() -> None:
    body, dropped = without("b")
    assert dropped == 1
    assert [tool["name"] for tool in json.loads(body)["result"]["tools"]] == ["a", "c"]


def test_a_list_of_which_nothing_may_be_seen_is_empty() -> None:
    body, dropped = without("a", "b", "c")
    assert dropped == 3
    assert json.loads(body)["result"]["tools"] == []
    assert json.loads(body)["result"]["nextCursor"] == "é"


@pytest.mark.parametrize("scope", ['"public"', '"PRIVATE"', "null", "1", '"\\u0070rivate"'])
@pytest.mark.parametrize("first", [True, False])
def test_a_cache_scope_becomes_private_even_where_nothing_was_dropped(scope: str, first: bool) -> None:
    members = [f'"cacheScope" : {scope}', '"tools":[{"name":"a"}]', '"ttlMs":5']
    if not first:
        members.reverse()
    body = f'{{"jsonrpc":"2.0","id":1,"result":{{{", ".join(members)}}}}}'.encode()
    changed, dropped = filtered_list(body, "tools", lambda _name, _element: True, "name", False)
    assert dropped == 0
    assert changed == body.replace(b'"cacheScope" : ' + scope.encode(), b'"cacheScope" : "private"')
    both, dropped = filtered_list(body, "tools", lambda _name, _element: False, "name", True)
    assert (json.loads(both)["result"], dropped) == ({"cacheScope": "private", "tools": [], "ttlMs": 5}, 1)


def test_a_private_list_stays_as_it_is() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private","tools":[]}}'
    assert filtered_list(body, "tools", lambda _name, _element: True, "name", True)[0] is body


def test_a_list_is_made_private_where_that_is_asked() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}], "ttlMs":5}}'
    changed, _ = filtered_list(body, "tools", lambda _name, _element: True, "name", True)
    assert changed == b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}],"cacheScope":"private", "ttlMs":5}}'


def test_an_error_passes_as_it_is() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}'
    assert filtered_list(body, "tools", lambda _name, _element: False, "name", True) == (body, 0)


@pytest.mark.parametrize(
    "result",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"Tools":[]}',
        b'{"tools":null}',
        b'{"tools":{}}',
        b'{"tools":"x"}',
        b'{"tools":[1]}',
        b'{"tools":["a"]}',
        b'{"tools":[null]}',
        b'{"tools":[[]]}',
        b'{"tools":[{}]}',
        b'{"tools":[{"Name":"a"}]}',
        b'{"tools":[{"name":1}]}',
        b'{"tools":[{"name":null}]}',
        b'{"tools":[{"name":"a","name":"b"}]}',
        b'{"tools":[{"name":"b","x":1,"\\u006eame":"a"}]}',
        b'{"tools":[{"name":""   ,"name":""}]}',
        b'{"tools":[{"name":"a"}],"tools":[{"name":"b"}]}',
        b'{"tools":[{"name":"a"}],"cacheScope":"private","cacheScope":"public"}',
        b'{"tools":[{"name":"a"}',
        b'{"tools":[{"name":"\\ud800"}]}',
        b'{"tools":[{"name":"\xff"}]}',
        b'{"tools":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
    ids=lambda result: repr(result[:50]),
)
def test_a_list_of_another_shape_is_the_servers_fault_and_nothing_of_it_is_shown(result: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":' + result + b"}"
    with pytest.raises(Malformed) as caught:
        filtered_list(body, "tools", lambda _name, _element: True, "name", False)
    assert caught.value.reason is Reason.UPSTREAM_INVALID


def test_a_shape_has_names_and_types_and_no_values() -> None:
    arguments = {
        "s": "4111111111111111",
        "i": 4111111111111111,
        "f": 1.5,
        "b": True,
        "n": None,
        "l": [1],
        "o": {"x": 1},
    }
    assert shape(arguments) == {
        "s": "string", "i": "integer", "f": "number", "b": "boolean", "n": "null", "l": "array", "o": "object",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "4111111111111111",
        "card 4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "x12345678",
        "٤١١١١١١١",
        "４１１１１１１１",
        "4_1_1_1_1_1_1_1",
    ],
)
def test_a_name_that_could_be_a_card_number_is_not_shown(name: str) -> None:
    assert shape({name: 1, "a": 2}) == {"...": "integer", "a": "integer"}


def test_a_shape_is_bounded_and_ascii() -> None:
    shaped = shape({f"n{index}" + "x" * 100: index for index in range(1000)} | {"größe": 1})
    assert len(shaped) == 64
    assert max(map(len, shaped)) == 64
    assert shape({"größe": 1, "a\nb": 2}).keys() == {"gr\\xf6\\xdfe", "a\\nb"}
