"""What counts as a request. Sections are those of RFC 9112 (HTTP/1.1) unless RFC 9110 is named."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.serve.request import HEADER_FIELDS, TARGET_BYTES, Head, Heads, RequestReader, Unreadable

LIMITS = Limits(request_bytes=1000, header_bytes=2000)


def requests(*pieces: bytes, limits: Limits = LIMITS) -> list[tuple[Head, bytes]]:
    reader = RequestReader(limits)
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.advance()) is not None:
            found.append(request)
    return found


def refusal(raw: bytes, limits: Limits = LIMITS) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        requests(raw, limits=limits)
    return caught.value


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"".join((b"POST /mcp HTTP/1.1\r\n", *(field + b"\r\n" for field in (b"Host: a", *fields)), b"\r\n", body))


def test_a_request_is_given_as_it_came_with_lower_case_names() -> None:
    raw = post(b"X-Odd:  two  words\t ", b"x-odd: again", b"Content-Length: 3", body=b"abc")
    [(head, body)] = requests(raw)
    assert (head.method, head.target, body) == ("POST", b"/mcp", b"abc")
    assert head.headers == (
        (b"host", b"a"),
        (b"x-odd", b"two  words"),
        (b"x-odd", b"again"),
        (b"content-length", b"3"),
    )
    assert not head.closes


def test_one_empty_line_is_ignored_before_a_request_and_a_second_never_however_they_arrive() -> None:
    """§2.2. Two readers that ignore different numbers of them would begin the next request at different places."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert len(requests(request + b"\r\n", request)) == 2
    for pieces in ((b"\r\n\r\n" + request,), (b"\r\n", b"\r\n", request), (request, b"\r\n", b"\r\n" + request)):
        with pytest.raises(Unreadable):
            requests(*pieces)


@given(cuts=st.sets(st.integers(1, 400)))
def test_where_the_bytes_are_cut_makes_no_difference(cuts: set[int]) -> None:
    raw = (
        post(b"Content-Length: 4", body=b"\r\n\r\n")
        + post(b"Transfer-Encoding: chunked", body=b"5\r\na\r\n\r\n\r\n2;x=y\r\nbc\r\n0\r\nTrailer: dropped\r\n\r\n")
        + b"GET /x?y HTTP/1.1\r\nHost: b\r\n\r\n"
        + post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    )
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    found = requests(*(raw[start:end] for start, end in pairwise(edges)))
    assert [(head.method, body) for head, body in found] == [
        ("POST", b"\r\n\r\n"),
        ("POST", b"a\r\n\r\nbc"),
        ("GET", b""),
        ("POST", b""),
    ]
    assert all(name != b"trailer" for head, _ in found for name, _ in head.headers)


RAW = (
    post(b"Content-Length: 4", body=b"\r\n\r\n"),
    post(b"Content-Length: 0"),
    b"GET /x?y HTTP/1.1\r\nHost: b\r\n\r\n",
    post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
    b"\r\n" + post(b"Content-Length: 2", b"Expect: 100-continue", body=b"ab"),
)


def met(pieces: list[bytes], *, heads: Heads, at_once: bool) -> list[tuple[Head, bytes]]:
    """The requests in `pieces`, as a connection takes them; `at_once`: it tries first whether a piece is exactly one request."""
    reader, found = RequestReader(LIMITS, heads), []
    for piece in pieces:
        if at_once and (whole := reader.at_once(piece)) is not None:
            found.append(whole)
            continue
        reader.feed(piece)
        while (request := reader.advance()) is not None:
            found.append(request)
    return found


@given(order=st.lists(st.sampled_from(RAW), min_size=1, max_size=6), cuts=st.sets(st.integers(1, 600), max_size=6))
def test_a_request_that_is_taken_at_once_is_the_one_that_the_slow_way_gives(order: list[bytes], cuts: set[int]) -> None:
    raw = b"".join(order)
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    heads = Heads()
    for pieces in (order, [raw], [raw[start:end] for start, end in pairwise(edges)], order):
        assert met(pieces, heads=heads, at_once=True) == met(pieces, heads=Heads(), at_once=False)


def test_at_once_takes_a_known_head_and_exactly_its_body() -> None:
    heads = Heads()
    raw = post(b"Content-Length: 3", body=b"abc")
    reader = RequestReader(LIMITS, heads)
    assert reader.at_once(raw) is None  # nobody has judged that head yet
    [expected] = met([raw], heads=heads, at_once=False)
    for _ in range(2):
        assert reader.at_once(raw) == expected
        assert reader.at_once(raw[:-1]) is None
        assert reader.at_once(raw + b"G") is None
        assert reader.at_once(post(b"Content-Length: 4", body=b"abcd")) is None
        assert (reader.head, reader.held) == (None, b"")


