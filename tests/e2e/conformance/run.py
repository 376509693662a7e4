"""Run the conformance suite by hand and see what a gate loses against the baseline.

    .venv/bin/python -m tests.e2e.conformance.run                                 the everything server, direct
    .venv/bin/python -m tests.e2e.conformance.run --url URL --token TOKEN         a gate in front of it

Exits with 1 where anything is lost.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.conformance.everything_server import everything_server
from tests.e2e.conformance.forwarder import forwarding
from tests.e2e.conformance.suite import REVISIONS, baseline, compare, passes, run_suite, totals, write_baseline


def main() -> int:
    options = _parser().parse_args()
    workdir = Path(options.workdir or tempfile.mkdtemp(prefix="conformance-"))
    workdir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        url = options.url or stack.enter_context(everything_server(workdir / "everything_server.log"))
        if options.token:
            url = stack.enter_context(forwarding(url, f"Authorization: Bearer {options.token}"))
        started = time.monotonic()
        results = run_suite(url, options.revisions, workdir)
        took_s = time.monotonic() - started
    for revision, ran in results.items():
        print(f"{revision}: {sum(map(passes, ran.values()))} of {len(ran)} scenarios pass")
    if options.record:
        write_baseline(results)
    losses = compare(baseline(), results)
    for loss in losses:
        print(f"lost: {loss}")
    scenarios, checks = totals(results)
    expected_scenarios, expected_checks = totals({revision: baseline()[revision] for revision in options.revisions})
    print(
        f"{scenarios} of {expected_scenarios} scenarios, {checks} of {expected_checks} checks, {took_s:.1f} s; {workdir}"
    )
    return 1 if losses else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the MCP endpoint; without it the everything server is started")
    parser.add_argument("--token", help="sent as `Authorization: Bearer TOKEN` with every request")
    parser.add_argument("--revisions", nargs="+", default=REVISIONS, choices=REVISIONS, metavar="REVISION")
    parser.add_argument("--workdir", help="where the suite's files go; must hold no earlier run")
    parser.add_argument("--record", action="store_true", help="make this run the baseline (all revisions, direct)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
