"""[14] Where a token may stand in a request."""

import pytest

from gatebook.identity.bearer import read_bearer
from gatebook.identity.errors import TokenRefused
from gatebook.model.errors import Reason


def refusal(
    *values: bytes, target: bytes = b"/payments/mcp", body: bytes = b"", content_type: bytes = b"application/json"
) -> Reason:
    headers = ((b"content-type", content_type), *((b"authorization", value) for value in values))
    with pytest.raises(TokenRefused) as refused:
        read_bearer(headers, target, body=body)
    assert "abc.def" not in str(refused.value)
    return refused.value.reason


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
def test_the_scheme_is_read_in_any_case(scheme: bytes) -> None:
    assert read_bearer(((b"authorization", scheme + b" abc.def-_~+/=="),)) == "abc.def-_~+/=="


def test_no_header_is_a_missing_credential() -> None:
    assert refusal() is Reason.CREDENTIAL_MISSING


@pytest.mark.parametrize("value", [b"Basic YTpi", b"DPoP abc.def", b"Bearer-x abc.def", b"Negotiate", b"", b"abc.def"])
def test_another_scheme_is_a_missing_credential(value: bytes) -> None:
    assert refusal(value) is Reason.CREDENTIAL_MISSING


def test_two_authorization_headers_are_refused_even_if_equal() -> None:
    assert refusal(b"Bearer abc.def", b"Bearer abc.def") is Reason.CREDENTIAL_MALFORMED
    assert refusal(b"Bearer abc.def", b"Basic YTpi") is Reason.CREDENTIAL_MALFORMED


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer\tabc.def",
        b"Bearer abc.def ",
        b"Bearer abc.def\r\n x",
        b"Bearer abc def",
        b"Bearer abc.def,",
        b"Bearer abc.def, Bearer ghi",
        b"Bearer abc.def,Basic YTpi",
        b'Bearer "abc.def"',
        b"Bearer abc.d\xc3\xa9f",
        b"Bearer abc.def\x00",
        b"Bearer ab=c.def",
        b"Bearer =",
        b"Bearer " + b"a" * 16_385,
    ],
)
def test_a_header_with_anything_but_one_token_is_refused(value: bytes) -> None:
    assert refusal(value) is Reason.CREDENTIAL_MALFORMED


@pytest.mark.parametrize(
    "query",
    [
        b"access_token=abc.def",
        b"a=1&access_token=abc.def",
        b"a=1;access_token=x",
        b"ACCESS_TOKEN=x",
        b"access%5Ftoken=x",
        b"access_token",
    ],
)
def test_a_token_in_the_query_is_refused_with_and_without_a_header(query: bytes) -> None:
    target = b"/payments/mcp?" + query
    assert refusal(target=target) is Reason.CREDENTIAL_MALFORMED
    assert refusal(b"Bearer abc.def", target=target) is Reason.CREDENTIAL_MALFORMED


def test_a_token_in_a_form_body_is_refused() -> None:
    form = b"Application/X-WWW-Form-Urlencoded; charset=utf-8"
    assert (
        refusal(b"Bearer abc.def", body=b"x=1&access_token=abc.def", content_type=form) is Reason.CREDENTIAL_MALFORMED
    )


def test_other_queries_and_bodies_are_none_of_our_business() -> None:
    headers = ((b"authorization", b"Bearer abc.def"), (b"content-type", b"application/json"))
    assert read_bearer(headers, b"/payments/mcp?token=1", body=b'{"access_token=":1}') == "abc.def"
