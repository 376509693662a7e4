"""Runs the suite's client scenarios: the suite is the server, and a command of ours the client under test."""

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e import nodejs
from tests.e2e.conformance.everything_server import ROOT, SOURCE
from tests.e2e.conformance.suite import RUN_TIMEOUT_S, SUITE, Checks, Results, read_results

CLIENT = SOURCE / ".github" / "actions" / "conformance" / "client.py"

SCENARIOS = {
    "2025-11-25": (
        "initialize",
        "tools_call",
        "elicitation-sep1034-client-defaults",
        "sse-retry",
        "json-schema-2020-12-preservation",
    ),
    "2026-07-28": (
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
        "json-schema-2020-12-preservation",
    ),
    "2025-06-18": ("initialize", "tools_call"),
}
"""Every client scenario of the suite that tests MCP itself. Not here: `auth/*`, in which the mock server is the OAuth server that the client
logs in to (behind a gate that is the gate's own, and the mock is never asked), and `sep-2640-*`, an extension without a client in the SDK."""

RUNS = [(revision, scenario) for revision, scenarios in SCENARIOS.items() for scenario in scenarios]


def direct() -> list[str]:
    """The client as it stands."""
    return [sys.executable, str(CLIENT)]


def through(directory: Path) -> list[str]:
    """The same client, behind the gate that runs in `directory`."""
    return [sys.executable, "-m", "tests.e2e.conformance.client_through_gate", str(directory)]


def run_client_suite(client: list[str], workdir: Path) -> Results:
    """Every one of `RUNS`, two at a time. The suite starts `client` with the URL of its mock server as last argument.

    Failing checks are results, not errors. Raises RuntimeError where a scenario brought no result."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        checks = pool.map(lambda run: _run(client, *run, workdir), RUNS)
        results: Results = {}
        for (revision, scenario), found in zip(RUNS, checks, strict=True):
            results.setdefault(revision, {})[scenario] = found
        return results


def _run(client: list[str], revision: str, scenario: str, workdir: Path) -> Checks:
    folder = workdir / revision / scenario
    folder.mkdir(parents=True)
    options = ["--scenario", scenario, "--spec-version", revision, "--output-dir", str(folder)]
    ran = subprocess.run(
        [str(nodejs.node()), str(SUITE), "client", "--command", shlex.join(client), *options],
        cwd=ROOT,
        env=nodejs.node_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    scenarios = read_results(folder)
    if list(scenarios) != [scenario]:
        raise RuntimeError(f"the suite did not run {scenario} of {revision}:\n{ran.stdout.decode(errors='replace')}")
    return scenarios[scenario]
