"""The model: hand-computed values, what must hold of any quota, the kernel's own figures, and how they are compared."""

import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import QuotaUnavailable
from bench.model import GRANULARITY_NS, Prediction, Sleeper, back_to_back, predict
from bench.model_compare import HIT_LATE_NS, compare_lateness, compare_stalls
from bench.predict import own_table, prediction_table, predictions_json, run_predict, show_predictions
from bench.quota.base import Backend, Throttling
from bench.quota.limits import Limits, Quota, parse_quota
from bench.quota.sampler import Sampler
from bench.quota.series import whole_periods
from nanonap.errors import UsageError
from tests.conftest import BuildProgram

UNHURRIED = settings(deadline=None)
MS = 1_000_000
HALF = Quota(50 * MS, 100 * MS)


def whole_us(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least // 1_000, most // 1_000).map(lambda us: us * 1_000)


@st.composite
def quotas(draw: st.DrawFn) -> Quota:
    period_ns = draw(whole_us(1 * MS, 1_000 * MS))
    quota_ns = draw(whole_us(1 * MS, 8 * period_ns))
    return Quota(quota_ns, period_ns, draw(whole_us(0, quota_ns)))


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    threads, cpus = draw(st.integers(0, 50)), draw(st.integers(1, 16))
    return predict(draw(quotas()), threads, cpus, draw(st.none() | st.integers(1, 16)), draw(whole_us(0, 10 * MS)))


@pytest.mark.parametrize(
    ("quota", "threads", "cpus", "stall_ms", "hit", "late_mean_ms"),
    [
        ("50%", 1, 1, 50, 0.5, 12.5),
        ("50%", 2, 2, 75, 0.75, 28.125),
        ("20%/10ms", 1, 2, 8, 0.8, 3.2),
        ("150%/20ms", 2, 2, 5, 0.25, 0.625),
        ("100m", 1, 4, 90, 0.9, 40.5),
        ("50%", 0, 2, 0, 0, 0),
        ("100%", 1, 1, 0, 0, 0),
        ("2cpu", 2, 2, 0, 0, 0),
        ("none", 8, 2, 0, 0, 0),
    ],
)
def test_stall_hit_and_lateness_are_those_computed_by_hand(
    quota: str, threads: int, cpus: int, stall_ms: float, hit: float, late_mean_ms: float
) -> None:
    made = predict(parse_quota(quota), threads, cpus)
    assert made.stall_ns == stall_ms * MS
    assert made.run_ns == made.quota.period_ns - made.stall_ns
    assert made.hit_probability == pytest.approx(hit)
    assert made.late_mean_ns == late_mean_ms * MS
    assert made.throttled == (stall_ms > 0)


def test_threads_beyond_cpus_and_gomaxprocs_do_not_run_at_once() -> None:
    assert [predict(HALF, threads, cpus=2).busy for threads in (0, 1, 2, 3, 64)] == [0, 1, 2, 2, 2]
    assert predict(HALF, 64, cpus=8, gomaxprocs=3).busy == 3
    assert predict(HALF, 2, cpus=8, gomaxprocs=3).busy == 2


def test_quantiles_of_the_lateness_are_those_of_a_uniform_end() -> None:
    made, dice = predict(HALF, 2, cpus=2), np.random.default_rng(5)
    phase = dice.uniform(0, 100 * MS, 400_000)
    late = np.where(phase < 25 * MS, 0.0, 100 * MS - phase)
    assert late.mean() == pytest.approx(made.late_mean_ns, rel=0.01)
    for q in (0.1, 0.25, 0.5, 0.9, 0.99):
        assert np.quantile(late, q) == pytest.approx(made.late_quantile_ns(q), abs=0.3 * MS)
    assert (late > 10 * MS).mean() == pytest.approx(made.late_probability(10 * MS), abs=0.005)


@UNHURRIED
@given(predictions())
def test_probabilities_are_probabilities_and_times_fit_the_period(made: Prediction) -> None:
    assert 0 <= made.hit_probability <= 1
    assert 0 <= made.stall_ns <= made.quota.period_ns
    shortest, longest = made.stall_range_ns
    assert 0 <= shortest <= made.stall_ns <= longest
    low, high = made.late_mean_range_ns
    assert 0 <= low <= made.late_mean_ns <= high
    assert made.late_mean_ns <= made.stall_ns / 2 + 1
    assert (made.first_stall_after_ns is None) == (not made.throttled) == (made.stall == 0)
    steps = [made.late_quantile_ns(q) for q in (0, 0.25, 0.5, 0.9, 0.99, 1)]
    assert steps == sorted(steps)
    assert steps[-1] == made.stall_ns
    assert json.loads(json.dumps(made.to_json()))["stall_ns"] == made.stall_ns


@UNHURRIED
@given(predictions(), whole_us(1_000, 100 * MS))
def test_more_quota_never_stalls_more_and_more_threads_never_less(made: Prediction, more_ns: int) -> None:
    quota = made.quota
    assert quota.quota_ns is not None
    richer = predict(Quota(quota.quota_ns + more_ns, quota.period_ns), made.threads, made.cpus, made.gomaxprocs)
    busier = predict(quota, made.threads + 1, made.cpus, made.gomaxprocs)
    assert richer.stall <= made.stall <= busier.stall
    assert richer.hit_probability <= made.hit_probability <= busier.hit_probability
    assert richer.late_mean_ns <= made.late_mean_ns <= busier.late_mean_ns


@UNHURRIED
@given(predictions(), st.integers(2, 20))
def test_stretching_all_times_stretches_stalls_and_keeps_probabilities(made: Prediction, factor: int) -> None:
    quota = made.quota
    assert quota.quota_ns is not None
    longer = Quota(quota.quota_ns * factor, quota.period_ns * factor, quota.burst_ns * factor)
    stretched = Prediction(longer, made.threads, made.cpus, made.gomaxprocs, made.granularity_ns * factor)
    assert stretched.stall == made.stall * factor
    assert stretched.hit_probability == pytest.approx(made.hit_probability)
    assert stretched.stall_range_ns[1] == pytest.approx(made.stall_range_ns[1] * factor, abs=factor)


@UNHURRIED
@given(quotas(), st.integers(1, 16), st.integers(2, 8))
def test_only_the_quota_for_each_cpu_counts(quota: Quota, busy: int, factor: int) -> None:
    assert quota.quota_ns is not None
    more = Quota(quota.quota_ns * factor, quota.period_ns)
    assert predict(more, busy * factor, busy * factor).stall == predict(quota, busy, busy).stall


@UNHURRIED
@given(predictions())
def test_burst_delays_the_first_stall_as_a_simulation_of_the_refills_does(made: Prediction) -> None:
    plain = predict(Quota(made.quota.quota_ns, made.quota.period_ns), made.threads, made.cpus, made.gomaxprocs)
    assert plain.stall == made.stall
    if made.first_stall_after_ns is None or made.first_stall_after_ns > 2_000 * made.quota.period_ns:
        return
    assert made.quota.quota_ns is not None
    wanted, elapsed, pool = made.busy * made.quota.period_ns, 0, made.quota.quota_ns + made.quota.burst_ns
    while pool >= wanted:
        pool = min(pool - wanted + made.quota.quota_ns, made.quota.quota_ns + made.quota.burst_ns)
        elapsed += made.quota.period_ns
    assert made.first_stall_after_ns == pytest.approx(elapsed + pool / made.busy, abs=1)


def test_burst_of_the_whole_quota_saves_a_half_loaded_group_one_stall() -> None:
    assert predict(Quota(50 * MS, 100 * MS, 50 * MS), 1, cpus=1).first_stall_after_ns == 150 * MS
    assert predict(HALF, 1, cpus=1).first_stall_after_ns == 50 * MS


def test_where_a_tick_takes_more_than_the_quota_stalls_may_take_whole_periods() -> None:
    assert predict(parse_quota("50%"), 1, 1).stall_range_ns == (45 * MS, 55 * MS)
    assert predict(parse_quota("1%"), 1, 1, granularity_ns=4 * MS).stall_range_ns == (95 * MS, (5 * 99 + 4) * MS)


def test_a_sleeper_alone_is_stretched_only_where_its_own_wake_ups_need_more_than_the_quota() -> None:
    sleeper = Sleeper(sleep_ns=100_000, wake_cpu_ns=25_000)
    little, enough = (predict(parse_quota(text), 0, 1, sleeper=sleeper) for text in ("1%", "50%"))
    assert (enough.own_share, enough.own_stretch) == (0.4, 1.0)
    assert (little.own_share, little.own_stretch) == (20.0, 20.0)
    # 20 × 125 µs for each wake-up of 25 µs is 1 % of a CPU.
    assert 25_000 / (20 * 125_000) == 0.01
    assert predict(parse_quota("1%"), 0, 1).own_share is None
    assert predict(Quota(), 0, 1, sleeper=sleeper).own_stretch is None


@UNHURRIED
@given(quotas(), st.integers(1, 8), whole_us(50_000, 300 * MS))
def test_sleeps_back_to_back_repeat_from_stall_to_stall(quota: Quota, busy: int, sleep_ns: int) -> None:
    made = predict(quota, busy, busy)
    round_ = back_to_back(made, sleep_ns)
    assert 0 <= round_.hit_probability <= 1
    assert 0 <= round_.late_mean_ns <= made.stall_ns * round_.hit_probability + 1
    if round_.hit_probability == 0:
        return
    # A round takes whole periods.
    sleeps = round(1 / round_.hit_probability)
    whole = (sleeps * sleep_ns + round_.late_mean_ns * sleeps) / quota.period_ns
    assert whole == pytest.approx(round(whole), abs=1e-6)


def test_sleeps_back_to_back_by_hand() -> None:
    made = predict(HALF, 1, cpus=1)
    short = back_to_back(made, 20 * MS)  # ends at 20, 40, 60: late by 40
    assert short.hit_probability == pytest.approx(1 / 3)
    assert short.late_mean_ns == pytest.approx(40 * MS / 3)
    assert back_to_back(made, 100 * MS).hit_probability == 0
    assert back_to_back(predict(HALF, 0, cpus=1), 20 * MS).hit_probability == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"quota": Quota(999_000, 100 * MS)}, "1ms at least"),
        ({"quota": Quota(MS, 999_000)}, "1ms to 1s"),
        ({"quota": Quota(MS, 1_001 * MS)}, "1ms to 1s"),
        ({"quota": Quota(MS, 100 * MS, 2 * MS)}, "up to the quota"),
        ({"threads": -1}, "threads"),
        ({"cpus": 0}, "CPUs"),
        ({"gomaxprocs": 0}, "GOMAXPROCS"),
        ({"granularity_ns": -1}, "granularity"),
        ({"sleeper": Sleeper(0, 1)}, "a sleep"),
        ({"sleeper": Sleeper(1, 0)}, "wake-up"),
        ({"sleeper": Sleeper(1, 1, 0)}, "sleepers"),
    ],
    ids=str,
)
def test_what_the_kernel_or_the_model_would_not_take_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        predict(**{"quota": HALF, "threads": 1, **arguments})


