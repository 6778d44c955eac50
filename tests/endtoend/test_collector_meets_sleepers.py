"""While goroutines sleep in the new code, the garbage collector scans their stacks and finds what it must.

Other releases and build modes: tests/trials/test_matrix.py.
"""

import pytest

from tests.endtoend.arms import PATCHES, RELEASES, Survivors
from tests.soon import soon


@pytest.mark.parametrize("go", soon(RELEASES, 0))
@pytest.mark.parametrize("variant", soon(tuple(PATCHES), list(PATCHES).index("netpoll+slack1"), long=(0,)))
def test_two_hundred_sleepers_live_through_five_seconds_of_collection(
    survivors: Survivors, variant: str, go: str
) -> None:
    figures = survivors(variant, go).figures("-mode", "gc", "-for", "5s", "-sleepers", "200")
    assert figures["gcs"] > 0


# What makes the runtime look harder (runtime/extern.go): mark a second time with the world stopped and compare; mark
# with the world stopped; write over what is freed, so that a pointer missed is a pointer to garbage; and no
# preemption by signals. GOGC=1 lets every few allocations start a collection.
RUNTIME_CHECKS = ("gccheckmark=1", "gcstoptheworld=1", "clobberfree=1", "clobberfree=1,asyncpreemptoff=1")


@pytest.mark.parametrize("checks", RUNTIME_CHECKS)
@pytest.mark.parametrize("go", soon(RELEASES, 0))
@pytest.mark.parametrize("variant", ["netpoll", "sleep"])
def test_the_runtimes_own_checks_find_nothing(survivors: Survivors, variant: str, go: str, checks: str) -> None:
    settings = {"GOGC": "1", "GODEBUG": checks + ",invalidptr=1"}
    figures = survivors(variant, go).figures("-mode", "gc", "-for", "1s", **settings)
    assert figures["gcs"] > 0


@pytest.mark.parametrize("go", soon(RELEASES, 0))
@pytest.mark.parametrize("variant", PATCHES)
def test_stacks_grow_shrink_and_move_around_sleeps(survivors: Survivors, variant: str, go: str) -> None:
    figures = survivors(variant, go).figures("-mode", "grow", "-for", "1s", GOGC="1", GODEBUG="clobberfree=1")
    assert figures["moved"] > 0
