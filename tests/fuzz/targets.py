# ruff: noqa: PT017 - no test catches here: these functions judge exceptions too
"""What must hold for any bytes at all: one function per reader, which returns nothing or raises AssertionError.

Each lets the documented refusals of its reader pass and nothing else. Where something was accepted, it is compared with an independent
reading: another parser, another way of cutting, or what was planted.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import h11
from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.saml import gate
from gatebook.federation.saml import names as names_of_saml
from gatebook.identity.bearer import MAX_TOKEN_BYTES, read_bearer
from gatebook.identity.errors import KeySetRefused, TokenRefused
from gatebook.identity.keysets import acceptable_key_set
from gatebook.identity.tokens import Verifier
from gatebook.masking import MaskingFailed, Secrets, inspect_arguments, mask, mask_text
from gatebook.model.deployment import KeySet, Limits
from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.policy import Globs, glob_problem, suspicious_uri
from gatebook.serve.request import Head, RequestReader, Unreadable
from gatebook.wire import headers as wire_headers
from gatebook.wire import jsonrpc, mirrored, strict_json
from gatebook.wire.sse import Event, EventSplitter, around_data, rewrite
from tests import issuing
from tests.fuzz.desk import (
    client_document,
    client_registration,
    parameters,
    person_claims,
    provider_metadata,
    redirect_uris,
    refresh_token,
)
from tests.fuzz.jobs import job_assertion, job_token

Target = Callable[[bytes], None]

# --- JSON-RPC ----------------------------------------------------------------------------------------------------

_CLIENT_REFUSALS = {Reason.PARSE_ERROR, Reason.INVALID_REQUEST, Reason.INVALID_PARAMS}


def client_message(data: bytes) -> None:
    """A client's body is refused with a documented reason, or it is one that Python's own parser reads alike, kept to the byte."""
    salvaged = jsonrpc.salvage_id(data)
    try:
        found = jsonrpc.parse_client(data)
    except Malformed as refused:
        assert refused.reason in _CLIENT_REFUSALS
        return
    value = plain_json(data)
    messages = found.elements if isinstance(found, jsonrpc.Batch) else (found,)
    assert found.raw == data and len(messages) == (len(value) if isinstance(value, list) else 1)
    for message, said in zip(messages, value if isinstance(value, list) else [value], strict=True):
        assert plain_json(message.raw) == said
        if isinstance(message, jsonrpc.Request):
            assert json.loads(message.id) == said["id"] and said["id"] is not None
        if not isinstance(message, jsonrpc.Response):
            assert (message.method, message.params) == (said["method"], said.get("params", {}))
            judged_alike(message, said)
    if isinstance(found, jsonrpc.Request):
        assert salvaged is not None and json.loads(salvaged) == json.loads(found.id)


def judged_alike(message: jsonrpc.Request | jsonrpc.Notification, said: dict[str, Any]) -> None:
    """No reader that ignores case, or takes the first of two keys, sees another method or another name than the gate."""
    careless = {strict_json.folded(name): value for name, value in said.items()}
    assert careless["METHOD".casefold()] == message.method
    params = said.get("params", {})
    for name in ("name", "uri", "_meta", "ref"):
        if name in params:
            folded = [value for key, value in params.items() if strict_json.folded(key) == strict_json.folded(name)]
            assert folded == [params[name]]


def plain_json(data: bytes) -> Any:
    """`data` as Python's own parser reads it, which is asked to find a key twice."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in found}) == len(found), "a key stands twice in what was accepted"
        return dict(found)

    def constant(name: str) -> float:
        raise AssertionError(f"{name} was accepted")

    value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")  # no lone surrogate, no infinity
    return value


