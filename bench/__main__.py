"""`make bench ARGS=…`: runs the rows, prints the report on standard output and progress on standard error.

Exit code 0: every row was measured and every answer was right, whatever the bars say. 1: a row or the run is void.
2: the command line is wrong or something is not installed.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import msgspec

from bench import bars, nightly, places, report, roles, rows, sealing, side_by_side, stalled
from bench.figures import Outcome
from bench.loading import Wrong
from bench.processes import CORES, LOAD_CORE, Died
from bench.rows import Row
from bench.telling import Options, say

MANNERS = {
    "side-by-side": side_by_side.measure,
    "roles": roles.measure,
    "stalled": stalled.measure,
    "sealer-alone": sealing.measure_alone,
    "sealer-behind": sealing.measure_behind,
    "servers": nightly.measure_servers,
    "streams": nightly.measure_streams,
    "workers": nightly.measure_workers,
}


def main(arguments: list[str]) -> int:
    """The exit code."""
    asked = _parser().parse_args(arguments)
    among = rows.NIGHTLY if asked.nightly else rows.ROWS
    if asked.list:
        print(report.rows_told(among))
        return 0
    try:
        wanted, options = rows.chosen(asked.rows, among), _options(asked)
        about = report.machine()
    except (ValueError, places.Missing) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    if len(CORES) < 2:
        print("bench: two cores are needed, one for the gate and one for the load", file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {LOAD_CORE})
    outcomes = {row.name: _measured(row, options) for row in wanted}
    if not options.keep:
        shutil.rmtree(places.RUNS, ignore_errors=True)
    if asked.show_config:
        print(report.configurations(outcomes))
    return _told(about, outcomes, asked.json)


def _measured(row: Row, options: Options) -> Outcome:
    """The row's outcome; what went wrong makes it void and the next row goes on."""
    say(f"{row.name}: {row.what}")
    try:
        return MANNERS[row.manner](row, options)
    except (Wrong, Died, OSError, TimeoutError) as problem:
        say(f"{row.name} is void: {problem}")
        return Outcome(row=row.name, void=str(problem))


def _told(about: dict[str, str], outcomes: dict[str, Outcome], file: Path | None) -> int:
    judged = [bars.judge(bar, outcomes) for bar in bars.BARS if bar.row in outcomes]
    void = bars.void_run(outcomes)
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    for part in (report.table(outcomes), report.extras(outcomes), report.verdicts(judged) if judged else ""):
        if part:
            print(f"\n{part}")
    if not judged:
        print("no bar stands on these rows")
    missed = [one.what for one in judged if one.verdict == "missed"]
    print(f"\nmissed: {'; '.join(missed) or 'none'}")
    if restless := report.restless(outcomes):
        print(restless)
    if places.slow_nginx():
        print("SLOW NGINX: this one costs more than Debian's, so ratios to it flatter; apt-get install nginx-light")
    if void:
        print(f"VOID: {void}")
    if file is not None:
        whole = {"about": about, "void": void, "rows": list(outcomes.values()), "bars": judged}
        file.write_text(json.dumps(msgspec.to_builtins(whole), indent=1) + "\n")
    return 1 if void or any(outcome.void for outcome in outcomes.values()) else 0


def _options(asked: argparse.Namespace) -> Options:
    peers = tuple(name.strip() for name in asked.peers.split(",") if name.strip())
    known = (*Options().peers, "gatebook")
    if unknown := [name for name in peers if name not in known]:
        raise ValueError(f"no server is called {unknown[0]!r}; there are: {', '.join(Options().peers)}")
    # The gate is what this is about: it is always there.
    with_gate = tuple(name for name in Options().peers if name in (*peers, "gatebook"))
    return Options(peers=with_gate, seconds=asked.seconds, rounds=asked.rounds, keep=asked.keep)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Gatebook beside its peers on one core. ARGS=… passes these options."
    )
    parser.add_argument("--rows", default="*", help="comma-separated names, * and ? allowed (default: all)")
    parser.add_argument("--peers", default="nginx,envoy,fastmcp", help="comma-separated; the gate is always measured")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each row, servers in turn; the median counts")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    parser.add_argument(
        "--show-config", action="store_true", help="print what each server was told (the JSON report always holds it)"
    )
    parser.add_argument("--nightly", action="store_true", help="the rows of `make nightly` instead")
    parser.add_argument(
        "--keep", action="store_true", help="keep the servers' configuration and output under .cache/bench-runs"
    )
    parser.add_argument("--list", action="store_true", help="list the rows")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
