"""Rules for every test run: with CI=true a skipped test is a failure unless `allowed_skips.txt` says why it may be."""

import fnmatch
import gc
import os
import resource
import sys
from asyncio import sslproto
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests import examples
from tests.side_by_side import SideBySide

settings.load_profile(examples.ALL)

DESCRIPTORS = 10_000
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips() -> dict[str, str]:
    """Pattern of test id → reason, from lines `pattern | reason`. A line without a reason is an error."""
    allowed: dict[str, str] = {}
    for line in ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, reason = (part.strip() for part in line.partition(" | "))
        if not reason:
            raise pytest.UsageError(f"{ALLOWED_SKIPS.name}: no reason given for {pattern!r}")
        allowed[pattern] = reason
    return allowed


class SkipsAreFailures:
    """Collects skips that nothing allows; any of them turns the run's exit status to 1."""

    def __init__(self, allowed: dict[str, str]) -> None:
        self._allowed = allowed
        self._unexplained: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    def _note(self, test_id: str, why: object) -> None:
        # fnmatch would read the brackets of a parametrized id as a set of characters.
        literal = test_id.replace("[", "\x00").replace("]", "\x01")
        patterns = (p.replace("[", "\x00").replace("]", "\x01") for p in self._allowed)
        if not any(fnmatch.fnmatchcase(literal, pattern) for pattern in patterns):
            self._unexplained[test_id] = str(why[2] if isinstance(why, tuple) else why)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._unexplained and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._unexplained:
            return
        terminalreporter.section(f"skipped with CI=true, and not in {ALLOWED_SKIPS.name}", red=True)
        for test_id, why in self._unexplained.items():
            terminalreporter.line(f"{test_id}: {why}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    # A death that is played within a test closes nothing, as it should be: some hundred descriptors stay open, and the usual thousand are soon used up.
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), most))
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkipsAreFailures(allowed_skips()), "skips-are-failures")


def pytest_collection_finish() -> None:
    # Ten thousand tests and all they import stay to the end: no collection of garbage need look at them again. Some tests ask for a whole one
    # each, which took a tenth of a second and more.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    return SideBySide(config, log)


if sys.version_info < (3, 11, 5):
    # asyncio of early 3.11 trips over `abort()` on a TLS transport that is gone already; later releases let it pass. The gate runs uvloop.
    _abort = sslproto._SSLProtocolTransport.abort  # type: ignore[attr-defined]

    def _abort_if_there(transport: object) -> None:
        if getattr(transport, "_ssl_protocol", None) is not None:
            _abort(transport)

    sslproto._SSLProtocolTransport.abort = _abort_if_there  # type: ignore[attr-defined]