def server_message(data: bytes) -> None:
    """A server's body is refused as UPSTREAM_INVALID, or its envelope is the one that Python's own parser sees."""
    try:
        found = jsonrpc.parse_server(data)
    except Malformed as refused:
        assert refused.reason is Reason.UPSTREAM_INVALID
        return
    several = isinstance(found, jsonrpc.BatchEnvelope)
    envelopes = found.elements if isinstance(found, jsonrpc.BatchEnvelope) else (found,)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return  # a number or a depth that only Python refuses: values are judged by whoever decodes them
    assert found.raw == data and isinstance(value, list) == several
    for envelope, said in zip(envelopes, value if several else [value], strict=True):
        kind = "response" if "method" not in said else "request" if "id" in said else "notification"
        assert (envelope.kind, envelope.method) == (kind, said.get("method"))
        assert (envelope.id is None) == (said.get("id") is None)
        assert envelope.id is None or json.loads(envelope.id) == said["id"]


# --- server-sent events ------------------------------------------------------------------------------------------

_EVENT_LIMIT = 2048


def event_stream(data: bytes) -> None:
    """A stream gives the same events however it is cut, loses no byte, and a rewritten event differs in its data alone."""
    cuts, stream = data[:4], data[4:]
    whole, parts = _split([stream]), _split(list(pieces(stream, cuts)))
    if whole is None or parts is None:
        # Where the limit lies between two pieces, one way of cutting may see it sooner; a refusal of the form is one of both.
        return
    assert whole == parts
    events, rest = whole
    assert b"".join(event.raw for event in events) + rest == stream
    for event in events:
        around_data(event)
        if event.data is not None and not (event.raw.startswith(b"\xef\xbb\xbf") and not event.bom):
            again = _split([rewrite(event, b'{"a":"b"}')])
            assert again is not None
            [changed] = [found for found in again[0] if found.data is not None]
            assert (changed.data, changed.id, changed.event) == (b'{"a":"b"}', event.id, event.event)


def _split(parts: list[bytes]) -> tuple[list[Event], bytes] | None:
    splitter = EventSplitter(_EVENT_LIMIT)
    try:
        events = [event for piece in parts for event in splitter.feed(piece)]
        return events + splitter.finish(), splitter.rest()
    except Malformed as refused:
        assert refused.reason in (Reason.UPSTREAM_INVALID, Reason.UPSTREAM_TOO_LARGE)
        return None


def pieces(data: bytes, cuts: bytes) -> Iterator[bytes]:
    """`data` cut at the places that the bytes of `cuts` name; all of it byte by byte where the first is 0xff."""
    if cuts[:1] == b"\xff":
        return (data[place : place + 1] for place in range(len(data)))
    places = sorted({cut * len(data) // 255 for cut in cuts} | {0, len(data)})
    return (data[start:end] for start, end in pairwise(places))


# --- headers -----------------------------------------------------------------------------------------------------


_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte != 0x09)


def headers_of(data: bytes) -> Headers:
    """One header per line, name and value parted by the first colon, as the HTTP shell hands them on: without control characters."""
    fields = (line.translate(None, _CONTROLS).partition(b":") for line in data.split(b"\n"))
    return tuple((name.lower(), value.strip(b" \t")) for name, _, value in fields)


def headers(data: bytes) -> None:
    """The rules for headers answer about any of them; nothing but an allowed header crosses the gate, nothing twice by the injected name."""
    found = headers_of(data)
    with suppress(Malformed):
        sent = wire_headers.forwardable_request_headers(found, "X-Key")
        assert set(sent) <= set(found) and not any(name in _NEVER_SENT for name, _ in sent)
    back = wire_headers.forwardable_response_headers(found)
    assert set(back) <= set(found) and not any(name in _NEVER_GIVEN for name, _ in back)
    for _, value in found:
        kept = wire_headers.private_cache_control(value)
        assert b"public" not in {part.strip().lower() for part in kept.split(b",")}
    wire_headers.media_type(found)
    assert wire_headers.accepts(found, "application/json") in (True, False)
    with suppress(TokenRefused):
        token = read_bearer(found, b"/x/mcp?" + data, body=data)
        assert len([name for name, _ in found if name == b"authorization"]) == 1
        assert 0 < len(token) <= MAX_TOKEN_BYTES and re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token)


