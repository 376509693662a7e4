"""The head of an answer: nothing in a header field begins another one."""

import pytest

from gatebook.serve.replying import as_sent


@pytest.mark.parametrize("byte", range(256))
def test_a_field_that_holds_a_line_end_or_a_zero_is_refused_and_nothing_else_is(byte: int) -> None:
    odd = bytes([byte])
    for value in (odd, b"a" + odd, odd + b"a", b"a" + odd + b"b", odd * 3):
        for headers in (((b"x", value),), ((b"x", b"1"), (b"y", value)), ((b"x", value), (b"y", b"1"))):
            if byte in b"\r\n\0":
                with pytest.raises(ValueError, match="line break"):
                    as_sent(200, headers, closes=False)
            else:
                fields = b"".join(b"%b: %b\r\n" % field for field in headers)
                assert as_sent(200, headers, closes=False).startswith(b"HTTP/1.1 200 OK\r\n" + fields + b"date: ")
