"""The report as text: a table of all rows, what only single rows have, and the bars."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import bars, places
from bench.figures import Outcome, Side, ratio
from bench.rows import Row

_COLUMNS = ("row", "server", "calls/s", "p50", "p99", "p99 at 70 %", "CPU/call", "core", "RSS", "/ nginx", "/ Envoy")


def table(outcomes: dict[str, Outcome]) -> str:
    """Every row with every server, as Markdown."""
    lines = [_line(_COLUMNS), _line(["---"] * 2 + ["---:"] * (len(_COLUMNS) - 2))]
    for outcome in outcomes.values():
        if outcome.void is not None:
            lines.append(_line([outcome.row, "**void**", *[""] * (len(_COLUMNS) - 2)]))
        lines += [_line(_cells(outcome, name, side)) for name, side in outcome.sides.items()]
    return "\n".join(lines)


def _cells(outcome: Outcome, name: str, side: Side) -> list[str]:
    compared = [ratio(outcome.sides, name, other) if name != other else None for other in ("nginx", "envoy")]
    return [
        outcome.row, name, f"{side.middle('calls_per_s'):,.0f}", _time(side.middle("p50_us")), _time(side.middle("p99_us")),
        _time(side.paced), f"{side.middle('cpu_us'):,.1f} µs" if side.middle("cpu_us") else "–",
        f"{side.middle('busy'):.0%}" if side.middle("busy") else "–",
        f"{side.middle('rss_mib'):.0f} MiB" if side.middle("rss_mib") else "–", *(_ratio(one) for one in compared),
    ]  # fmt: skip


def extras(outcomes: dict[str, Outcome]) -> str:
    """Figures that only one row has, and why void rows are void."""
    lines = [
        f"- {row.row}: {name.replace('_', ' ')} {_plain(value)}"
        for row in outcomes.values()
        for name, value in row.extra.items()
    ]
    lines += [f"- {name} {_plain(value)}" for name, value in _derived(outcomes)]
    lines += [f"- {row.row} is void: {row.void}" for row in outcomes.values() if row.void is not None]
    return "\n".join(lines)


_AT_REST = 0.8


def restless(outcomes: dict[str, Outcome]) -> str:
    """The rows in which a server got less of its core than it had work for: others used the machine. Empty where none is."""
    rows = [
        outcome.row
        for outcome in outcomes.values()
        if outcome.row.startswith("clean-1k-") and not outcome.row.endswith("-c1")
        if any(side.middle("busy") < _AT_REST for name, side in outcome.sides.items() if name != "fastmcp")
    ]
    return (
        f"NOT AT REST: a server got less than {_AT_REST:.0%} of its core in {', '.join(rows)}; calls/s say little"
        if rows
        else ""
    )


def _derived(outcomes: dict[str, Outcome]) -> Iterator[tuple[str, float]]:
    for size in (1, 200):
        pair = [
            outcomes[name].sides.get("gatebook")
            for name in (f"ids-{size}k-c32", f"clean-{size}k-c32")
            if name in outcomes
        ]
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
            more = (pair[0].middle("cpu_us") - pair[1].middle("cpu_us")) / size
            yield f"what ids and timestamps cost more than clean text, {size} KB, µs/KB:", more


def verdicts(judged: Sequence[bars.Judged]) -> str:
    lines = [_line(["bar", "must", "good", "reached", "verdict"]), _line(["---", "---:", "---:", "---:", "---"])]
    for one in judged:
        more = _more_digits(one)
        must, good = _plain(one.must, more), _plain(one.good, more)
        reached = "–" if one.reached is None else f"{_plain(one.reached, more)} {one.unit}"
        sign = "≥" if one.higher else "≤"
        lines.append(_line([one.what, f"{sign} {must}", f"{sign} {good}", reached, one.verdict]))
    return "\n".join(lines)


def _more_digits(one: bars.Judged) -> int:
    """How many digits more than usual it takes to see from the figures why the verdict is what it is: 0.698 is not 0.7. At most four."""
    if one.reached is None:
        return 0
    for more in range(4):
        reached, must, good = (_rounded(value, more) for value in (one.reached, one.must, one.good))
        if bars.verdict(reached, must, good, higher=one.higher) == one.verdict:
            return more
    return 4


def configurations(outcomes: dict[str, Outcome]) -> str:
    """What each server was told in each row."""
    return "\n".join(f"--- {row.row}: {name}\n{text}" for row in outcomes.values() for name, text in row.told.items())


def machine() -> dict[str, str]:
    """Where and with what this ran."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}",
        "load average before": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "python": platform.python_version(),
        "gatebook": _commit(),
        "nginx": _said([str(places.nginx()), "-v"]) + (" (from a wheel)" if places.slow_nginx() else ""),
        "envoy": _said([str(places.envoy()), "--version"]).rpartition("version: ")[2],
        "fastmcp": _fastmcp(),
        "uvloop": importlib.metadata.version("uvloop"),
    }


def _commit() -> str:
    version = importlib.metadata.version("gatebook")
    found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=places.ROOT, capture_output=True, text=True)
    return f"{version} ({found.stdout.strip()})" if found.returncode == 0 else version


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split())


def _fastmcp() -> str:
    found = sorted(places.FASTMCP.glob("lib/python3*/site-packages/fastmcp-*.dist-info"))
    return found[0].name.removeprefix("fastmcp-").removesuffix(".dist-info") if found else "not installed"


def rows_told(rows: Sequence[Row]) -> str:
    return "\n".join(f"{row.name:18} {row.what}" for row in rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _time(us: float | None) -> str:
    if us is None:
        return "–"
    return f"{us:,.0f} µs" if us < 10_000 else f"{us / 1000:,.1f} ms"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _plain(value: float, more: int = 0) -> str:
    """Whole from a hundred on, else with two digits behind the point; `more` of them where these do not tell enough."""
    digits = _digits(value) + more
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def _rounded(value: float, more: int) -> float:
    """The value that `_plain` shows."""
    return round(value, _digits(value) + more)


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 2