_NEVER_SENT = {b"authorization", b"cookie", b"x-key", b"connection", b"host", b"transfer-encoding", b"x-forwarded-for"}
_NEVER_GIVEN = {b"set-cookie", b"www-authenticate", b"location", b"transfer-encoding", b"connection"}


def mirrored_headers(data: bytes) -> None:
    """Headers that repeat the body agree with it when they pass; a wrapped value is unwrapped as a strict reader would."""
    head, _, body = data.partition(b"\n\n")
    found = headers_of(head)
    with suppress(Malformed):
        message = jsonrpc.parse_client(body)
        if not isinstance(message, jsonrpc.Batch):
            mirrored.check_mirrored(mirrored.stated(found), message)
            methods = [value.decode("latin-1") for name, value in found if name == b"mcp-method"]
            assert isinstance(message, jsonrpc.Request | jsonrpc.Notification)
            assert methods in ([message.method], []) and (methods or isinstance(message, jsonrpc.Notification))
    with suppress(Malformed):
        for name, text in mirrored.param_values(found):
            assert name and isinstance(text, str)
        assert all(isinstance(text, str) for text in mirrored.name_values(found))
    for _, value in found:
        with suppress(Malformed):
            text = mirrored.decoded(value)
            assert text == value.strip(b" \t").decode("ascii") or value.strip(b" \t").startswith(b"=?base64?")


# --- names and addresses -----------------------------------------------------------------------------------------


def names(data: bytes) -> None:
    """A URI that may be judged is one that a server resolves to itself; a glob matches what its definition says."""
    uri = data.decode("utf-8", "replace") + ("\ud800" if data[:1] == b"\xed" else "")
    if suspicious_uri(uri) is None:
        with suppress(ValueError):
            path = urlsplit(uri).path
            once = unquote(path, errors="surrogateescape")
            assert once.count("/") == path.count("/") and unquote(once, errors="surrogateescape") == once
            assert not any(segment.strip() in (".", "..") for segment in (*re.split("[/?#;]", path), *once.split("/")))
            assert once.isprintable() or not once.isascii()
    pattern, _, name = uri.partition("\n")
    if len(pattern) <= 12 and len(name) <= 24:
        expected = glob_problem(pattern) is None and _matches(pattern, name)
        assert Globs((pattern,)).matches(name) is expected


def _matches(pattern: str, name: str) -> bool:
    """The definition, read aloud: `**` any run, `*` any run without a slash, else itself."""
    if not pattern:
        return not name
    if pattern.startswith("**"):
        return any(_matches(pattern[2:], name[start:]) for start in range(len(name) + 1))
    if pattern[0] == "*":
        longest = name.find("/") if "/" in name else len(name)
        return any(_matches(pattern[1:], name[start:]) for start in range(longest + 1))
    return name[:1] == pattern[0] and _matches(pattern[1:], name[1:])


# --- tokens ------------------------------------------------------------------------------------------------------

_KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
"""A fixed key, so that the corpus means the same in every run. It signs nothing outside this file."""
_ISSUER = issuing.Issuer()
_SERVER = issuing.server("payments", "corp")
_KEY_SET = json.dumps({"keys": [issuing.public_jwk(_KEY, "corp-0")]})


def _verifier() -> Verifier:
    whole = issuing.snapshot((_ISSUER,), (_SERVER,))
    key_sets = {"corp": KeySet(jwks=_KEY_SET, fetched_at=issuing.NOW_S)}
    return Verifier(type(whole)(number=1, config_sha256="0" * 64, deployment=whole.deployment, key_sets=key_sets))


_VERIFIER = _verifier()


def token_text(data: bytes) -> None:
    """No text is a token but one that its issuer signed: the fuzzer has no key, so every one is refused."""
    text = data.decode("latin-1")
    try:
        _VERIFIER.judge(text, _SERVER, issuing.NOW_S)
    except TokenRefused:
        return
    raise AssertionError("a token that nobody signed was accepted")


