"""Every route of the desk with every method: what is not named does not exist, and nothing begins before the Host is ours."""

from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from gatebook.federation.errors import StoreUnavailable
from gatebook.serve.desk_http.app import BROWSER_CLIENTS, MAX_BODY_BYTES, ROUTES, application

HOST = "login.example.com"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PATHS = sorted({path for _, path, _ in ROUTES} | {"/healthz", "/desk.css"})


def allowed(path: str) -> set[str]:
    named = {method for method, each, _ in ROUTES if each == path} | (
        {"GET"} if path in ("/healthz", "/desk.css") else set()
    )
    return (
        named
        | ({"HEAD"} if path in ("/healthz", "/desk.css") else set())
        | ({"OPTIONS"} if path in BROWSER_CLIENTS else set())
    )


def bare_world() -> Any:
    """What is looked at before any route."""
    return SimpleNamespace(
        desk=SimpleNamespace(public_url=f"https://{HOST}"), deployment=SimpleNamespace(trusted_proxies=())
    )


async def asked(method: str, path: str, **options: Any) -> httpx2.Response:
    world = bare_world()
    transport = httpx2.ASGITransport(app=application(lambda: world))
    async with httpx2.AsyncClient(transport=transport, base_url=f"https://{HOST}") as client:
        return await client.request(method, path.replace("{name:str}", "corp"), **options)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
async def test_a_method_that_is_not_named_for_a_path_is_refused(path: str, method: str) -> None:
    answer = await asked(method, path)
    assert (answer.status_code == 405) == (method not in allowed(path))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/oauth",
        "/oauth/authorize/",
        "/OAUTH/token",
        "/oauth//token",
        "/login/oidc//callback",
        "/login/saml/x",
        "/login/saml//acs",
        "/consent/x",
    ],
)
async def test_a_path_that_is_not_named_does_not_exist(path: str) -> None:
    assert (await asked("GET", path)).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", f"{HOST}:8443", f"{HOST}.evil.example", "", "127.0.0.1"])
@pytest.mark.parametrize("path", PATHS)
async def test_another_host_is_refused_before_anything_begins(path: str, host: str) -> None:
    assert (await asked("GET", path, headers={"host": host})).status_code == 403


async def test_a_body_that_is_too_large_is_refused_by_its_length_and_by_its_bytes() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    told = await asked(
        "POST", "/oauth/token", headers={**form, "content-length": str(MAX_BODY_BYTES + 1)}, content=b"x"
    )
    assert told.status_code == 413

    async def pieces() -> Any:
        for _ in range(MAX_BODY_BYTES // 1024 + 1):
            yield b"x" * 1024

    with_no_length = await asked("POST", "/oauth/token", headers=form, content=pieces())
    assert with_no_length.status_code == 413


@pytest.mark.parametrize("path", ["/oauth/authorize", "/login", "/consent", "/me"])
async def test_people_get_a_page_where_something_broke_and_programs_get_json(path: str) -> None:
    answer = await asked("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "Nothing was issued." in answer.text and "What to do:" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_people_get_a_page_where_nothing_can_be_recorded() -> None:
    calls = 0

    def world() -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:  # the guard before the routes looks at the host first
            raise StoreUnavailable("the disk of the desk is full")
        return bare_world()

    transport = httpx2.ASGITransport(app=application(world))
    async with httpx2.AsyncClient(transport=transport, base_url=f"https://{HOST}") as client:
        answer = await client.get("/me")
    assert answer.status_code == 503
    assert "does nothing that it cannot record" in answer.text and "full" not in answer.text


async def test_a_defect_is_an_answer_without_a_value() -> None:
    """The world of these tests holds nothing, so every handler that is reached meets a defect."""
    answer = await asked("GET", "/oauth/jwks")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "server_error",
        "error_description": "The desk failed on this request; nothing was issued.",
    }
    assert "AttributeError" not in answer.text