def stalls(prediction: Prediction, stall_ms: list[float], periods: int = 100, used: float = 1.0) -> list[Throttling]:
    """Runs in which each CPU stood still for so long in a period, and ``used`` of the quota was used."""
    usage = round((prediction.quota.quota_ns or 0) * periods * used)
    return [
        Throttling(periods, periods, round(each * MS * periods * prediction.busy), 0, 0, usage) for each in stall_ms
    ]


def test_stalls_agree_or_differ_by_the_data() -> None:
    made = predict(HALF, 2, cpus=2)
    right = compare_stalls(made, stalls(made, [74.5, 75.2, 75.4]), seed=1)
    assert (right.outcome, right.runs, right.predicted) == ("agrees", 3, 75 * MS)
    assert right.measured == pytest.approx(75.03 * MS, rel=0.001)
    wrong = compare_stalls(made, stalls(made, [50.0, 51.0, 49.0]), seed=1)
    assert wrong.outcome == "differs"
    assert "predicted 75.0 ms" in wrong.sentence
    assert "measured 50.0 ms" in wrong.sentence
    assert "waited for a CPU" in wrong.sentence
    assert "more threads" in compare_stalls(made, stalls(made, [90.0, 91.0]), seed=1).sentence
    # What a period and the granularity, over 100 periods, leave open.
    slack = (made.quota.period_ns + GRANULARITY_NS) / 100
    assert right.predicted_range == pytest.approx((75 * MS - slack, 75 * MS + slack))
    assert json.loads(json.dumps(wrong.to_json()))["outcome"] == "differs"


