"""What is written to a server of headers: the way for names that are known says what the way for all others says."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatebook.adapters.upstream_http.place import _OURS, _TOKENS, place
from gatebook.model.deployment import Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers, Lasting, UpstreamRequest

SERVER = Server(name="s", url="http://a.example/mcp", resource="https://gate.example/s/mcp", audiences={})
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
KNOWN = sorted(_TOKENS)

NAMES = (
    st.sampled_from(KNOWN)
    | st.sampled_from([*sorted(_OURS), b"x-a", b"Traceparent", b"", b"x a", b"traceparent\r\nx", b"x:y"])
    | st.binary(max_size=6)
)
VALUES = st.sampled_from(
    [b"", b"1", b"a b\tc", b"\xe9\xff", b"a\r\nx: y", b"\n", b"\r", b"\0", b"\x7f", b"\x1f"]
) | st.binary(max_size=12)
FIELDS = st.tuples(NAMES, VALUES)
OWN = st.lists(st.tuples(st.sampled_from(KNOWN), VALUES), max_size=4)


def field_by_field(headers: Headers) -> bytes | None:
    """The block; None where a field must not be sent."""
    kept = [(name, value) for name, value in headers if name not in _OURS]
    if not all(TOKEN.fullmatch(name) and VALUE.fullmatch(value) for name, value in kept):
        return None
    return b"".join(b"%b: %b\r\n" % field for field in kept)


@given((OWN | st.lists(FIELDS, max_size=4)).map(tuple), st.booleans())
@example(((b"gatebook-call-id", b"1\r\nx: y"),), False)
@example(((b"gatebook-call-id", b"1"), (b"traceparent", b"2")), False)
@example(((b"gatebook-call-id", b"1"), (b"host", b"\r\n"), (b"traceparent", b"2")), True)
def test_a_field_is_sent_alike_whether_its_name_is_known_or_not(headers: Headers, lasting: bool) -> None:
    request = UpstreamRequest(
        method="POST",
        ours=() if lasting else headers,
        passed_on=Lasting(headers=headers if lasting else ()),
        body=b"{}",
    )
    expected = field_by_field(headers)
    if expected is None:
        with pytest.raises(UpstreamError) as caught:
            place(SERVER).message(request)
        assert (caught.value.reason, caught.value.sent) == (Reason.INTERNAL, False)
        return
    head = b"POST /mcp HTTP/1.1\r\nhost: a.example\r\n"
    ours = b"accept-encoding: identity\r\ncontent-length: 2\r\n\r\n{}"
    assert place(SERVER).message(request) == head + expected + ours


def test_what_needs_no_second_look_is_a_token_and_not_the_connections_own() -> None:
    assert all(TOKEN.fullmatch(name) for name in KNOWN)
    assert _TOKENS.isdisjoint(_OURS)
