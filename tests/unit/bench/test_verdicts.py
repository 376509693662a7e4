"""What the bench makes of its figures: ratios between rounds, verdicts, and when a run says nothing."""

import pytest

from bench import bars, report
from bench.figures import Outcome, Round, Side, paced_ratio, ratio
from bench.rows import NIGHTLY, ROWS, chosen
from bench.sealing import behind_s


def a_round(calls_per_s: float, **figures: float) -> Round:
    fields = {"p50_us": 1.0, "p99_us": 2.0, "cpu_us": 10.0, "rss_mib": 40.0, "busy": 1.0, "load_busy": 0.5}
    return Round(calls_per_s=calls_per_s, **{**fields, **figures})


def a_side(*calls_per_s: float, **figures: float) -> Side:
    return Side(rounds=tuple(a_round(rate, **figures) for rate in calls_per_s))


def the_reference(**sides: Side) -> dict[str, Outcome]:
    return {bars.REFERENCE: Outcome(row=bars.REFERENCE, sides=sides)}


def test_a_ratio_compares_what_ran_in_the_same_round():
    """The machine halves in the second round for both; the medians of the sides alone would say 1.5."""
    sides = {"gatebook": a_side(10, 5, 5), "nginx": a_side(20, 10, 10)}
    assert ratio(sides, "gatebook", "nginx") == 0.5
    sides = {"gatebook": a_side(10, 30, 10), "nginx": a_side(10, 10, 30)}
    assert ratio(sides, "gatebook", "nginx") == 1


def test_there_is_no_ratio_without_the_other_or_with_nothing_done():
    assert ratio({"gatebook": a_side(1)}, "gatebook", "nginx") is None
    assert ratio({"gatebook": a_side(1), "nginx": a_side(0)}, "gatebook", "nginx") is None
    assert paced_ratio({"gatebook": a_side(1), "envoy": a_side(1)}, "gatebook", "envoy") is None


def test_the_paced_ratio_is_of_p99_at_each_ones_own_load():
    sides = {
        "gatebook": Side(rounds=(), paced_p99_us=(900, 300, 400)),
        "envoy": Side(rounds=(), paced_p99_us=(300, 300, 100)),
    }
    assert paced_ratio(sides, "gatebook", "envoy") == 3


@pytest.mark.parametrize(
    ("reached", "higher", "verdict"),
    [(0.28, True, "good"), (0.2799, True, "must"), (0.22, True, "must"), (0.2199, True, "missed"), (None, True, "not measured"),
     (0.22, False, "good"), (0.28, False, "must"), (0.2801, False, "missed")],
)  # fmt: skip
def test_a_bar_is_reached_at_its_own_value(reached: float | None, higher: bool, verdict: str):
    must, good = (0.22, 0.28) if higher else (0.28, 0.22)
    assert bars.verdict(reached, must, good, higher=higher) == verdict


def test_every_bar_stands_on_a_row_that_there_is():
    assert {bar.row for bar in bars.BARS} <= {row.name for row in ROWS}


def test_every_bar_finds_its_figure_in_a_whole_run():
    """A misspelt row or figure would read as `not measured` for ever."""
    paced = Side(rounds=(a_round(10),), paced_p99_us=(5.0,))
    sides = dict.fromkeys(("nginx", "envoy", "gatebook", "fastmcp", "direct"), paced)
    names = "loss_percent p99_rise_percent entries_per_s behind_s fdatasync_p50_us".split()
    outcomes = {row.name: Outcome(row=row.name, sides=sides, extra=dict.fromkeys(names, 1.0)) for row in ROWS}
    assert [bar.what for bar in bars.BARS if bars.judge(bar, outcomes).reached is None] == []
    assert [bar.what for bar in bars.BARS if bars.judge(bar, {}).verdict != "not measured"] == []


def test_a_void_row_reaches_no_bar():
    outcome = Outcome(row=bars.REFERENCE, sides={"gatebook": a_side(9), "nginx": a_side(1)}, void="an answer was wrong")
    assert bars.judge(bars.BARS[0], {bars.REFERENCE: outcome}).verdict == "not measured"


def test_what_a_call_may_add_stands_on_two_commits_of_this_disk():
    sides = {"gatebook": a_side(1, p50_us=690.0), "direct": a_side(1, p50_us=50.0)}
    outcomes = {"clean-1k-c1": Outcome(row="clean-1k-c1", sides=sides, extra={"fdatasync_p50_us": 150.0})}
    judged = bars.judge(next(bar for bar in bars.BARS if bar.over is not None), outcomes)
    assert (judged.reached, judged.must, judged.good) == (pytest.approx(0.64), pytest.approx(0.65), pytest.approx(0.5))
    assert judged.verdict == "must"


