"""The mean over hosts: against another program's figures, and against data whose truth is known."""

import math

import numpy as np
import pytest

from nanonap.lab.stats.hosts import pooled

#: The trials of BCG vaccination (Colditz et al. 1994; dat.bcg of R's metafor): cases and non-cases, vaccinated and not.
BCG = (
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
)  # fmt: skip


def test_the_variance_between_trials_is_the_one_that_metafor_finds() -> None:
    """Paule and Mandel's: 0.3181 (metafor's documentation of ``rma.uni``)."""
    effects = [math.log((a / (a + b)) / (c / (c + d))) for a, b, c, d in BCG]
    errors = [math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)) for a, b, c, d in BCG]
    found = pooled(effects, errors)
    assert found.between is not None
    assert found.between**2 == pytest.approx(0.3181, abs=5e-5)
    assert found.interval is not None
    assert found.interval[0] < found.mean < found.interval[1]


@pytest.mark.parametrize(("hosts", "between"), [(3, 0.1), (5, 0.0), (8, 0.2), (12, 0.05)])
def test_its_interval_of_95_percent_holds_the_truth_in_93_to_97_percent(hosts: int, between: float) -> None:
    random = np.random.default_rng(hosts)
    rounds, held = 2_000, 0
    for _ in range(rounds):
        errors = random.uniform(0.02, 0.08, hosts)
        effects = 1.0 + random.normal(0, between, hosts) + random.normal(0, errors)
        interval = pooled([*effects], [*errors]).interval
        assert interval is not None
        held += interval[0] <= 1.0 <= interval[1]
    assert 0.93 <= held / rounds <= 0.97


def test_without_errors_all_hosts_count_alike() -> None:
    found = pooled([1.0, 2.0, 3.0], [0.1, None, 0.1])
    assert (found.mean, found.between, found.hosts) == (2.0, 1.0, 3)
    assert found.interval == pytest.approx([2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)], abs=1e-5)


def test_one_host_says_nothing_of_others() -> None:
    assert (pooled([0.5], [0.1]).interval, pooled([0.5], [0.1]).between) == (None, None)


def test_hosts_that_agree_to_the_last_digit_have_a_mean() -> None:
    assert pooled([2.0, 2.0], [None, None]).interval == [2.0, 2.0]
