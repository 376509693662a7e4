"""Runs the npm package @modelcontextprotocol/conformance against a URL, and compares two runs check by check."""

import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import nodejs

REVISIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")

BASELINE = Path(__file__).with_name("baseline.json")
SUITE = nodejs.NODE_MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
RUN_TIMEOUT_S = 300

# The suite names a result folder server-SCENARIO-TIMESTAMP, or SCENARIO-TIMESTAMP where a client was tested.
RESULT_FOLDER = re.compile(r"(server-)?(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

Checks = dict[str, str]
"""Check id → SUCCESS, FAILURE, WARNING or SKIPPED. A second check with the same id gets the key `id#2`, and so on."""

Results = dict[str, dict[str, Checks]]
"""Revision → scenario → checks."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A check that passes direct and does not behind the gate. `now` is None where it did not even run."""

    revision: str
    scenario: str
    check: str
    now: str | None

    def __str__(self) -> str:
        return f"{self.revision} {self.scenario}: {self.check} ({self.now or 'did not run'})"


def run_suite(url: str, revisions: Sequence[str], workdir: Path) -> Results:
    """Run every scenario of these revisions against the MCP server at `url`, all revisions at the same time.

    Failing checks are results, not errors. Leaves per revision a folder with the suite's own files and its output in
    `workdir`. Raises RuntimeError where a revision brought no result at all.
    """
    with ThreadPoolExecutor(max_workers=len(revisions)) as pool:
        scenarios = pool.map(lambda revision: _run_revision(url, revision, workdir), revisions)
        return dict(zip(revisions, scenarios, strict=True))


def _run_revision(url: str, revision: str, workdir: Path) -> dict[str, Checks]:
    folder = workdir / revision
    folder.mkdir(parents=True)
    scope = ["--suite", "all", "--spec-version", revision]
    command = [str(nodejs.node()), str(SUITE), "server", "--url", url, *scope, "--output-dir", str(folder)]
    output = folder / "output.txt"
    with output.open("wb") as stream:
        subprocess.run(
            command,
            cwd=folder,
            env=nodejs.node_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    scenarios = read_results(folder)
    if not scenarios:
        raise RuntimeError(
            f"the conformance suite ran no scenario of {revision}:\n{output.read_text(errors='replace')}"
        )
    return scenarios


def read_results(folder: Path) -> dict[str, Checks]:
    """What the suite wrote into `folder`: scenario → checks. Notes (status INFO) are left out: they judge nothing."""
    scenarios: dict[str, Checks] = {}
    for file in sorted(folder.glob("*/checks.json")):
        name = RESULT_FOLDER.fullmatch(file.parent.name)
        if name is None:
            raise ValueError(f"unexpected result folder {file.parent.name}")
        scenarios[name["scenario"]] = _checks(json.loads(file.read_bytes()))
    return scenarios


def _checks(written: Iterable[dict[str, str]]) -> Checks:
    checks: Checks = {}
    for check in written:
        if check["status"] == "INFO":
            continue
        key, times = check["id"], 1
        while key in checks:
            times += 1
            key = f"{check['id']}#{times}"
        checks[key] = check["status"]
    return checks


def passes(checks: Checks) -> bool:
    """Whether a scenario passes: it judged something, and all of it well."""
    return bool(checks) and all(status == "SUCCESS" for status in checks.values())


def totals(results: Results) -> tuple[int, int]:
    """Scenarios that pass entirely, and checks that pass."""
    scenarios = [checks for by_scenario in results.values() for checks in by_scenario.values()]
    passed = sum(status == "SUCCESS" for checks in scenarios for status in checks.values())
    return sum(map(passes, scenarios)), passed


def compare(direct: Results, through: Results) -> list[Loss]:
    """What `through` loses of what passes in `direct`, in the order of `direct`. Revisions not run are no losses."""
    return [
        Loss(revision=revision, scenario=scenario, check=check, now=now)
        for revision, scenarios in direct.items()
        if revision in through
        for scenario, checks in scenarios.items()
        for check, status in checks.items()
        if status == "SUCCESS"
        if (now := through[revision].get(scenario, {}).get(check)) != "SUCCESS"
    ]


def baseline() -> Results:
    """What the everything server passes without a gate; written by `python -m tests.e2e.conformance.run --record`."""
    by_revision: dict[str, dict[str, list[str]]] = json.loads(BASELINE.read_bytes())
    return {
        revision: {scenario: dict.fromkeys(checks, "SUCCESS") for scenario, checks in scenarios.items()}
        for revision, scenarios in by_revision.items()
    }


def write_baseline(results: Results) -> None:
    """Make these results the baseline. Refuses (ValueError) while anything fails: a baseline is what passes."""
    failing = [name for scenarios in results.values() for name, checks in scenarios.items() if not passes(checks)]
    if failing:
        raise ValueError(f"not a baseline, these fail: {', '.join(failing)}")
    listing = {
        revision: {scenario: list(checks) for scenario, checks in sorted(scenarios.items())}
        for revision, scenarios in results.items()
    }
    BASELINE.write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