def test_no_stall_where_one_is_measured_differs() -> None:
    made = predict(parse_quota("2cpu"), 2, cpus=2)
    assert compare_stalls(made, stalls(made, [0.0, 0.0]), seed=1).outcome == "agrees"
    assert compare_stalls(made, stalls(made, [1.0, 1.1]), seed=1).outcome == "differs"


def test_what_does_not_meet_the_models_terms_is_not_judged() -> None:
    made = predict(HALF, 1, cpus=1)
    idle = compare_stalls(made, stalls(made, [10.0, 11.0], used=0.4), seed=1)
    assert (idle.outcome, idle.measured) == ("cannot be told", None)
    assert "used 41% of its quota" in idle.sentence
    few = compare_stalls(made, stalls(made, [50.0, 50.0], periods=2), seed=1)
    assert few.outcome == "cannot be told"
    one = compare_stalls(made, stalls(made, [50.0]), seed=1)
    assert (one.outcome, one.measured_interval) == ("cannot be told", None)
    assert "one run" in one.sentence
    assert compare_stalls(predict(HALF, 0, 1), stalls(made, [0.0, 0.0]), seed=1).outcome == "cannot be told"
    assert compare_stalls(made, [], seed=1).outcome == "cannot be told"
    assert [each.outcome for each in compare_lateness(made, [], seed=1)] == ["cannot be told"] * 2


