"""The CPU shares to ask a container engine for, so that a group gets a weight."""

import math
from bisect import bisect_left

# MIN_SHARES and MAX_SHARES in kernel/sched/sched.h; engines speak of shares on cgroup v2 too.
MIN_SHARES, MAX_SHARES = 2, 262_144
_SHARES_OF_WEIGHT_100 = 1024


def linear_weight(shares: int) -> int:
    """cpu.weight as runc before 1.3.2 and crun before 1.23 convert it (ConvertCPUSharesToCgroupV2Value)."""
    return 1 + (shares - MIN_SHARES) * 9_999 // (MAX_SHARES - MIN_SHARES)


def quadratic_weight(shares: int) -> int:
    """cpu.weight as later ones convert it (opencontainers/runc pull request 4785, containers/crun 1767)."""
    if shares in (MIN_SHARES, MAX_SHARES):
        return 1 if shares == MIN_SHARES else 10_000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def shares_for(weight: int, version: int) -> list[int]:
    """Shares that give the weight (1 … 10000) under cgroup v1 or v2; under v2 one for each conversion in use.

    Each conversion reaches every weight, so that one of the answers must give it exactly.
    """
    if version == 1:
        return [max(MIN_SHARES, round(weight * _SHARES_OF_WEIGHT_100 / 100))]
    every = range(MIN_SHARES, MAX_SHARES + 1)
    return [every[bisect_left(every, weight, key=convert)] for convert in (linear_weight, quadratic_weight)]
