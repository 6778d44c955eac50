"""cyclictest's JSON is read as it writes it; its runs are cells like any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.ground.hosts import Host
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import discover
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.cyclictest import argv, read
from nanonap.lab.run.runner import measure
from nanonap.lab.store.write import run_line
from tests.lab.made import GO, Roots

WRITTEN: dict[str, Any] = {
    "resolution_in_ns": 0,
    "thread": {"0": {"histogram": {"57": 2, "61": 1}, "cycles": 3, "min": 57, "max": 61}},
}


def test_a_histogram_gives_each_sleep_back() -> None:
    assert read(json.dumps(WRITTEN)).tolist() == [57_000, 57_000, 61_000]


@pytest.mark.parametrize(
    "change", [{"resolution_in_ns": 1}, {"thread": {}}, {"thread": {"0": {"histogram": {"1": 2}, "cycles": 3}}}]
)
def test_what_has_not_all_its_sleeps_in_microseconds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="histogram"):
        read(json.dumps(WRITTEN | change))


@pytest.mark.parametrize("name", ["cyclictest", "cyclictest+fifo"])
def test_a_run_is_recorded_like_any_other(roots: Roots, name: str) -> None:
    if shutil.which("cyclictest") is None:
        pytest.skip("needs cyclictest: apt-get install rt-tests")
    [arm] = discover(roots.build, roots.patched, GO, names=(name,))
    run = Run(0, arm, PRIMARY, ((100_000, 30), (1_000_000, 5)), 0, seed=1)
    assert ("fifo" in argv(run, 100_000, 30, Path("out"))) == name.endswith("+fifo")
    measured = measure(run, 2, NoBackend(), Stop())
    requested, actual, *_ = measured.output.samples
    assert sorted(requested.tolist()) == [100_000] * 30 + [1_000_000] * 5
    assert (actual >= requested).all()
    line = run_line("00000", measured, NoBackend(), Host())
    assert (line.n, line.counters.cpu_ns, line.timer_slack_ns) == (35, None, None)
    assert set(line.host_during or {}) == {"steal_ns", "others_cpu_ns"}
