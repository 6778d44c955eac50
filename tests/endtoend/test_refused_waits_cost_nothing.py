"""Where a sandbox refuses epoll_pwait2 a patched program is no busier than stock: what it calls is stock's own call."""

import errno
import itertools
import random
import shutil
from pathlib import Path

import pytest

from nanonap.lab.stats.resampling import interval, ratio_distribution
from patcher import patch
from tests.conftest import BuildProgram
from tests.endtoend.counting import Counts, Rest, count

STATES = ("idle", "ticker", "timer", "socket")
RUNS = 6
WITHIN = 0.05
FEW = 200  # calls in ten seconds, from which shares say something: a far timer's vary from 5 to 60 by chance alone


@pytest.mark.long
def test_a_refused_program_calls_the_kernel_as_often_as_stock(build_program: BuildProgram, tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf counts system calls; install it (Debian: apt-get install linux-perf)")
    stock, patched = build_program("waits"), tmp_path / "waits"
    patch(stock, patched, "netpoll")
    refused = ("441", errno.ENOSYS)
    pairs = itertools.product(range(RUNS), STATES, (stock, patched))
    rests = [Rest(program, state, refused) for _run, state, program in pairs]
    # Shuffled: one program's timer interrupt ends another's long wait early, where epoll's slack allows it, and the
    # order would always favour the same one.
    random.Random(1).shuffle(rests)  # noqa: S311 - an order, no secret
    counts = list(zip(rests, count(rests, tmp_path), strict=True))
    for state in STATES:
        ours, theirs = ([each for rest, each in counts if rest == Rest(p, state, refused)] for p in (patched, stock))
        for what in ("system_calls", "switches"):
            assert_as_often(state, what, ours, theirs)


def assert_as_often(state: str, what: str, ours: list[Counts], theirs: list[Counts]) -> None:
    """The ratio's 95 % interval over runs must reach into ± 5 %; chance alone moves a run by more than that."""
    above, below = ([getattr(each, what) for each in side] for side in (ours, theirs))
    assert len(above) == len(below) == RUNS
    if max(sum(above), sum(below)) <= FEW * RUNS:
        return
    bounds = interval(ratio_distribution(above, below, seed=1))
    assert bounds is not None
    print(f"{state} {what}: {sum(above) / RUNS:.0f} against {sum(below) / RUNS:.0f}, {bounds} times stock")
    assert bounds[0] <= 1 + WITHIN, (state, what, above, below)
    assert bounds[1] >= 1 - WITHIN, (state, what, above, below)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_tenth_more_or_less_would_be_seen(factor: float) -> None:
    stock = [Counts(9000 + 100 * run, 4000) for run in range(RUNS)]
    other = [Counts(round(factor * each.system_calls), 4000) for each in stock]
    assert_as_often("ticker", "system_calls", stock, stock[::-1])
    with pytest.raises(AssertionError, match="ticker"):
        assert_as_often("ticker", "system_calls", other, stock)
