"""Messages that two parsers could read differently, or that say one thing in two ways: refused whole, recorded, and never sent."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.attacks.ground import CALL, PAN, Attempt, Ground

pytestmark = pytest.mark.e2e

RAW = json.dumps(CALL).encode()
NAME, ARGUMENTS = b'"name": "get_order"', b'"id": "42"'
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "client_messages.json").read_text())


def nested(depth: int) -> bytes:
    return RAW.replace(b'"42"', b"[" * depth + b"]" * depth)


BODIES: dict[str, bytes] = {
    **{
        case["why"]: bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode()
        for case in VECTORS
        if "refused" in case
    },
    # A key twice, at every depth, plain and escaped
    "jsonrpc twice": RAW.replace(b'"jsonrpc"', b'"jsonrpc": "2.0", "jsonrpc"'),
    "method twice": RAW.replace(b'"method"', b'"method": "ping", "method"'),
    "method twice, the second last": RAW[:-1] + b', "method": "tools/list"}',
    "an escaped method": RAW.replace(b'"method"', b'"\\u006dethod": "ping", "method"'),
    "params twice": RAW[:-1] + b', "params": {"name": "delete_customer"}}',
    "name twice": RAW.replace(NAME, b'"name": "delete_customer", ' + NAME),
    "name twice, the second escaped": RAW.replace(NAME, NAME + b', "n\\u0061me": "delete_customer"'),
    "arguments twice": RAW.replace(b'"arguments"', b'"arguments": {}, "arguments"'),
    "an argument twice": RAW.replace(ARGUMENTS, b'"id": "1", ' + ARGUMENTS),
    "an argument twice, far down": RAW.replace(b'"42"', b'{"a": [{"b": {"c": 1, "c": 2}}]}'),
    # A key in another case, wherever a decision is taken from it
    "METHOD": RAW.replace(b'"method"', b'"METHOD": "ping", "method"'),
    "Params": RAW.replace(b'"params"', b'"Params": {"name": "delete_customer"}, "params"'),
    "Name": RAW.replace(NAME, NAME + b', "Name": "delete_customer"'),
    "naMe with a Kelvin sign's cousin": RAW.replace(b'"arguments"', b'"argument\\u017f": {}, "arguments"'),
    "_META": RAW.replace(NAME, NAME + b', "_META": {}'),
    "a null in a key": RAW.replace(NAME, NAME + b', "name\\u0000": "delete_customer"'),
    # Not quite JSON
    "a byte order mark": b"\xef\xbb\xbf" + RAW,
    "UTF-16": RAW.decode().encode("utf-16"),
    "a trailing byte": RAW + b"\0",
    "a trailing message": RAW + b"\n" + RAW,
    "1e400": RAW.replace(b'"42"', b"1e400"),
    "-1e400": RAW.replace(b'"42"', b"-1e400"),
    "an integer of 400 digits": RAW.replace(b'"42"', b"9" * 400),
    "NaN": RAW.replace(b'"42"', b"NaN"),
    "a lone surrogate": RAW.replace(b"42", b"\\ud800"),
    "a lone surrogate as bytes": RAW.replace(b"42", b"\xed\xa0\x80"),
    "nested 10,000 deep": nested(10_000),
    "nested 65 deep": nested(65),
    "objects nested 10,000 deep": RAW.replace(b'"42"', b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "an unclosed array of 60,000": b"[" * 60_000,
    "compressed": gzip.compress(RAW),
}


@pytest.fixture(scope="module")
def bodies(place: Ground) -> dict[str, Attempt]:
    token = place.token()
    return {
        name: place.attempt(lambda address, body=body: place.ask(body, bearer=token, address=address))
        for name, body in BODIES.items()
    }


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_can_be_read_in_two_ways_goes_nowhere(place: Ground, bodies: dict[str, Attempt], name: str) -> None:
    attempt = bodies[name]
    assert attempt.arrived == b""
    assert attempt.answer.status == 400
    assert attempt.answer.error["code"] in (-32700, -32600, -32602)
    entry = place.held(61, f"body: {name}", attempt)
    assert (entry.ev, entry.who.sub) == ("call.refused", "alice")
    assert entry.out.reason == attempt.answer.reason
    assert entry.pay == ()
    assert entry.call is not None and entry.call == attempt.answer.error["data"]["call"]


# Names and methods that look like granted ones


def call(name: str) -> bytes:
    return json.dumps({**CALL, "params": {"name": name, "arguments": {}}}, ensure_ascii=False).encode()


NAMES = ["Get_order", "GET_ORDER", "get_order ", " get_order", "get_order\u200b", "ｇet_order", "get_οrder", "get_order\0",
         "get_order\n", "list_a/b", "list_/../delete", "*", "list_*/x", "get_orde", "get_orderr"]  # fmt: skip
METHODS = [
    "Tools/call",
    "tools/Call",
    "tools/call ",
    "tools//call",
    "tools/call/",
    "TOOLS/CALL",
    "vendor/x",
    "tools/delete",
]
URIS = ["customers://1", "orders://a/b", "orders://../customers", "orders://.", "orders://a/../b", "orders://%2e%2e", "orders://%2E",
        "orders://a%2fb", "orders://%41", "orders://a\\b", "orders://a%5cb", "orders://a%00", "orders://a\0", "orders://a%252e",
        "orders://a%zz", "orders://a/.. ", "orders://a ", "orders://a\n", "ORDERS://1", " orders://1", "orders://..;x", "orders:/1", "orders://..?x"]  # fmt: skip
FORBIDDEN: dict[str, bytes] = {
    **{f"tool {name!r}": call(name) for name in NAMES},
    **{f"method {method!r}": RAW.replace(b"tools/call", method.encode()) for method in METHODS if method.strip() == method},
    **{
        f"URI {uri!r}": json.dumps({**CALL, "method": "resources/read", "params": {"uri": uri}}).encode() for uri in URIS
    },
    **{
        f"subscribe {uri!r}": json.dumps({**CALL, "method": "resources/subscribe", "params": {"uri": uri}}).encode()
        for uri in URIS[:6]
    },
    "a completion on a forbidden prompt": json.dumps(
        {**CALL, "method": "completion/complete", "params": {"ref": {"type": "ref/prompt", "name": "other"}, "argument": {}}}
    ).encode(),
    "a server's method": RAW.replace(b"tools/call", b"sampling/createMessage"),
}  # fmt: skip


@pytest.fixture(scope="module")
def forbidden(place: Ground) -> dict[str, Attempt]:
    token = place.token()
    return {
        name: place.attempt(lambda address, body=body: place.ask(body, bearer=token, address=address))
        for name, body in FORBIDDEN.items()
    }


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_only_looks_like_a_granted_object_is_denied(
    place: Ground, forbidden: dict[str, Attempt], name: str
) -> None:
    attempt = forbidden[name]
    assert attempt.arrived == b""
    assert (attempt.answer.status, attempt.answer.error["code"]) in ((200, 1), (200, -32601))
    assert attempt.answer.reason in ("denied", "method_unknown")
    entry = place.held(61, name, attempt)
    assert entry.pol is not None and entry.pol.decision == "deny"


@pytest.mark.parametrize(
    "body", [RAW.replace(b"_order", b"\\u005forder"), call("list_orders")], ids=["escaped", "glob"]
)
def test_an_escaped_spelling_of_a_granted_name_is_that_name_and_goes_on_as_it_stands(
    place: Ground, body: bytes
) -> None:
    attempt = place.attempt(lambda address: place.ask(body, bearer=place.token(), address=address))
    assert attempt.answer.status == 200
    assert attempt.arrived.endswith(b"\r\n\r\n" + body)


# Batches


def batch(*names: str) -> bytes:
    calls = [{**CALL, "id": n, "params": {"name": name, "arguments": {}}} for n, name in enumerate(names, 1)]
    return json.dumps(calls).encode()


BATCHES: dict[str, tuple[bytes, str | None, str, int]] = {
    "one forbidden": (batch("get_order", "delete_customer"), "2025-03-26", "denied", 200),
    "the forbidden first": (batch("delete_customer", "get_order"), None, "denied", 200),
    "a card number in one": (
        batch("get_order", "get_order").replace(b'"arguments": {}', b'"arguments": {"c": "4111111111111111"}', 1),
        "2025-03-26", "card_number_in_arguments", 200,
    ),
    "2025-06-18": (batch("get_order"), "2025-06-18", "batch_forbidden", 400),
    "2025-11-25": (batch("get_order"), "2025-11-25", "batch_forbidden", 400),
    "2026-07-28": (batch("get_order"), "2026-07-28", "batch_forbidden", 400),
    "empty": (b"[]", "2025-03-26", "invalid_request", 400),
    "nested": (b"[" + batch("get_order") + b"]", "2025-03-26", "invalid_request", 400),
    "of values": (b"[1, 2]", "2025-03-26", "invalid_request", 400),
    "two of one id": (batch("get_order", "get_order").replace(b'"id": 2', b'"id": 1'), "2025-03-26", "invalid_request", 400),
    "of 101": (batch(*["get_order"] * 101), "2025-03-26", "invalid_request", 400),
    "with initialize": (batch("get_order").replace(b"tools/call", b"initialize"), "2025-03-26", "invalid_request", 400),
}  # fmt: skip


@pytest.fixture(scope="module")
def batches(place: Ground) -> dict[str, Attempt]:
    def attempt(body: bytes, version: str | None) -> Attempt:
        headers = {} if version is None else {"MCP-Protocol-Version": version}
        return place.attempt(lambda a: place.ask(body, bearer=place.token(), headers=headers, address=a))

    return {name: attempt(body, version) for name, (body, version, _, _) in BATCHES.items()}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_goes_through_whole_or_not_at_all(place: Ground, batches: dict[str, Attempt], name: str) -> None:
    attempt, (_, _, reason, status) = batches[name], BATCHES[name]
    assert (attempt.arrived, attempt.answer.status) == (b"", status)
    found = json.loads(attempt.answer.body)
    errors = found if isinstance(found, list) else [found]
    assert {error["error"]["data"]["reason"] for error in errors} == {reason}
    if status == 200:
        assert [error["id"] for error in errors] == [1, 2]
    assert place.held(61, f"a batch: {name}", attempt).out.reason == reason


def test_each_call_of_an_allowed_batch_has_its_own_intent(place: Ground) -> None:
    attempt = place.attempt(
        lambda address: place.ask(batch("get_order", "list_orders"), bearer=place.token(), address=address)
    )
    assert [answer["id"] for answer in json.loads(attempt.answer.body)] == [1, 2]
    entries = place.entries(lambda entries: len(entries) == 4, attempt.address)
    assert [entry.ev for entry in entries] == ["call.intent"] * 2 + ["call.result"] * 2
    assert len({entry.call for entry in entries}) == 2


# Headers that repeat the body (2026-07-28)

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
MODERN: dict[str, Any] = {**CALL, "params": {**CALL["params"], "_meta": META}}
AGREES = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "get_order"}


def wrapped(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def unlike(**headers: str | None) -> dict[str, str]:
    changed = {**AGREES, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {name: value for name, value in changed.items() if value is not None}


MISMATCHES: dict[str, dict[str, str]] = {
    "another name": unlike(Mcp_Name="delete_customer"),
    "no name": unlike(Mcp_Name=None),
    "the name in another case": unlike(Mcp_Name="Get_order"),
    "another name, wrapped": unlike(Mcp_Name=wrapped("delete_customer")),
    "the name wrapped twice": unlike(Mcp_Name=wrapped(wrapped("get_order"))),
    "a misspelt marker": unlike(Mcp_Name=wrapped("get_order").replace("base64", "BASE64")),
    "base64 that is not canonical": unlike(Mcp_Name="=?base64?Z2V0X29yZGVy==?="),
    "base64 with a line of its own": unlike(Mcp_Name="=?base64?Z2V0 X29yZGVy?="),
    "base64 of no text": unlike(Mcp_Name="=?base64?/w==?="),
    "an empty wrapping": unlike(Mcp_Name="=?base64??="),
    "another method": unlike(Mcp_Method="tools/list"),
    "no method": unlike(Mcp_Method=None),
    "the method in another case": unlike(Mcp_Method="Tools/Call"),
    "the method wrapped": unlike(Mcp_Method=wrapped("tools/call")),
    "another version": unlike(MCP_Protocol_Version="2025-11-25"),
    "no version": unlike(MCP_Protocol_Version=None),
    "a name that is not ASCII": unlike(Mcp_Name="get_order\xff"),
}


@pytest.fixture(scope="module")
def mismatches(place: Ground) -> dict[str, Attempt]:
    token = place.token()
    return {
        name: place.attempt(lambda a, headers=headers: place.ask(MODERN, bearer=token, headers=headers, address=a))
        for name, headers in MISMATCHES.items()
    }


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_header_that_says_otherwise_than_the_body_refuses_both(
    place: Ground, mismatches: dict[str, Attempt], name: str
) -> None:
    attempt = mismatches[name]
    assert (attempt.arrived, attempt.answer.status) == (b"", 400)
    assert attempt.answer.error["code"] == -32020
    assert place.held(61, f"headers: {name}", attempt).out.reason == "header_mismatch"


@pytest.mark.parametrize(
    "headers", [AGREES, unlike(Mcp_Name=wrapped("get_order")), unlike(Mcp_Name=" get_order ")], ids=["plain", "wrapped", "padded"]
)  # fmt: skip
def test_headers_that_agree_go_on(place: Ground, headers: dict[str, str]) -> None:
    attempt = place.attempt(lambda a: place.ask(MODERN, bearer=place.token(), headers=headers, address=a))
    assert attempt.answer.status == 200 and b"mcp-name: " in attempt.arrived.lower()


@pytest.mark.parametrize("name", ["Mcp-Name", "Mcp-Method", "MCP-Protocol-Version", "Mcp-Param-X"])
def test_a_mirrored_header_stands_once(place: Ground, name: str) -> None:
    body, value = json.dumps(MODERN).encode(), {**AGREES, "Mcp-Param-X": "1"}[name]
    fields = [f"{n}: {v}" for n, v in AGREES.items()] + [f"{name}: {value}"] * (2 if name == "Mcp-Param-X" else 1)
    attempt = place.attempt(lambda a: place.raw(place.post(body, *fields, bearer=place.token()), a))
    assert (attempt.arrived, attempt.answer.status) == (b"", 400)
    assert attempt.answer.error["code"] == -32020
    assert place.held(61, f"headers: {name} twice", attempt).out.reason == "header_mismatch"


# Card numbers on their way in

CARDS: dict[str, tuple[bytes, dict[str, str]]] = {
    "in the arguments": (RAW.replace(b"42", PAN.encode()), {}),
    "as a number": (RAW.replace(b'"42"', PAN.encode()), {}),
    "in groups": (RAW.replace(b"42", b"4111-1111-1111-1111"), {}),
    "escaped": (RAW.replace(b"42", b"".join(b"\\u%04x" % ord(c) for c in PAN)), {}),
    "as a key": (RAW.replace(b'"id": "42"', b'"' + PAN.encode() + b'": 1'), {}),
    "as the request's id": (RAW.replace(b'"id": 1', b'"id": "' + PAN.encode() + b'"'), {}),
    "as the tool's name": (call(f"list_{PAN}"), {}),
    "in a URI": (json.dumps({**CALL, "method": "resources/read", "params": {"uri": f"orders://{PAN}"}}).encode(), {}),
    "in _meta": (RAW.replace(NAME, NAME + b', "_meta": {"note": "' + PAN.encode() + b'"}'), {}),
    "in JSON in a string": (RAW.replace(b'"42"', json.dumps(json.dumps({"pan": PAN})).encode()), {}),
    "in Mcp-Param": (json.dumps(MODERN).encode(), unlike(Mcp_Param_Card=PAN)),
    "in Mcp-Param, wrapped": (json.dumps(MODERN).encode(), unlike(Mcp_Param_Card=wrapped(PAN))),
    "in Mcp-Param, wrapped twice": (json.dumps(MODERN).encode(), unlike(Mcp_Param_Card=wrapped(wrapped(PAN)))),
    "in a client's answer": (b'{"jsonrpc":"2.0","id":9,"result":{"content":{"card":"' + PAN.encode() + b'"}}}', {}),
    "in a notification": (b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"' + PAN.encode() + b'"}}', {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def cards(place: Ground) -> dict[str, Attempt]:
    token = place.token()
    return {
        name: place.attempt(lambda a, body=body, headers=headers: place.ask(body, bearer=token, headers=headers, address=a))
        for name, (body, headers) in CARDS.items()
    }  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_a_card_number_goes_nowhere_and_stands_nowhere(place: Ground, cards: dict[str, Attempt], name: str) -> None:
    attempt = cards[name]
    assert attempt.arrived == b""
    assert attempt.answer.reason == "card_number_in_arguments"
    without_id = {**json.loads(attempt.answer.body), "id": None}  # the caller's own id comes back to it
    assert PAN not in json.dumps(without_id) and PAN not in repr(attempt.answer.headers)
    entry = place.refused(attempt.address)
    assert entry.out.reason == "card_number_in_arguments"
    assert PAN not in repr(entry)
    assert sum(entry.dlp.values()) > 0 or "Mcp-Param" in name