def late_runs(stall_ms: float, period_ms: float, runs: int = 6) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    dice = np.random.default_rng(7)
    phases = dice.uniform(0, period_ms, (runs, 800))
    return [np.maximum(0, (stall_ms - phase) * MS).astype(np.int64) for phase in phases]


def test_lateness_agrees_or_differs_by_the_data() -> None:
    made = predict(HALF, 2, cpus=2)
    assert [each.outcome for each in compare_lateness(made, late_runs(75, 100), seed=1)] == ["agrees", "agrees"]
    hit, mean = compare_lateness(made, late_runs(40, 100), seed=1)
    assert (hit.outcome, mean.outcome) == ("differs", "differs")
    assert hit.predicted == pytest.approx(0.75 - HIT_LATE_NS / (100 * MS))
    assert "%" in hit.sentence


def test_a_sleeper_that_may_escape_can_be_late_less_but_not_more() -> None:
    made = predict(HALF, 1, cpus=2)
    assert made.may_escape
    assert not predict(HALF, 2, cpus=2).may_escape
    assert [each.outcome for each in compare_lateness(made, late_runs(20, 100), seed=1)] == ["agrees", "agrees"]
    assert [each.outcome for each in compare_lateness(made, late_runs(70, 100), seed=1)] == ["differs", "differs"]


BURN = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
#: Of the wall time, spent neither running nor throttled: others had the CPU, and the model does not know of them.
MOST_WAITED = 0.1
ATTEMPTS = 4