@pytest.mark.parametrize("held", [b"\r\n", b"P", post(b"Content-Length: 60")])
def test_nothing_is_taken_at_once_behind_what_is_held(held: bytes) -> None:
    heads = Heads()
    raw = post(b"Content-Length: 3", body=b"abc")
    met([raw], heads=heads, at_once=False)
    reader = RequestReader(LIMITS, heads)
    reader.feed(held)
    assert reader.advance() is None
    assert reader.at_once(raw) is None


def test_what_follows_a_request_stays_unparsed_until_asked_for() -> None:
    reader = RequestReader(LIMITS)
    reader.feed(post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n") + b"nonsense\r\n\r\n")
    assert reader.advance() is not None
    assert reader.held == b"nonsense\r\n\r\n"
    with pytest.raises(Unreadable):
        reader.advance()


MALFORMED = {
    "2.2 bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "2.2 bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "2.2 bare CR in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "2.2 white space before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "2.2 two empty lines first": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "2.3 HTTP/0.9": b"GET /\r\n\r\n",
    "2.3 HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "2.3 HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "2.3 another protocol": b"POST / RTSP/1.0\r\nHost: a\r\n\r\n",
    "2.3 a TLS hello": b"\x16\x03\x01\x02\x00",
    "3 two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "3 a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "3 white space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "3.1 a method that is no token": b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.1 a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.1 a method that nobody knows": b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 absolute form": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 authority form": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 CONNECT in origin form": b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 asterisk form with GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 a fragment": b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 a target beyond ASCII": b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "3.2 no Host": b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
    "3.2 an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "3.2 two Hosts": post(b"HOST: a"),
    "5 no colon": post(b"Nothing"),
    "5.1 white space before the colon": post(b"X : a"),
    "5.1 a tab before the colon": post(b"X\t: a"),
    "5.1 an empty name": post(b": a"),
    "5.1 a control character in a name": post(b"X\x01: a"),
    "5.1 a name beyond ASCII": post(b"X\xe9: a"),
    "5.2 obs-fold": post(b"X: a", b" b"),
    "5.2 obs-fold after an empty value": post(b"X:", b"\tb"),
    "9110 5.5 NUL in a value": post(b"X: a\x00b"),
    "9110 5.5 a control character in a value": post(b"X: a\x01b"),
    "9110 5.5 DEL in a value": post(b"X: a\x7fb"),
    "6.1 Content-Length and Transfer-Encoding": post(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "6.1 Transfer-Encoding and Content-Length": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"
    ),
    "6.1 another coding": post(b"Transfer-Encoding: gzip"),
    "6.1 another coding before chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "6.1 chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "6.1 Transfer-Encoding twice": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "6.1 chunked in disguise": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "6.1 identity": post(b"Transfer-Encoding: identity"),
    "6.1 Transfer-Encoding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "6.2 Content-Length twice, equal": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "6.2 a list of lengths": post(b"Content-Length: 3, 3", body=b"abc"),
    "6.2 a signed length": post(b"Content-Length: +3", body=b"abc"),
    "6.2 a hexadecimal length": post(b"Content-Length: 0x3", body=b"abc"),
    "6.2 an empty length": post(b"Content-Length:", body=b"abc"),
    "6.2 a length beyond 64 bits": post(b"Content-Length: 99999999999999999999"),
    "7.1 a bare LF after a chunk's size": post(b"Transfer-Encoding: chunked", body=b"3\nabc\r\n0\r\n\r\n"),
    "7.1 a bare LF after a chunk": post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\n0\r\n\r\n"),
    "7.1 white space after a chunk's size": post(b"Transfer-Encoding: chunked", body=b"3 \r\nabc\r\n0\r\n\r\n"),
    "7.1 a chunk longer than it says": post(b"Transfer-Encoding: chunked", body=b"3\r\nabcd\r\n0\r\n\r\n"),
    "7.1 a negative chunk": post(b"Transfer-Encoding: chunked", body=b"-1\r\nabcd\r\n0\r\n\r\n"),
    "7.1 a chunk beyond 64 bits": post(b"Transfer-Encoding: chunked", body=b"ffffffffffffffffff\r\nabcd\r\n\r\n"),
    "9110 11.6.2 two Authorizations": post(b"Authorization: Bearer a", b"authorization: Bearer b"),
    "9110 8.3 two Content-Types": post(b"Content-Type: a/b", b"Content-Type: c/d"),
    "9110 7.8 an upgrade with a chunked body": post(
        b"Connection: upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_two_parsers_could_read_differently_is_refused(raw: bytes) -> None:
    refused = refusal(raw)
    assert (refused.status, refused.reason) == (400, Reason.BAD_REQUEST)


def test_an_unknown_expectation_is_refused() -> None:
    assert refusal(post(b"Expect: 200-ok")).status == 417


def test_a_target_of_8_kib_is_read_and_a_longer_one_refused() -> None:
    limits = Limits()
    target = b"/" + b"x" * (TARGET_BYTES - 1)
    assert len(requests(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, limits=limits)) == 1
    refused = refusal(b"GET %bx HTTP/1.1\r\nHost: a\r\n\r\n" % target, limits)
    assert (refused.status, refused.reason) == (414, Reason.TOO_LARGE)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["ended", "not ended"])
def test_a_header_block_beyond_the_limit_is_refused_whether_it_ends_or_not(end: bytes) -> None:
    refused = refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * LIMITS.header_bytes + end)
    assert (refused.status, refused.reason) == (431, Reason.TOO_LARGE)


def test_a_header_block_of_exactly_the_limit_is_read() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    assert len(requests(start + b"x" * (LIMITS.header_bytes - len(start) - 4) + b"\r\n\r\n")) == 1


def test_too_many_fields_are_refused_though_the_block_is_small() -> None:
    assert len(requests(post(*[b"a:"] * (HEADER_FIELDS - 1)))) == 1
    assert refusal(post(*[b"a:"] * HEADER_FIELDS)).status == 431


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    assert len(requests(post(b"Content-Length: 1000", body=b"x" * 1000))) == 1
    refused = refusal(post(b"Content-Length: 1001"))
    assert (refused.status, refused.reason) == (413, Reason.TOO_LARGE)


def test_a_chunked_body_is_refused_once_it_is_too_large() -> None:
    chunks = [b"190\r\n" + b"x" * 400 + b"\r\n"] * 3
    assert refusal(post(b"Transfer-Encoding: chunked", body=b"".join(chunks) + b"0\r\n\r\n")).status == 413


@pytest.mark.parametrize(
    "endless",
    [b"1\r\na\r\n", b"1;" + b"x" * 500 + b"\r\na\r\n", b"0\r\n" + b"T: x\r\n" * 10_000, b"0\r\nT: " + b"x" * 60_000],
    ids=["small chunks", "extensions", "trailers", "one long trailer"],
)
def test_framing_is_no_way_round_the_limit_of_a_body(endless: bytes) -> None:
    raw = endless * (100_000 // len(endless) + 1)
    assert refusal(post(b"Transfer-Encoding: chunked", body=raw)).status in (400, 413, 431)


def test_http_1_0_needs_no_host_and_closes() -> None:
    [(head, body)] = requests(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab")
    assert (head.http_1_0, head.closes, body) == (True, True, b"ab")


@pytest.mark.parametrize("field", [b"Connection: close", b"Connection: x, Close ", b"connection: CLOSE"])
def test_a_client_may_ask_for_the_connection_to_be_closed(field: bytes) -> None:
    [(head, _)] = requests(post(field))
    assert head.closes


def test_one_empty_line_before_a_request_is_ignored() -> None:
    assert len(requests(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == 2


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" chunked "])
def test_chunked_is_a_coding_in_any_case(coding: bytes) -> None:
    [(_, body)] = requests(post(b"Transfer-Encoding:" + coding, body=b"3\r\nabc\r\n0\r\n\r\n"))
    assert body == b"abc"


def test_an_upgrade_is_ignored_and_its_body_is_a_body() -> None:
    fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    found = requests(post(*fields, b"Content-Length: 5", body=b"GET /") + post(*fields) + post())
    assert [body for _, body in found] == [b"GET /", b"", b""]


def test_100_continue_is_expected_of_http_1_1_only() -> None:
    [(head, _)] = requests(post(b"Expect: 100-Continue"))
    assert head.expects_continue
    [(head, _)] = requests(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
    assert not head.expects_continue


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_unreadable(raw: bytes) -> None:
    for start in (b"", b"POST /mcp HTTP/1.1\r\nHost: a\r\n", post(b"Transfer-Encoding: chunked")):
        with suppress(Unreadable):
            requests(start + raw, start + raw + b"\r\n\r\n")


def whole(reader: RequestReader, raw: bytes) -> tuple[tuple[Head, bytes] | None, bool]:
    """The request that `raw` is, as a connection reads it; and whether that took no feeding."""
    found = reader.at_once(raw)
    if found is not None:
        return found, True
    reader.feed(raw)
    return reader.advance(), False


BODIES = st.sampled_from([b"", b"ab", b"\r\n\r\n", b"x\r\n\r\n", b"\r\n\r\n\r\n\r\n"]) | st.binary(max_size=12)
PADDED = st.integers(0, 12).map(lambda size: b"x" * size)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"cc"]), PADDED, BODIES), min_size=1, max_size=8))
def test_a_request_is_the_same_whatever_came_before_it_on_its_connection(
    asked: list[tuple[bytes, bytes, bytes]],
) -> None:
    heads = Heads()
    reader = RequestReader(LIMITS, heads)
    for name, padding, body in asked:
        raw = post(b"X-Name: " + name + padding, b"Content-Length: %d" % len(body), body=body)
        (found, _), (expected, _) = whole(reader, raw), whole(RequestReader(LIMITS), raw)
        assert found == expected is not None
        assert (reader.head, reader.held) == (None, b"")


