"""SIGPROF at 1 kHz meets threads in the new code, and the profiler unwinds them as it unwinds stock."""

from pathlib import Path

import pytest

from nanonap.trials.unwinding.checks import profiled
from nanonap.trials.unwinding.profiles import _read_locations, profile_of
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


def test_places_without_a_function_or_a_mapping_are_places() -> None:
    told = [
        "     1: 0x448698 M=1 runtime.inlined runtime/a.go:1:0 s=1",
        "             runtime.netpoll runtime/netpoll_epoll.go:131:0 s=97",
        "     2: 0x510f70 M=1 ",
        "     3: 0x7ffd5000 ",
        "     4: 0x7ffd6000 M=2 [F] runtime._VDSO runtime/b.go:2:0 s=2",
    ]
    assert _read_locations("\n".join(told)) == {
        1: (0x448698, "runtime.netpoll"),
        2: (0x510F70, ""),
        3: (0x7FFD5000, ""),
        4: (0x7FFD6000, "runtime._VDSO"),
    }
