"""[37] How long a comparison takes tells nothing of a secret: secrets that somebody presents are looked up by their hash, or compared by
`hmac.compare_digest`, by construction. `python -m bench.comparing` measures it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatebook.federation.ports import Store

SOURCE = Path(__file__).parents[2] / "src" / "gatebook"
WHERE = ("federation", "serve/desk_http", "adapters/desk_store", "adapters/providers_oidc.py", "gate", "identity")
"""What holds secrets that others present: codes, tokens, login state, cookies, form tokens, session handles."""
SECRET = re.compile(
    r"(?:^|_)(?:token|code|secret|verifier|state|nonce|handle|ticket|cookie|browser|session|password|mac|signature)s?(?:_of)?$"
)
PLAIN = {
    (
        "gate/identifying.py",
        "caller.session == session",
    ): "the id of a session in the book, which every auditor reads; both are our own",
    (
        "gate/again.py",
        "session_of(again.known, arrival, now, world) != caller.session",
    ): "the same",
    (
        "gate/answering.py",
        "upstream == question.upstream_session",
    ): "what a server says of its own session, and what it said before",
}
"""Comparisons that sound like one of a secret and are none, and why."""


def said(side: ast.expr) -> str:
    """What an operand is called: the last name in it."""
    match side:
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            return name
        case ast.Call(func=function):
            return said(function)
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def is_constant(side: ast.expr) -> bool:
    if isinstance(side, ast.Tuple | ast.List | ast.Set):
        return all(is_constant(each) for each in side.elts)
    return isinstance(side, ast.Constant) or said(side).isupper()


def telling(text: str) -> Iterator[str]:
    """The comparisons in this source that end at the first difference between two secrets."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        if not any(isinstance(each, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for each in node.ops):
            continue
        if not any(map(is_constant, sides)) and any(SECRET.search(said(side)) for side in sides):
            yield ast.unparse(node)


def sources() -> Iterator[Path]:
    for where in WHERE:
        path = SOURCE / where
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def test_no_secret_that_somebody_presents_is_compared_sign_by_sign() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), comparison)
        for path in sources()
        for comparison in telling(path.read_text(encoding="utf-8"))
    }
    assert found == set(PLAIN)


def test_the_store_is_asked_for_secrets_by_their_hashes_alone() -> None:
    """So that the database, whose index compares as it likes, never gets a secret to compare."""
    asked = {
        name
        for method in vars(Store).values()
        if callable(method)
        for name, kind in getattr(method, "__annotations__", {}).items()
        if name != "return" and kind in (str, bytes, "str", "bytes")
    }
    assert {"handle_hash", "browser_hash", "code_hash", "token_hash"} <= asked
    assert [name for name in sorted(asked) if SECRET.search(name)] == []


@pytest.mark.parametrize(
    "planted",
    [
        "given == grant.refresh_token",
        "form.get('token') != expected",
        "if code in codes: pass",
        "answer['state'] == ours",
        "state_of(browser, handle, idp) == given",
        "nonce != claims.nonce",
    ],
)
def test_control_a_comparison_of_secrets_is_noticed(planted: str) -> None:
    assert list(telling(planted))


@pytest.mark.parametrize(
    "harmless",
    [
        "row.token_hash == token_hash",
        "kind == ACCESS_TOKEN_TYPE",
        "token is None",
        "client_id != grant.client_id",
        "response.status_code == 200",
        "same(state, given)",
    ],
)
def test_control_what_tells_nothing_is_not(harmless: str) -> None:
    assert not list(telling(harmless))
