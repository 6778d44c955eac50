"""The model: values computed by hand, and what must hold of any quota."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanonap.base.errors import UsageError
from nanonap.lab.model.model import Prediction, Sleeper, predict
from nanonap.lab.quota.limits import Quota, parse_quota

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


@given(predictions(), whole_us(1_000, 100 * MS))
def test_more_quota_never_stalls_more_and_more_threads_never_less(made: Prediction, more_ns: int) -> None:
    quota = made.quota
    assert quota.quota_ns is not None
    richer = predict(Quota(quota.quota_ns + more_ns, quota.period_ns), made.threads, made.cpus, made.gomaxprocs)
    busier = predict(quota, made.threads + 1, made.cpus, made.gomaxprocs)
    assert richer.stall <= made.stall <= busier.stall
    assert richer.hit_probability <= made.hit_probability <= busier.hit_probability
    assert richer.late_mean_ns <= made.late_mean_ns <= busier.late_mean_ns


@given(predictions(), st.integers(2, 20))
def test_stretching_all_times_stretches_stalls_and_keeps_probabilities(made: Prediction, factor: int) -> None:
    quota = made.quota
    assert quota.quota_ns is not None
    longer = Quota(quota.quota_ns * factor, quota.period_ns * factor, quota.burst_ns * factor)
    stretched = Prediction(longer, made.threads, made.cpus, made.gomaxprocs, made.granularity_ns * factor)
    assert stretched.stall == made.stall * factor
    assert stretched.hit_probability == pytest.approx(made.hit_probability)
    assert stretched.stall_range_ns[1] == pytest.approx(made.stall_range_ns[1] * factor, abs=factor)


@given(quotas(), st.integers(1, 16), st.integers(2, 8))
def test_only_the_quota_for_each_cpu_counts(quota: Quota, busy: int, factor: int) -> None:
    assert quota.quota_ns is not None
    more = Quota(quota.quota_ns * factor, quota.period_ns)
    assert predict(more, busy * factor, busy * factor).stall == predict(quota, busy, busy).stall


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
