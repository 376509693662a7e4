"""The bars: what must be reached, what is good, and what this run reached. Ratios only within one run."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from bench.figures import Outcome, Side, paced_ratio, ratio

Verdict = Literal["good", "must", "missed", "not measured"]
Outcomes = Mapping[str, Outcome]

LEAST_ENVOY_OF_NGINX: Final = 0.25
REFERENCE: Final = "clean-1k-c32"


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar. `row`: where it is measured. `higher`: more is better. `must` and `good` in the unit of `unit`; `value` finds what was reached, None where it was not measured."""

    what: str
    row: str
    must: float
    good: float
    higher: bool
    unit: str
    value: Callable[[Outcomes], float | None]
    over: Callable[[Outcomes], float | None] | None = None
    """What `must` and `good` stand on top of, where that is itself measured."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    must: float
    good: float
    higher: bool
    unit: str
    reached: float | None
    verdict: Verdict


def judge(bar: Bar, outcomes: Outcomes) -> Judged:
    """What `bar` says of these outcomes. Rows that are void count as not measured."""
    sound = {name: outcome for name, outcome in outcomes.items() if outcome.void is None}
    reached, base = bar.value(sound), bar.over(sound) if bar.over else 0.0
    if base is None:
        reached, base = None, 0.0
    return Judged(
        what=bar.what, must=bar.must + base, good=bar.good + base, higher=bar.higher, unit=bar.unit, reached=reached,
        verdict=verdict(reached, bar.must + base, bar.good + base, higher=bar.higher),
    )  # fmt: skip


def verdict(reached: float | None, must: float, good: float, *, higher: bool) -> Verdict:
    """At the bar is over it."""
    if reached is None:
        return "not measured"
    sign = 1 if higher else -1
    if sign * reached >= sign * good:
        return "good"
    return "must" if sign * reached >= sign * must else "missed"


def void_run(outcomes: Outcomes) -> str | None:
    """Why no ratio of this run counts: a run in which Envoy itself was held up flatters whoever is compared with it. None where all is well."""
    if REFERENCE not in outcomes or outcomes[REFERENCE].void is not None:
        return None
    found = ratio(outcomes[REFERENCE].sides, "envoy", "nginx")
    if found is not None and found < LEAST_ENVOY_OF_NGINX:
        return f"Envoy reached {found:.3f} × nginx, less than {LEAST_ENVOY_OF_NGINX}: the machine was not at rest"
    return None


def _against(row: str, peer: str, field: str = "calls_per_s") -> Callable[[Outcomes], float | None]:
    return lambda outcomes: ratio(outcomes[row].sides, "gatebook", peer, field) if row in outcomes else None


def _extra(row: str, name: str) -> Callable[[Outcomes], float | None]:
    return lambda outcomes: outcomes[row].extra.get(name) if row in outcomes else None


def _paced(row: str) -> Callable[[Outcomes], float | None]:
    return lambda outcomes: paced_ratio(outcomes[row].sides, "gatebook", "envoy") if row in outcomes else None


def _gate(outcomes: Outcomes, row: str) -> Side | None:
    return outcomes[row].sides.get("gatebook") if row in outcomes else None


def added_p50_ms(outcomes: Outcomes) -> float | None:
    """The gate's p50 less that of the upstream alone, at one connection. ms."""
    sides = outcomes["clean-1k-c1"].sides if "clean-1k-c1" in outcomes else {}
    if "gatebook" not in sides or "direct" not in sides:
        return None
    return (sides["gatebook"].middle("p50_us") - sides["direct"].middle("p50_us")) / 1000


def two_commits_ms(outcomes: Outcomes) -> float | None:
    found = _extra("clean-1k-c1", "fdatasync_p50_us")(outcomes)
    return None if found is None else 2 * found / 1000


def triggered_us_per_kib(outcomes: Outcomes) -> float | None:
    """CPU of a whole call whose 200 KiB are all ids and timestamps, for each KiB: inspection, recording and copying together."""
    side = _gate(outcomes, "ids-200k-c32")
    return None if side is None else side.middle("cpu_us") / 200


def rss_mib(outcomes: Outcomes) -> float | None:
    """The larger of idle and under 32 connections."""
    side = _gate(outcomes, REFERENCE)
    return None if side is None else max(side.rss_idle_mib, side.middle("rss_mib"))


BARS: Final[tuple[Bar, ...]] = (
    Bar(what="1 KB c=32 / nginx", row=REFERENCE, must=0.22, good=0.28, higher=True, unit="×", value=_against(REFERENCE, "nginx")),
    Bar(what="1 KB c=32 / Envoy", row=REFERENCE, must=0.8, good=1.1, higher=True, unit="×", value=_against(REFERENCE, "envoy")),
    Bar(what="1 KB c=256 / nginx", row="clean-1k-c256", must=0.35, good=0.5, higher=True, unit="×", value=_against("clean-1k-c256", "nginx")),
    Bar(what="1 KB c=256 / Envoy", row="clean-1k-c256", must=1.5, good=2.5, higher=True, unit="×", value=_against("clean-1k-c256", "envoy")),
    Bar(what="200 KB c=32 / Envoy", row="clean-200k-c32", must=0.15, good=0.3, higher=True, unit="×", value=_against("clean-200k-c32", "envoy")),
    Bar(what="1 KB c=32 / FastMCP proxy", row=REFERENCE, must=200, good=400, higher=True, unit="×", value=_against(REFERENCE, "fastmcp")),
    Bar(what="added p50 at c=1: 2 × fdatasync and", row="clean-1k-c1", must=0.35, good=0.2, higher=False, unit="ms", value=added_p50_ms, over=two_commits_ms),
    Bar(what="TLS on both hops c=32 / Envoy with TLS", row="tls-1k-c32", must=0.7, good=1.0, higher=True, unit="×", value=_against("tls-1k-c32", "envoy")),
    Bar(what="p99 at 70 % load, 1 KB c=32 / Envoy's", row=REFERENCE, must=2.0, good=1.2, higher=False, unit="×", value=_paced(REFERENCE)),
    Bar(what="triggered but clean bodies, 200 KB", row="ids-200k-c32", must=30, good=10, higher=False, unit="µs/KB", value=triggered_us_per_kib),
    Bar(what="RSS of the worker, idle and c=32", row=REFERENCE, must=80, good=50, higher=False, unit="MiB", value=rss_mib),
    Bar(what="1,000 roles against 1, warm: loss", row="roles-1000", must=10, good=3, higher=False, unit="%", value=_extra("roles-1000", "loss_percent")),
    Bar(what="one stalled upstream: others' p99", row="stalled-1-of-10", must=20, good=5, higher=False, unit="%", value=_extra("stalled-1-of-10", "p99_rise_percent")),
    Bar(what="sealer alone on a core", row="sealer-alone", must=20_000, good=50_000, higher=True, unit="entries/s", value=_extra("sealer-alone", "entries_per_s")),
    Bar(what="sealer behind, up to 2,000 calls/s", row="sealer-behind", must=1.0, good=0.5, higher=False, unit="s", value=_extra("sealer-behind", "behind_s")),
)  # fmt: skip