def signed_token(data: bytes) -> None:
    """Whatever an issuer signs, the answer is a principal that another parser finds in the claims too, or a TokenRefused."""
    header, _, claims = data.partition(b"\0")
    signing_input = f"{issuing.base64url(header)}.{issuing.base64url(claims)}"
    token = f"{signing_input}.{issuing.base64url(issuing.sign(_KEY, 'ES256', signing_input.encode()))}"
    try:
        judged = _VERIFIER.judge(token, _SERVER, issuing.NOW_S)
    except TokenRefused:
        return
    said, head = plain_json(claims), plain_json(header)
    assert (head["alg"], head["kid"]) == ("ES256", "corp-0") and not {"crit", "jwk", "jku", "x5u", "x5c"} & head.keys()
    assert said["aud"] in (_SERVER.resource, [_SERVER.resource]) and said["iss"] == _ISSUER.url
    assert said["exp"] + _ISSUER.model.leeway_s > issuing.NOW_S
    assert (judged.principal.subject, judged.principal.issuer) == (said["sub"], _ISSUER.url)
    assert judged.good_until <= said["exp"]


def key_set(data: bytes) -> None:
    """A key set is refused as a whole, or normalised once and for all, without a private half."""
    try:
        normalised = acceptable_key_set(data)
    except KeySetRefused:
        return
    assert acceptable_key_set(normalised.encode()) == normalised
    keys = plain_json(normalised.encode())["keys"]
    assert keys and not any({"d", "k", "p", "q"} & key.keys() for key in keys)


# --- masking -----------------------------------------------------------------------------------------------------

SECRET = b"up+stream/secret=8c1f&41"
_SECRETS = Secrets((SECRET,))
CARDS = [
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "30569309025904",
    "6011111111111117",
    "2223003122003222",
]
"""Published test numbers (tests/vectors/masking/README.md)."""


def masked_document(data: bytes) -> None:
    """A document that was parsed strictly is masked once and for all, stays JSON of the same shape, and is refused as arguments if masked."""
    try:
        strict_json.decode(data)
    except Malformed:
        return
    try:
        found = mask(data, _SECRETS)
        plain, arguments = mask(data), inspect_arguments(data)
    except MaskingFailed:
        return
    assert (found.body is data) == (found.findings == ())
    assert shape(json.loads(found.body)) == shape(json.loads(data))
    again = mask(found.body, _SECRETS)
    assert again.body is found.body
    assert arguments or not plain.findings


def shape(value: Any) -> Any:
    """Types and structure; keys only counted, since they may be masked."""
    if isinstance(value, dict):
        return [shape(member) for member in value.values()]
    if isinstance(value, list):
        return [shape(element) for element in value]
    return type(value)


def masked_text(data: bytes) -> None:
    """Bare text is masked once and for all."""
    text = data.decode("utf-8", "replace")
    try:
        found, findings = mask_text(text, _SECRETS)
        assert mask_text(found, _SECRETS) == (found, ())
    except MaskingFailed:
        return
    assert SECRET.decode() not in found
    assert (found == text) == (not findings)


_BEFORE = ["", "paid with ", "PAN ", "card_", "ref:", "(", "\n", "é, ", "X"]
_BEHIND = ["", ".", ",", "\n", "é", ")", "_2026.pdf", " exp 12/27", "X"]
_GAPS = ["", " ", "-", ".", "_", "\t", "  ", " - "]