def test_heads_of_one_length_are_told_apart_and_an_empty_line_in_a_body_is_no_end() -> None:
    reader = RequestReader(LIMITS)
    of = {name: post(b"X-Name: " + name, b"Content-Length: 6", body=name) for name in (b"abcdef", b"fedcba")}
    for at_once in (False, True):
        for name, raw in of.items():
            found, quick = whole(reader, raw)
            assert found is not None and found[1] == name and quick is at_once
    shorter = post(b"X-Name: a", b"Content-Length: 8", body=bytes(8))
    misleading = shorter[:-8] + b"\0\r\n\r\n\0\0\0"
    assert misleading.rindex(b"\r\n\r\n") + 4 == len(of[b"abcdef"][:-6])
    for raw in (shorter, of[b"abcdef"], misleading, misleading):
        found, _ = whole(reader, raw)
        assert found is not None and found[1] == raw[raw.index(b"\r\n\r\n") + 4 :]


def test_a_head_that_comes_again_is_the_same_head_and_its_body_its_own() -> None:
    heads = Heads()
    first, second = RequestReader(LIMITS, heads), RequestReader(LIMITS, heads)
    for reader, body in ((first, b"abc"), (second, b"xyz")):
        reader.feed(post(b"Content-Length: 3", body=body))
    one, other = first.advance(), second.advance()
    assert one is not None and other is not None
    assert one[0] is other[0] and (one[1], other[1]) == (b"abc", b"xyz")


