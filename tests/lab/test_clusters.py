"""Clusters of sleep times are told; noise, tails and widths are not taken for clusters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nanonap.lab.stats.clusters import LEAST_SHARE, find_clusters
from nanonap.lab.stats.resampling import Numbers

US = 1_000
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 3_000)


def _ordered(values: Numbers) -> NDArray[np.int64]:
    return np.sort(np.maximum(values, 1).astype(np.int64))


@settings(max_examples=150, derandomize=True)
@given(seeds, sizes, st.floats(0.0001, 1.5), st.integers(50 * US, 10**9))
def test_one_noisy_cluster_is_one_cluster(seed: int, size: int, width: float, median: int) -> None:
    values = median * np.random.default_rng(seed).lognormal(0, width, size)
    (cluster,) = find_clusters(_ordered(values))
    assert cluster.share == 1
    assert values.min() * 0.99 <= cluster.at_ns <= values.max() * 1.01


@settings(max_examples=60, derandomize=True)
@given(seeds, st.integers(200, 3_000))
def test_a_hard_edge_with_a_long_tail_is_one_cluster(seed: int, size: int) -> None:
    # What a timer gives: nothing before the deadline, then fewer and fewer.
    values = 100 * US + np.random.default_rng(seed).exponential(20 * US, size)
    assert len(find_clusters(_ordered(values))) == 1


@settings(max_examples=60, derandomize=True)
@given(seeds, st.integers(200, 3_000), st.floats(0.2, 0.8))
def test_two_clear_clusters_are_told_with_their_places_and_shares(seed: int, size: int, share: float) -> None:
    dice = np.random.default_rng(seed)
    first = round(size * share)
    values = np.concatenate([dice.normal(120 * US, 2 * US, first), dice.normal(1_100 * US, 20 * US, size - first)])
    near, far = find_clusters(_ordered(values))
    assert [near.at_ns, far.at_ns] == pytest.approx([120 * US, 1_100 * US], rel=0.03)
    assert [near.share, far.share] == pytest.approx([first / size, 1 - first / size])


def test_two_near_clusters_are_told_apart_beside_a_far_one() -> None:
    dice = np.random.default_rng(3)
    values = np.concatenate([dice.normal(centre * US, 1 * US, 500) for centre in (100, 120, 1_100)])
    assert [round(cluster.at_ns / US, -1) for cluster in find_clusters(_ordered(values))] == [100, 120, 1_100]


def test_a_few_samples_apart_are_a_tail_and_no_cluster() -> None:
    dice = np.random.default_rng(4)
    few = int(1_000 * LEAST_SHARE) - 10
    values = np.concatenate([dice.normal(120 * US, 2 * US, 1_000 - few), dice.normal(1_100 * US, 20 * US, few)])
    assert len(find_clusters(_ordered(values))) == 1


@pytest.mark.parametrize("values", [[7], [5, 9], [100_000] * 500, [0] * 30, [100_000] * 400 + [100_001] * 100])
def test_few_or_equal_samples_are_one_mode(values: list[int]) -> None:
    (cluster,) = find_clusters(np.array(values))
    assert values[0] - 1 <= cluster.at_ns <= values[-1] + 1


def test_a_comb_of_values_that_repeat_is_one_cluster() -> None:
    # A plateau: its ripples are all of one height.
    assert len(find_clusters(np.repeat(np.arange(1_080, 1_098) * US, 12))) == 1
