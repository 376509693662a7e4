"""A job's token at the desk: what is asked for at which moment (RFC 8693 §2.1). The desk here is a small HTTP server that notes the forms."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from gatebook.cli.connecting import credentials
from gatebook.cli.connecting.credentials import ACCESS_TOKEN, EXCHANGE, JWT, OfJob, OfVariable
from gatebook.cli.person.errors import PersonError, Refused, Unreachable
from gatebook.cli.person.logins import Given, LoginFile
from gatebook.cli.person.tokens import kept_token


class Desk:
    """Answers as a desk does, and as GitHub does at /github. `refuses`: subject token types it takes no more."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.asked: list[tuple[str, str | None]] = []
        self.refuses: set[str] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path == "/github":
                    outer.asked.append((self.path, self.headers["authorization"]))
                    self._say(200, {"value": f"github-{len(outer.asked)}"})
                elif "protected-resource" in path:
                    self._say(200, {"resource": outer.server, "authorization_servers": [outer.url]})
                else:
                    ends = {
                        f"{name}_endpoint": f"{outer.url}/{name}" for name in ("authorization", "token", "revocation")
                    }
                    self._say(200, {"issuer": outer.url, **ends})

            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
                outer.forms.append(form)
                if form["subject_token_type"] in outer.refuses:
                    self._say(400, {"error": "invalid_request", "error_description": "no"})
                else:
                    self._say(
                        200, {"access_token": f"at-{len(outer.forms)}", "expires_in": 300, "token_type": "Bearer"}
                    )

            def _say(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.server = f"{self.url}/payments/mcp"
        self.thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> "Desk":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.thread.join()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk() as desk:
        yield desk


async def test_a_jobs_token_is_exchanged_once_and_then_renewed_by_what_it_gave(desk: Desk, tmp_path: Path) -> None:
    file, clock = tmp_path / "token", [1000.0]
    file.write_text("of-the-cluster\n")
    job = OfJob(desk.server, credentials.of_file(file), lambda: clock[0])
    assert [await job.token(), await job.token()] == ["at-1", "at-1"]
    clock[0] += 280
    assert await job.token() == "at-2"
    assert desk.forms == [
        {"grant_type": EXCHANGE, "subject_token": "of-the-cluster", "subject_token_type": JWT, "resource": desk.server},
        {"grant_type": EXCHANGE, "subject_token": "at-1", "subject_token_type": ACCESS_TOKEN, "resource": desk.server},
    ]


async def test_a_desk_that_does_not_renew_gets_another_token_of_the_job(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(credentials.GITHUB_URL, f"{desk.url}/github?x=1")
    monkeypatch.setenv(credentials.GITHUB_TOKEN, "of-the-runner")
    desk.refuses = {ACCESS_TOKEN}
    clock = [1000.0]
    job = OfJob(desk.server, credentials.of_github(None), lambda: clock[0])
    await job.token()
    clock[0] += 290
    assert await job.token() == "at-3"
    assert [form["subject_token"] for form in desk.forms] == ["github-1", "at-1", "github-2"]
    path, bearer = desk.asked[0]
    assert dict(parse_qsl(urlsplit(path).query)) == {"x": "1", "audience": desk.url}
    assert bearer == "Bearer of-the-runner"


async def test_a_token_that_the_gate_refused_is_not_what_the_next_one_is_made_of(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-cluster")
    job = OfJob(desk.server, credentials.of_file(file), lambda: 1000.0)
    first = await job.token()
    assert await job.token(instead_of=first) == "at-2"
    assert [form["subject_token_type"] for form in desk.forms] == [JWT, JWT]


async def test_what_is_missing_is_said_with_how_to_mend_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(credentials.GITHUB_URL, raising=False)
    monkeypatch.setenv("EMPTY", "")
    for subject, words in (
        (credentials.of_github(None), "id-token: write"),
        (credentials.of_variable("EMPTY"), "id_tokens"),
        (credentials.of_file(tmp_path / "none"), "projected"),
    ):
        with pytest.raises(PersonError, match=words):
            await OfJob(desk.server, subject, lambda: 0.0).token()
    desk.refuses = {JWT}
    monkeypatch.setenv("SOME", "secret-of-the-job")
    with pytest.raises(Refused, match="invalid_request") as refused:
        await OfJob(desk.server, credentials.of_variable("SOME"), lambda: 0.0).token()
    assert "secret-of-the-job" not in str(refused.value)
    assert await OfVariable("SOME").token() == "secret-of-the-job"


async def test_a_job_that_calls_nothing_for_long_keeps_its_token_alive(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no refresh token, and a job's own token is taken once: a token that ended unseen would strand the job."""
    monkeypatch.setattr(credentials, "LOOK_S", 0.0)
    file, clock = tmp_path / "token", [1000.0]
    file.write_text("of-the-cluster")
    job = OfJob(desk.server, credentials.of_file(file), lambda: clock[0])
    keeping = asyncio.create_task(job.keep_fresh())
    await job.token()
    for number in range(2, 5):
        clock[0] += 260
        async with asyncio.timeout(5):
            while len(desk.forms) < number:
                await asyncio.sleep(0.001)
    assert [form["subject_token"] for form in desk.forms] == ["of-the-cluster", "at-1", "at-2", "at-3"]
    async with asyncio.timeout(5):
        while await job.token() != "at-4":
            await asyncio.sleep(0.001)
    desk.refuses = {JWT, ACCESS_TOKEN}
    clock[0] += 260
    async with asyncio.timeout(5):
        await keeping
    assert len(desk.forms) == 6, "a desk that says no is not asked again and again"


async def test_a_desk_that_is_away_for_a_moment_ends_no_token_that_is_still_good(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", [1000.0]
    file.write_text("of-the-cluster")
    with Desk() as desk:
        job = OfJob(desk.server, credentials.of_file(file), lambda: clock[0])
        first = await job.token()
        kept = LoginFile(tmp_path / "state" / "logins.json")
        given = Given(desk=desk.url, client_id="c", access_token="of-a-person", expires_at=1300.0, refresh_token="r")
        with kept.changing() as logins:
            logins.given["https://gate/x"] = given
    clock[0] = 1290.0
    assert await job.token() == first
    assert kept_token(kept, "https://gate/x", lambda: 1290.0) == "of-a-person"
    clock[0] = 1301.0
    with pytest.raises(Unreachable):
        await job.token()
    with pytest.raises(Unreachable):
        kept_token(kept, "https://gate/x", lambda: 1301.0)
    assert kept.read().given, "and what is kept is not thrown away"
