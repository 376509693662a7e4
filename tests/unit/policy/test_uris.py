"""URIs that a server may read otherwise than we do."""

import pytest

from gatebook.policy import suspicious_uri


@pytest.mark.parametrize(
    "uri",
    [
        "orders://7",
        "orders://7/items?id=1#x",
        "file:///a/b.c/..d/e..",
        "file:///a/...",
        "file:///.hidden/x",
        "x://a%20b",
        "x://%C3%A9",
        "x://a%3Fb%25",
        "x://{id}/{+path}",
        "ui://app/main.html",
        "urn:isbn:123",
        "",
        "x://a//b",
        "data:,x~y-z_1",
        "x://é",
    ],
)
def test_an_ordinary_uri_is_judged(uri: str) -> None:
    assert suspicious_uri(uri) is None


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("x://a/../b", "dot segment"),
        ("x://a/./b", "dot segment"),
        ("x://a/..", "dot segment"),
        ("x://a/.", "dot segment"),
        ("x://..", "dot segment"),
        ("..", "dot segment"),
        ("../a", "dot segment"),
        ("x:../a", "dot segment"),
        ("x://a/..?q", "dot segment"),
        ("x://a/..#f", "dot segment"),
        ("x://a/..;v=1/b", "dot segment"),
        ("x://a/%2e%2e/b", "unreserved"),
        ("x://a/%2E./b", "unreserved"),
        ("x://%61", "unreserved"),
        ("x://%7e", "unreserved"),
        ("x://a%2Fb", "slash"),
        ("x://a%2fb", "slash"),
        ("x://a%5cb", "slash"),
        ("x://a%00", "control"),
        ("x://a%0d%0a", "control"),
        ("x://a%7F", "control"),
        ("x://a%252e", "doubly"),
        ("x://%", "no escape"),
        ("x://%1", "no escape"),
        ("x://%zz", "no escape"),
        ("x://%\uff12\uff15", "no escape"),
        ("x://a\\b", "backslash"),
        ("x://a\x00b", "control"),
        ("x://a\nb", "control"),
        ("x://a\x7f", "control"),
        ("x://a\x85", "control"),
        ("x://a\u2028", "control"),
        ("x://\ud800", "control"),
        ("x://a/.. ", "white space"),
        (" x://a", "white space"),
        ("x://a\u00a0", "white space"),
        ("\ufeffx://a", "white space"),
        ("x://a/.. /b", "dot segment"),
        ("x://a/ ../b", "dot segment"),
        ("x://a/..%20/b", "dot segment"),
        ("x://a/%20..%20", "dot segment"),
        ("x://a/\u3000../b", "dot segment"),
    ],
)
def test_a_uri_with_two_readings_is_refused_and_not_repeated(uri: str, why: str) -> None:
    words = suspicious_uri(uri)
    assert words is not None and why in words
    assert uri not in words