def test_a_run_in_which_envoy_was_held_up_is_void():
    assert bars.void_run(the_reference(nginx=a_side(100), envoy=a_side(24))) is not None
    assert bars.void_run(the_reference(nginx=a_side(100), envoy=a_side(25))) is None
    assert bars.void_run({}) is None


def test_the_report_names_every_server_and_every_void_row():
    outcomes = the_reference(nginx=a_side(100), envoy=a_side(50), gatebook=a_side(25))
    outcomes["clean-1k-c1"] = Outcome(row="clean-1k-c1", void="an answer was wrong")
    table = report.table(outcomes)
    assert "| clean-1k-c32 | gatebook | 25 |" in table and "| 0.25 | 0.50 |" in table
    assert "| clean-1k-c1 | **void** |" in table
    assert "clean-1k-c1 is void: an answer was wrong" in report.extras(outcomes)


@pytest.mark.parametrize(
    ("reached", "must", "good", "higher", "shown"),
    [(0.698, 0.7, 1.0, True, "| ≥ 0.7 | ≥ 1 | 0.698 × | missed |"), (0.69996, 0.7, 1.0, True, "| ≥ 0.7 | ≥ 1 | 0.69996 × | missed |"),
     (0.6912, 0.7, 1.0, True, "| ≥ 0.7 | ≥ 1 | 0.69 × | missed |"), (0.7, 0.7, 1.0, True, "| ≥ 0.7 | ≥ 1 | 0.7 × | must |"),
     (0.998, 0.7, 1.0, True, "| ≥ 0.7 | ≥ 1 | 0.998 × | must |"), (199.7, 200, 400, True, "| ≥ 200 | ≥ 400 | 199.7 × | missed |"),
     (12_345.6, 200, 400, True, "| ≥ 200 | ≥ 400 | 12,346 × | good |"), (2.004, 2.0, 1.2, False, "| ≤ 2 | ≤ 1.2 | 2.004 × | missed |"),
     (0.6424, 0.6381, 0.5, False, "| ≤ 0.638 | ≤ 0.5 | 0.642 × | missed |"), (100.04, 100, 50, False, "| ≤ 100 | ≤ 50 | 100.04 × | missed |"),
     (None, 0.7, 1.0, True, "| ≥ 0.7 | ≥ 1 | – | not measured |")],
)  # fmt: skip
def test_figures_show_why_a_bar_is_missed(reached: float | None, must: float, good: float, higher: bool, shown: str):
    """Rounded as elsewhere, 0.698 would stand as 0.7 against a bar of 0.7 that it missed."""
    verdict = bars.verdict(reached, must, good, higher=higher)
    one = bars.Judged(what="a bar", must=must, good=good, higher=higher, unit="×", reached=reached, verdict=verdict)
    assert report.verdicts([one]).splitlines()[-1] == f"| a bar {shown}"


def test_what_makes_a_run_void_is_seen_in_its_figure():
    assert "0.248 × nginx, less than 0.25" in str(bars.void_run(the_reference(nginx=a_side(1000), envoy=a_side(248))))


def test_rows_are_chosen_by_pattern_and_a_misspelt_one_is_an_error():
    assert [row.name for row in chosen("clean-1k-c1,tls*")] == ["clean-1k-c1", "tls-1k-c32"]
    assert chosen("*") == ROWS
    assert [row.name for row in chosen("workers-2", NIGHTLY)] == ["workers-2"]
    with pytest.raises(ValueError, match="no row is called 'clean1k'"):
        chosen("tls*,clean1k")


def test_the_sealer_is_as_far_behind_as_the_oldest_entry_that_is_not_sealed():
    """100 entries a second from instant 10 to 12. At 11 forty are sealed: the next came at 10.4. At 13 all of them are."""
    seen = [(10.2, 5), (11.0, 45), (12.5, 105), (13.0, 205), (14.0, 205)]
    assert behind_s(seen, 5, 10.0, 12.0, 100.0) == pytest.approx(12.5 - 11.0)
    assert behind_s([(9.0, 5), (20.0, 205)], 5, 10.0, 12.0, 100.0) == 0


def test_a_run_on_a_busy_machine_says_so():
    assert report.restless(the_reference(gatebook=a_side(1, busy=0.9), envoy=a_side(1, busy=0.79))).startswith(
        "NOT AT REST"
    )
    assert report.restless(the_reference(gatebook=a_side(1, busy=0.9), fastmcp=a_side(1, busy=0.1))) == ""
