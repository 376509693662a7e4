"""`gatebook connect` as a job: GitHub-, GitLab- and Kubernetes-shaped tokens exchanged at the real desk, past the end of the first token."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.e2e.desk.command_line import Shell
from tests.e2e.desk.test_jobs import Jobs, jobs
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person

__all__ = ["jobs"]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

LATER = Path(__file__).with_name("connect_later.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def runner(jobs: Jobs) -> Iterator[str]:
    """Where a GitHub runner asks for the job's token; the audience is what is asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            [audience] = parse_qs(urlsplit(self.path).query)["audience"]
            assert self.headers["authorization"] == "Bearer of-the-runner"
            body = json.dumps({"value": jobs.of_github(aud=audience)}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
        server.shutdown()
        thread.join()


def shell_of(jobs: Jobs, home: Path) -> Shell:
    return Shell(jobs.here, home, jobs.here.browser(Person(sub="nobody")))


async def called(server: StdioServerParameters) -> str:
    async with Client(stdio_client(server)) as client:
        result = await client.call_tool("get_order", {"order_id": "ord_5001"})
    return result.model_dump_json()


def parameters(shell: Shell, jobs: Jobs, *options: str, **variables: str) -> StdioServerParameters:
    arguments = ["-m", "gatebook", "connect", jobs.here.gate.url("payments"), *options]
    return StdioServerParameters(
        command=sys.executable, args=arguments, env={**shell.environment, **variables}, cwd=shell.home
    )


async def test_a_job_of_github_calls_a_tool(jobs: Jobs, runner: str, tmp_path: Path) -> None:
    variables = {"ACTIONS_ID_TOKEN_REQUEST_URL": runner, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner"}
    assert "ord_5001" in await called(parameters(shell_of(jobs, tmp_path), jobs, "--github", **variables))


async def test_jobs_of_gitlab_and_of_a_cluster_call_a_tool(jobs: Jobs, tmp_path: Path) -> None:
    shell = shell_of(jobs, tmp_path)
    assert "ord_5001" in await called(parameters(shell, jobs, "--token-env", "ID", ID=jobs.of_gitlab()))
    (tmp_path / "token").write_text(jobs.of_cluster())
    assert "ord_5001" in await called(parameters(shell, jobs, "--token-file", str(tmp_path / "token")))


async def test_a_job_of_twenty_minutes_outlives_its_first_token(jobs: Jobs, tmp_path: Path) -> None:
    shell, offset = shell_of(jobs, tmp_path), tmp_path / "offset"
    offset.write_text("0")
    environment = {**shell.environment, "PYTHONPATH": str(ROOT / "src"), "ID": jobs.of_gitlab()}
    arguments = [str(LATER), str(offset), jobs.here.gate.url("payments"), "ID"]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=environment, cwd=tmp_path)
    async with Client(stdio_client(server)) as client:
        for later in (0, 280, 560, 1200):
            offset.write_text(str(later))
            result: Any = await client.call_tool("get_order", {"order_id": "ord_5001"})
            assert "ord_5001" in result.model_dump_json()


def test_a_token_of_another_project_is_refused_in_words(jobs: Jobs, tmp_path: Path) -> None:
    shell = shell_of(jobs, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "gatebook", "connect", jobs.here.gate.url("payments"), "--token-env", "ID"],
        input='{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        env={**shell.environment, "ID": jobs.of_gitlab(project_id="43")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = json.loads(done.stdout)
    assert answer["error"]["data"]["reason"] == "not_logged_in"
    assert "not one of those that may come here" in answer["error"]["message"]
    jobs.here.caused("job_unmatched")
