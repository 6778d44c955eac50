"""SIGPROF at 1 kHz meets threads in the new code, and the profiler unwinds them as it unwinds stock."""

from pathlib import Path

import pytest

from nanonap.trials.unwinding.checks import profiled
from nanonap.trials.unwinding.profiles import profile_of
from nanonap.trials.unwinding.survivors import LIVE, STOCK
from nanonap.trials.unwinding.whole_stacks import NETPOLL, broken_above_netpoll
from tests.endtoend.arms import RELEASES, Survivors
from tests.soon import soon


@pytest.mark.parametrize("go", soon(RELEASES, 0))
@pytest.mark.parametrize("variant", soon(["netpoll", "netpoll+slack1", "netpoll+slack1+spin", "sleep"], 1))
def test_samples_in_the_stub_lead_to_whoever_waits(survivors: Survivors, tmp_path: Path, variant: str, go: str) -> None:
    seen = profiled(survivors(variant, go), variant, tmp_path, "5s")
    assert seen.met > 0
    assert seen.findings == []


@pytest.mark.long
@pytest.mark.parametrize("go", soon(RELEASES, 0))
def test_samples_in_an_injected_process_lead_to_whoever_waits(survivors: Survivors, tmp_path: Path, go: str) -> None:
    seen = profiled(survivors(LIVE, go), LIVE, tmp_path, "5s")
    assert seen.met > 0
    assert seen.findings == []


def test_samples_in_usleep_lead_to_its_caller(survivors: Survivors, tmp_path: Path) -> None:
    seen = profiled(survivors("usleep"), "usleep", tmp_path, "5s")
    assert seen.met > 0
    assert seen.findings == []


@pytest.mark.parametrize("go", soon(RELEASES, 0))
def test_stock_samples_in_netpoll_are_whole_in_the_same_sense(survivors: Survivors, tmp_path: Path, go: str) -> None:
    met = [each for each in profile_of(survivors(STOCK, go), tmp_path, "2s") if NETPOLL in each.functions]
    assert sum(each.count for each in met) > 0
    assert not broken_above_netpoll(met)
