"""The API's order: who is it → may he → it is done → it is in the book → it is told. With a caller who is known, and a book that may fail."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from gatebook.federation.desk_api import Grants
from gatebook.federation.records import LoggedIn, Login, Person
from gatebook.identity.errors import TokenRefused
from gatebook.model.errors import LedgerUnavailable, Reason
from gatebook.model.principal import Evidence, Principal
from gatebook.model.record import Draft, Resource, Who
from gatebook.serve.desk_http import api
from gatebook.serve.desk_http.api import Caller, Done, draft_of, guarded, parameters_of

WHO = Who(kind="person", iss="https://idp", sub="00u1", login="sid:x")


class Book:
    """A ledger that keeps drafts, or cannot. It notes beside them what else happened."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.happened: list[str] = []

    async def record(self, draft: Draft) -> None:
        if self.broken:
            raise LedgerUnavailable("the disk is full")
        self.happened.append(f"{draft.event} {draft.reason}")


def world(book: Book) -> Any:
    async def keep_refusal(draft: Draft) -> None:
        await book.record(draft)

    return cast(Any, SimpleNamespace(ledger=book, keep_refusal=keep_refusal))


def request(query: str = "") -> Request:
    scope = {
        "type": "http", "method": "GET", "path": "/api/grants", "query_string": query.encode(), "headers": [],
        "client": ("127.0.0.1", 1), "server": ("desk", 443), "scheme": "https", "root_path": "",
    }  # fmt: skip
    return Request(scope)


def caller(*roles: str) -> Caller:
    principal = Principal(
        kind="person", issuer="https://idp", issuer_name="corp", subject="00u1", agent=None, login="sid:x",
        groups=frozenset(), claims={}, evidence=Evidence(), expires_at=1.0, sid="x",
    )  # fmt: skip
    login = Login(
        id="1", seen=LoggedIn(person=Person(issuer="https://idp", subject="00u1"), idp="corp"), browser_hash="", created_at=0,
        expires_at=1,
    )  # fmt: skip
    return Caller(principal=principal, login=login, grant=cast(Any, None), roles=cast(Any, roles), who=WHO)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(_request: Request, _world: object) -> Caller:
        return caller("admin")

    monkeypatch.setattr(api, "_caller", found)


def acting(book: Book) -> api.Act:
    async def act(request: Request, _world: object, caller: Caller) -> Done:
        book.happened.append("acted")
        draft = draft_of(request, caller, "grants.read", "completed", Resource(kind="grant"), {})
        return Done(answer=Grants(grants=()), drafts=(draft,))

    return act


@pytest.mark.usefixtures("known")
async def test_the_entry_is_durable_before_the_answer() -> None:
    book = Book()
    answer = await guarded("admin", acting(book))(request(), world(book))
    assert answer.status_code == 200
    assert book.happened == ["acted", "grants.read completed"]


@pytest.mark.usefixtures("known")
async def test_nothing_is_answered_where_the_reading_cannot_be_recorded() -> None:
    with pytest.raises(LedgerUnavailable):
        await guarded("admin", acting(Book(broken=True)))(request(), world(Book(broken=True)))


@pytest.mark.usefixtures("known")
async def test_whoever_lacks_the_role_gets_nothing_done_and_an_entry() -> None:
    book = Book()
    answer = await guarded("auditor", acting(book))(request(), world(book))
    assert answer.status_code == 403
    assert book.happened == ["api.refused denied"]


async def test_whoever_is_not_known_gets_nothing_done_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(_request: Request, _world: object) -> Caller:
        raise TokenRefused(Reason.TOKEN_EXPIRED, "The token has expired.")

    monkeypatch.setattr(api, "_caller", refused)
    book = Book()
    answer = await guarded(None, acting(book))(request(), world(book))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert book.happened == ["api.refused token_expired"]


def test_a_parameter_that_is_not_known_or_stands_twice_is_not_passed_over() -> None:
    assert parameters_of(request("limit=1&since="), "limit", "since") == {"limit": "1"}
    for query in ("limt=1", "limit=1&limit=2"):
        with pytest.raises(api.NotUnderstood):
            parameters_of(request(query), "limit")
