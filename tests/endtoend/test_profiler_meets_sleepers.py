"""SIGPROF at 1 kHz meets threads in the new code, and the profiler unwinds them as it unwinds stock."""

from pathlib import Path

import pytest

from tests.endtoend.profiles import Sample, profile_of
from tests.endtoend.survivors import RELEASES, STOCK, Survivors
from tests.endtoend.whole_stacks import NETPOLL, SLEEP, broken_above_netpoll, broken_above_sleep

EXTERNAL = "runtime._ExternalCode"  # what the profiler calls code outside every Go function (runtime/proc.go, sigprof)


def total(samples: list[Sample]) -> int:
    return sum(each.count for each in samples)


@pytest.mark.parametrize("go", RELEASES)
@pytest.mark.parametrize("variant", ["netpoll", "netpoll+slack1"])
def test_samples_in_the_netpoll_stub_lead_to_the_scheduler(
    survivors: Survivors, tmp_path: Path, variant: str, go: str
) -> None:
    survivor = survivors(variant, go)
    met = [each for each in profile_of(survivor, tmp_path, "5s") if survivor.in_stub(each.pc)]
    assert total(met) > 0
    assert {each.functions[0] for each in met} == {NETPOLL}
    assert not broken_above_netpoll(met)


@pytest.mark.parametrize("go", RELEASES)
def test_stock_samples_in_netpoll_are_whole_in_the_same_sense(survivors: Survivors, tmp_path: Path, go: str) -> None:
    met = [each for each in profile_of(survivors(STOCK, go), tmp_path, "2s") if NETPOLL in each.functions]
    assert total(met) > 0
    assert not broken_above_netpoll(met)


@pytest.mark.parametrize("go", RELEASES)
def test_samples_in_the_sleep_stub_lead_to_the_sleeper(survivors: Survivors, tmp_path: Path, go: str) -> None:
    survivor = survivors("sleep", go)
    met = [each for each in profile_of(survivor, tmp_path, "5s") if survivor.in_stub(each.pc)]
    assert total(met) > 0
    assert {each.functions[0] for each in met} == {SLEEP}
    assert not broken_above_sleep(met)


def test_samples_in_usleep_lead_to_its_caller(survivors: Survivors, tmp_path: Path) -> None:
    # With more Ps than processors, thieves find work that another P is about to run, and usleep before they take it.
    survivor = survivors("usleep")
    met = [each for each in profile_of(survivor, tmp_path, "5s", GOMAXPROCS="8") if survivor.in_stub(each.pc)]
    inside = [each for each in met if each.functions[0] == "runtime.usleep"]
    assert total(inside) > 0
    assert {each.functions[1] for each in inside} <= {"runtime.runqgrab", "runtime.sysmon", "runtime.osyield"}
    # A dozen instructions beside the system call lie outside every function.
    assert total([each for each in met if each.functions[0] == EXTERNAL]) <= total(inside)