def planted(data: bytes) -> None:
    """A planted card number, track, code or credential does not survive, whatever stands around it and wherever it lies."""
    choices, rest = data[:5].ljust(5, b"\0"), data[5:].decode("utf-8", "replace")
    before, _, after = rest.partition("\x01")
    kind, card = choices[0] % 4, CARDS[choices[1] % len(CARDS)]
    plant, marks = {
        0: (printed(card, _GAPS[choices[2] % len(_GAPS)]), [card]),
        1: (f";{card}=29122010000000000?", [card, "29122010000000000"]),
        2: (SECRET.decode(), [SECRET.decode()]),
        3: (card, [card]),
    }[kind]
    behind = _BEHIND[choices[3] // 16 % len(_BEHIND)]
    text = f"{before} ; {_BEFORE[choices[3] % len(_BEFORE)]}{plant}{behind}, {after}"
    body = _placed(plant if kind == 3 else text, before, after, choices[4])
    try:
        strict_json.decode(body)
        found = mask(body, _SECRETS)
        shown, _ = mask_text(text, _SECRETS)
    except (Malformed, MaskingFailed):
        return
    around = before + behind + after
    if any(shows(mark, around) for mark in marks):
        return  # what stands around shows the very number; whether that is one, other inputs ask
    for leaf in (*leaves(json.loads(found.body)), shown):
        assert not any(shows(mark, leaf) for mark in marks), "what was planted survives"
    if kind != 2:
        assert inspect_arguments(body), "the arguments pass"


def _placed(text: str, before: str, after: str, where: int) -> bytes:
    """A document that has `text` as a value, a key, an element, in JSON in a string, or all in escapes; the rest stands around it."""
    match where % 6:
        case 0:
            value: Any = {"content": [{"type": "text", "text": text}], "note": before}
        case 1:
            value = {"totals": {text: 1, "other": after}}
        case 2:
            value = [before, [text], after]
        case 3:
            value = {"text": json.dumps({"rows": [{"n": text}], "x": before})}
        case 4:
            return b'{"n":"' + "".join(f"\\u{unit:04X}" for unit in _units(text)).encode() + b'"}'
        case _:
            value = {f"{before}:": text, "b": {"c": [after]}}
    return json.dumps(value, ensure_ascii=where >= 128).encode("utf-8", "surrogatepass")


def _units(text: str) -> Iterator[int]:
    raw = text.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(raw[place : place + 2], "big") for place in range(0, len(raw), 2))


def printed(number: str, gap: str) -> str:
    """The number in the groups in which it stands on a card."""
    sizes = {14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4)}[len(number)]
    groups, at = [], 0
    for size in sizes:
        groups.append(number[at : at + size])
        at += size
    return gap.join(groups)


def leaves(value: Any, depth: int = 4) -> Iterator[str]:
    """Every string, key and number; of a string that is JSON, those within it."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from leaves(key, 0)
            yield from leaves(member, depth)
    elif isinstance(value, list):
        for element in value:
            yield from leaves(element, depth)
    elif isinstance(value, str):
        inner: Any = None
        if depth and value[:1] in ("{", "["):
            with suppress(ValueError, RecursionError):
                inner = json.loads(value)
        if inner is None:
            yield value
        else:  # as text, an escape's digits and what follows them would look like one number
            yield from leaves(inner, depth - 1)
    else:
        yield json.dumps(value)


def shows(mark: str, text: str) -> bool:
    """Whether `mark` stands in `text`, with or without something between its signs."""
    return mark in text or (mark.isdigit() and re.search("[ \t._-]{0,3}".join(mark), text) is not None)


# --- HTTP --------------------------------------------------------------------------------------------------------

LIMITS = Limits(header_bytes=4096, request_bytes=2048)
_REFUSED = {400, 413, 414, 417, 431}


def http_requests(data: bytes) -> None:
    """A connection's bytes are the same requests however they are cut, and the ones that h11 reads, or they are refused."""
    cuts, sent = data[:4], data[4:]
    whole, parts = _requests([sent]), _requests(list(pieces(sent, cuts)))
    assert whole == parts
    for head, body in whole[0]:
        assert len(body) <= LIMITS.request_bytes and (head.length in (None, len(body)))
        assert head.target.isascii() and b" " not in head.target
        for name, value in head.headers:
            assert not set(name + value) & {0, 10, 13} and name == name.strip()
    ours = [(head.method.encode(), head.target, body) for head, body in whole[0]]
    theirs = list(_h11_requests(sent, len(ours)))
    assert ours[: len(theirs)] == theirs, "h11 reads other requests"


