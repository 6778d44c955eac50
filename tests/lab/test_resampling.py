"""Quantiles and intervals, against hand-computed values, NumPy and SciPy, and a brute-force bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nanonap.lab.stats.resampling import (
    RESAMPLES,
    interval,
    median_distribution,
    quantile,
    ratio_distribution,
    resample,
)

samples = st.lists(st.integers(1, 10**10), min_size=1, max_size=60)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = np.array([10, 20, 30, 40])
    assert [quantile(values, q) for q in (0.01, 0.25, 0.5, 0.75, 0.76, 0.99, 1.0)] == [10, 10, 20, 30, 40, 40, 40]


@given(samples, st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.99]))
def test_quantiles_are_numpys_inverted_cdf(values: list[int], q: float) -> None:
    ordered = np.sort(np.array(values))
    assert quantile(ordered, q) == np.quantile(ordered, q, method="inverted_cdf")


def test_the_bootstrap_resamples_runs_and_never_single_sleeps() -> None:
    # Two runs that disagree wholly: whichever is drawn, the median is one of the two, or the lower when both are.
    runs = [np.full(50, 100), np.full(50, 200)]
    drawn = median_distribution(runs, seed=1)
    assert drawn is not None
    assert drawn.shape == (RESAMPLES,)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [100, 200]
    # Both runs drawn (half the time) or the first twice (a quarter): 100; the second twice: 200.
    assert counts[0] / RESAMPLES == pytest.approx(0.75, abs=0.05)


def test_the_bootstrap_of_the_median_agrees_with_one_done_by_hand() -> None:
    dice = np.random.default_rng(5)
    runs = [np.sort(dice.lognormal(13, 0.2, dice.integers(5, 60)).astype(np.int64)) for _ in range(8)]
    by_hand = []
    for _ in range(RESAMPLES):
        pooled = np.sort(np.concatenate([runs[number] for number in dice.integers(0, 8, 8)]))
        by_hand.append(quantile(pooled, 0.5))
    drawn = median_distribution(runs, seed=2)
    assert drawn is not None
    assert stats.ks_2samp(drawn, by_hand).pvalue > 0.001
    assert interval(drawn) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]).tolist(), rel=0.02)


def test_a_run_with_very_many_samples_weighs_as_many_as_it_has() -> None:
    # 4,000 samples at 300 against four runs of 300 at 100: whenever the big run is drawn, it decides.
    runs = [np.full(4_000, 300), *[np.full(300, 100)] * 4]
    drawn = median_distribution(runs, seed=3)
    assert drawn is not None
    assert np.mean(drawn == 300) == pytest.approx(1 - (4 / 5) ** 5, abs=0.05)


def test_from_one_run_nothing_is_known_about_the_spread_between_runs() -> None:
    assert median_distribution([np.arange(1, 100)], seed=1) is None
    assert ratio_distribution([1.0], [1.0], seed=1) is None
    assert interval(None) is None


def test_the_interval_of_a_ratio_agrees_with_scipys_own() -> None:
    dice = np.random.default_rng(1)
    cpu, sleeps = dice.normal(1_000, 100, 12), np.full(12, 10.0)
    ours = interval(ratio_distribution(cpu.tolist(), sleeps.tolist(), seed=4))
    theirs = stats.bootstrap(
        (cpu / 10,), np.mean, n_resamples=20_000, method="percentile", rng=dice
    ).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], rel=0.02)


def test_the_same_data_give_the_same_interval() -> None:
    runs = [np.arange(1, 40) + 7 * shift for shift in range(5)]
    first, again, other = (median_distribution(runs, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)  # type: ignore[arg-type]
    assert not np.array_equal(first, other)  # type: ignore[arg-type]


def test_every_figure_of_the_pooled_runs_agrees_with_one_done_by_hand() -> None:
    dice = np.random.default_rng(6)
    runs = [np.sort(dice.lognormal(13, 0.2, dice.integers(5, 60)).astype(np.int64)) for _ in range(8)]
    drawn = resample(runs, (0.5, 0.9, 0.99), seed=7)
    assert drawn is not None
    pooled = [np.sort(np.concatenate([runs[each] for each in dice.integers(0, 8, 8)])) for _ in range(RESAMPLES)]
    pairs = [(drawn.quantiles[q], [quantile(each, q) for each in pooled]) for q in (0.5, 0.9, 0.99)]
    pairs += [(drawn.least, [each[0] for each in pooled]), (drawn.stdev, [each.std(ddof=1) for each in pooled])]
    assert [number for number, pair in enumerate(pairs) if stats.ks_2samp(*pair).pvalue < 0.001] == []


def test_figures_of_a_draw_belong_together() -> None:
    # Runs that are shifts of each other: whichever are drawn, p90 − p50 of equal runs is 40, of unlike ones more.
    runs = [np.arange(0, 101) + 1_000 * shift for shift in range(4)]
    drawn = resample(runs, (0.5, 0.9), seed=1)
    assert drawn is not None
    apart = drawn.quantiles[0.9] - drawn.quantiles[0.5]
    assert apart.min() == 40
    # Of figures from unlike draws, some would be less.
    assert np.min(drawn.quantiles[0.9] - drawn.quantiles[0.5][::-1]) < 0


def test_a_long_run_keeps_its_tail() -> None:
    runs = [np.sort(np.concatenate([np.full(98_900, 100), np.full(1_100, 900)])) for _ in range(3)]
    drawn = resample(runs, (0.5, 0.985, 0.99), seed=2)
    assert drawn is not None
    assert [set(each) for each in drawn.quantiles.values()] == [{100}, {100}, {900}]