def test_a_head_is_remembered_by_every_byte_of_it() -> None:
    heads = Heads()
    for target in (b"/mcp", b"/mcP", b"/mcp/"):
        reader = RequestReader(LIMITS, heads)
        reader.feed(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        found = reader.advance()
        assert found is not None and found[0].target == target


def test_a_refused_head_and_one_whose_body_is_chunked_are_never_remembered() -> None:
    heads = Heads()
    for raw in (post(b"Content-Length: x"), post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")):
        for _ in range(2):
            reader = RequestReader(LIMITS, heads)
            reader.feed(raw)
            with suppress(Unreadable):
                reader.advance()
    assert all(heads.known(raw[: raw.index(b"\r\n\r\n") + 4]) is None for raw in (post(b"Content-Length: x"),))
    chunked = post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n")
    assert [body for _, body in requests(chunked, chunked)] == [b"abc", b"abc"]


def test_so_many_heads_are_remembered_and_no_more() -> None:
    heads = Heads(capacity=2)
    raws = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3)]
    for raw in raws:
        reader = RequestReader(LIMITS, heads)
        reader.feed(raw)
        reader.advance()
    assert [heads.known(raw) is not None for raw in raws] == [False, True, True]


def test_a_head_that_will_not_come_again_takes_nobodys_place() -> None:
    heads = Heads(capacity=1)
    kept, traced = post(b"Content-Length: 0"), post(b"Traceparent: 00-a-b-01", b"Content-Length: 0")
    for raw in (kept, traced):
        reader = RequestReader(LIMITS, heads)
        reader.feed(raw)
        assert reader.advance() is not None
    assert heads.known(kept) is not None and heads.known(traced) is None