def _requests(parts: list[bytes]) -> tuple[list[tuple[Head, bytes]], int | None]:
    """The requests up to a refusal, and its status."""
    reader, found = RequestReader(LIMITS), []
    try:
        for piece in parts:
            reader.feed(piece)
            while (request := reader.advance()) is not None:
                found.append(request)
    except Unreadable as refused:
        assert refused.status in _REFUSED
        return found, refused.status
    return found, None


def _h11_requests(sent: bytes, most: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What h11 takes for requests, up to the first one that it refuses or after which it would close."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 16)
    connection.receive_data(sent)
    request: h11.Request | None = None
    body = b""
    while most:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return
        if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            yield request.method, request.target, body
            most -= 1
            with suppress(h11.LocalProtocolError):
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


# --- SAML --------------------------------------------------------------------------------------------------------


def saml_response(data: bytes) -> None:
    """What the gate before the verifier lets through is one document to another parser too, with one assertion, and nothing but elements and text."""
    try:
        admitted = gate.admit(base64.b64encode(data).decode("ascii"))
    except LoginRefused as refused:
        assert refused.cause in _SAML_REFUSALS
        return
    assert admitted.xml == data
    ours, theirs = list(etree.fromstring(data).iter()), list(ElementTree.fromstring(data).iter())
    assert [(each.tag, dict(each.attrib), each.text, each.tail) for each in ours] == [
        (each.tag, each.attrib, each.text, each.tail) for each in theirs
    ]
    assert sum(each.tag in (names_of_saml.ASSERTION, names_of_saml.ENCRYPTED_ASSERTION) for each in theirs) == 1
    assert any(each.tag == names_of_saml.SIGNATURE for each in theirs) or admitted.encrypted


_SAML_REFUSALS = {
    Cause.SAML_MALFORMED, Cause.SAML_WRAPPED, Cause.SAML_ALGORITHM, Cause.SAML_SIGNATURE, Cause.PROVIDER_REFUSED,
}  # fmt: skip

# --- time --------------------------------------------------------------------------------------------------------

_STRETCHED_BYTES = 32 << 10


def stretched(data: bytes) -> None:
    """A piece repeated to 32 KB is answered by every reader: whoever runs this has a clock, and a reader that is not linear shows."""
    door, head, rest = data[:1], *_parted(data[1:])
    unit, tail = _parted(rest)
    if not unit:
        return
    long = head + unit * (_STRETCHED_BYTES // len(unit)) + tail
    text = long.decode("utf-8", "replace")
    match (door or b"\0")[0] % 8:
        case 0:
            _total(lambda: mask(json.dumps([text]).encode(), _SECRETS), MaskingFailed)
        case 1:
            _total(lambda: mask_text(text, _SECRETS), MaskingFailed)
        case 2:
            _total(lambda: jsonrpc.parse_client(long), Malformed)
            _total(lambda: jsonrpc.parse_server(long), Malformed)
        case 3:
            _total(lambda: _split([long]))
            _total(lambda: _split(list(pieces(long, b"\xff"))))
        case 4:
            headers(long)
        case 5:
            _total(lambda: _requests(list(pieces(long, b"\xff"))))
        case 6:
            with suppress(Malformed):
                strict_json.decode(long)
                _total(lambda: mask(long, _SECRETS), MaskingFailed)
                _total(lambda: inspect_arguments(long), MaskingFailed)
        case _:
            suspicious_uri(text)
            Globs((text[:40],)).matches(text[40:])
            token_text(long[:MAX_TOKEN_BYTES])


def _parted(data: bytes) -> tuple[bytes, bytes]:
    head, _, tail = data.partition(b"\x02")
    return head, tail


def _total(work: Callable[[], object], *refusals: type[Exception]) -> None:
    with suppress(*refusals):
        work()


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        client_message, server_message, event_stream, headers, mirrored_headers, names, token_text, signed_token, key_set,
        masked_document, masked_text, planted, http_requests, saml_response, stretched, job_token, job_assertion,
        client_document, client_registration, redirect_uris, parameters, refresh_token, person_claims, provider_metadata,
    )
}  # fmt: skip