def burnt(backend: Backend, quota: Quota, program: Path) -> tuple[Throttling | None, float, float]:
    """A busy thread in a group that goes before others: what was counted in whole periods, wall time, and the wait for
    a CPU.

    Both times in ns, of the whole run: running, throttled and waiting are all that there is.
    """
    with backend.open(Limits(quota, weight=10_000)) as group:
        if group.stat_files is None:
            pytest.skip(f"needs a backend whose counters this host shows, and {backend.name} does not")
        with Sampler(group.stat_files, program) as sampler:
            cpu_s, start_ns = children_cpu_s(), time.monotonic_ns()
            subprocess.run(group.command([sys.executable, "-c", BURN, "1.0"]), check=True)
            wall_ns, cpu_s = time.monotonic_ns() - start_ns, children_cpu_s() - cpu_s
        counted = group.counters()
    assert counted is not None
    return whole_periods(sampler.stop()), wall_ns, wall_ns - cpu_s * 1e9 - counted.throttled_ns


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("text", ["50%", "20%/50ms"])
def test_the_kernel_throttles_a_busy_thread_as_the_model_says(
    backend: Backend, build_program: BuildProgram, text: str
) -> None:
    quota, waits = parse_quota(text), []
    for _ in range(ATTEMPTS):
        try:
            counted, wall_ns, waited_ns = burnt(backend, quota, build_program("statsampler"))
        except QuotaUnavailable as refusal:
            pytest.skip(f"needs a backend with a CPU weight: {refusal}")
        waits.append(waited_ns / wall_ns)
        if waits[-1] <= MOST_WAITED:
            break
    else:
        shares = ", ".join(f"{each:.0%}" for each in waits)
        pytest.skip(f"needs a CPU that others leave alone: the thread waited {shares} of the time; run it alone")
    assert counted is not None
    assert counted.nr_periods >= 5
    measured_ns = counted.throttled_ns / counted.nr_periods

    def explains(made: Prediction) -> bool:
        # What the thread waited for a CPU it did not stand still.
        off = made.granularity_ns / counted.nr_periods
        return made.stall_ns - off - waited_ns / counted.nr_periods <= measured_ns <= made.stall_ns + off

    assert quota.quota_ns is not None
    assert explains(predict(quota, 1, cpus=2)), (measured_ns, waits)
    for wrong in (quota.quota_ns // 2, quota.quota_ns * 2):
        assert not explains(predict(Quota(wrong, quota.period_ns), 1, cpus=2)), (measured_ns, waits)


def test_the_command_predicts_every_quota_with_every_number_of_threads() -> None:
    made = run_predict("50%, 20%/10ms,50%", "1,2", cpus=2)
    assert [(str(each.quota), each.threads) for each in made] == [
        ("50%", 1),
        ("50%", 2),
        ("20%/10ms", 1),
        ("20%/10ms", 2),
    ]
    document = json.loads(json.dumps(predictions_json(made)))
    assert document["schema"] == 1
    assert document["predictions"][1]["stall_ns"] == 75 * MS


def test_the_table_shows_what_was_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    made = run_predict("50%+burst=50ms,none,1%", "1", cpus=2, gomaxprocs=1, sleep="100us", wake_cpu="25us", sleepers=3)
    show_predictions(made)
    shown = capsys.readouterr().out
    for text in ("50%+burst=50ms", "50.0 ms", "never", "12.5 ms", "GOMAXPROCS 1", "150 ms", "upper bounds", "60.0 ×"):
        assert text in shown, text
    for table in (prediction_table(made), own_table(made)):
        assert {len(row) for section in table.sections for row in section.rows} == {len(table.columns)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quota": "50%/2s"}, "1ms to 1s"),
        ({"quota": ","}, "--quota is empty"),
        ({"quota": "50%", "threads": "two"}, "--threads two"),
        ({"quota": "50%", "threads": "-1"}, "--threads -1"),
        ({"quota": "50%", "threads": "1000000"}, "threads"),
        ({"quota": "50%", "sleep": "1ms"}, "--wake-cpu"),
        ({"quota": "50%", "sleepers": 3}, "--sleep"),
        ({"quota": "50%", "threads": ",".join(map(str, range(201)))}, "at most 200"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_predict(**options)


def test_the_plot_is_a_picture_and_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "model.png"
    run_predict("50%,20%/10ms,none", "0,1,2", cpus=2, plot=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_the_share_of_sleeps_hit_needs_no_period() -> None:
    shares = {predict(parse_quota(f"30%/{period}"), 1, 1).hit_probability for period in ("10ms", "50ms", "1s")}
    assert all(math.isclose(share, 0.7) for share in shares)
