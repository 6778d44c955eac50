"""The model beside what was measured: agrees, differs, or is not settled, by the data; and the kernel itself."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.model.model import GRANULARITY_NS, Prediction, predict
from nanonap.lab.model.model_compare import HIT_LATE_NS, compare_lateness, compare_stalls
from nanonap.lab.quota.base import Backend, Throttling
from nanonap.lab.quota.limits import Limits, Quota, parse_quota
from nanonap.lab.quota.sampler import Sampler
from nanonap.lab.quota.series import whole_periods
from tests.conftest import BuildProgram

MS = 1_000_000
HALF = Quota(50 * MS, 100 * MS)


def stalls(prediction: Prediction, stall_ms: list[float], periods: int = 100, used: float = 1.0) -> list[Throttling]:
    """Runs in which each CPU stood still for so long in a period, and ``used`` of the quota was used."""
    usage = round((prediction.quota.quota_ns or 0) * periods * used)
    return [
        Throttling(periods, periods, round(each * MS * periods * prediction.busy), 0, 0, usage) for each in stall_ms
    ]


def test_stalls_agree_or_differ_by_the_data() -> None:
    made = predict(HALF, 2, cpus=2)
    right = compare_stalls(made, stalls(made, [74.5, 75.2, 75.4]), seed=1)
    assert (right.outcome, right.runs, right.predicted) == ("agrees", 3, 75 * MS)
    assert right.measured == pytest.approx(75.03 * MS, rel=0.001)
    wrong = compare_stalls(made, stalls(made, [50.0, 51.0, 49.0]), seed=1)
    assert wrong.outcome == "differs"
    assert "predicted 75.0 ms" in wrong.sentence
    assert "measured 50.0 ms" in wrong.sentence
    assert "waited for a CPU" in wrong.sentence
    assert "more threads" in compare_stalls(made, stalls(made, [90.0, 91.0]), seed=1).sentence
    # What a period and the granularity, over 100 periods, leave open.
    slack = (made.quota.period_ns + GRANULARITY_NS) / 100
    assert right.predicted_range == pytest.approx((75 * MS - slack, 75 * MS + slack))
    assert json.loads(json.dumps(wrong.to_json()))["outcome"] == "differs"


def test_no_stall_where_one_is_measured_differs() -> None:
    made = predict(parse_quota("2cpu"), 2, cpus=2)
    assert compare_stalls(made, stalls(made, [0.0, 0.0]), seed=1).outcome == "agrees"
    assert compare_stalls(made, stalls(made, [1.0, 1.1]), seed=1).outcome == "differs"


def test_what_does_not_meet_the_models_terms_is_not_judged() -> None:
    made = predict(HALF, 1, cpus=1)
    idle = compare_stalls(made, stalls(made, [10.0, 11.0], used=0.4), seed=1)
    assert (idle.outcome, idle.measured) == ("not settled", None)
    assert "used 41% of its quota" in idle.sentence
    few = compare_stalls(made, stalls(made, [50.0, 50.0], periods=2), seed=1)
    assert few.outcome == "not settled"
    one = compare_stalls(made, stalls(made, [50.0]), seed=1)
    assert (one.outcome, one.measured_interval) == ("not settled", None)
    assert "one run" in one.sentence
    assert compare_stalls(predict(HALF, 0, 1), stalls(made, [0.0, 0.0]), seed=1).outcome == "not settled"
    assert compare_stalls(made, [], seed=1).outcome == "not settled"
    assert [each.outcome for each in compare_lateness(made, [], seed=1)] == ["not settled"] * 2


def late_runs(stall_ms: float, period_ms: float, runs: int = 6) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    dice = np.random.default_rng(7)
    phases = dice.uniform(0, period_ms, (runs, 800))
    return [np.maximum(0, (stall_ms - phase) * MS).astype(np.int64) for phase in phases]


def test_lateness_agrees_or_differs_by_the_data() -> None:
    made = predict(HALF, 2, cpus=2)
    assert [each.outcome for each in compare_lateness(made, late_runs(75, 100), seed=1)] == ["agrees", "agrees"]
    hit, mean = compare_lateness(made, late_runs(40, 100), seed=1)
    assert (hit.outcome, mean.outcome) == ("differs", "differs")
    assert hit.predicted == pytest.approx(0.75 - HIT_LATE_NS / (100 * MS))
    assert "%" in hit.sentence


def test_a_sleeper_that_may_escape_can_be_late_less_but_not_more() -> None:
    made = predict(HALF, 1, cpus=2)
    assert made.may_escape
    assert not predict(HALF, 2, cpus=2).may_escape
    assert [each.outcome for each in compare_lateness(made, late_runs(20, 100), seed=1)] == ["agrees", "agrees"]
    assert [each.outcome for each in compare_lateness(made, late_runs(70, 100), seed=1)] == ["differs", "differs"]


BURN = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
#: Of the wall time, spent neither running nor throttled: others had the CPU, and the model does not know of them.
MOST_WAITED = 0.1
ATTEMPTS = 4


def burnt(backend: Backend, quota: Quota, program: Path) -> tuple[Throttling | None, float, float]:
    """A busy thread in a group that goes before others: what was counted in whole periods, wall time, and the wait for
    a CPU.

    Both times in ns, of the whole run: running, throttled and waiting are all that there is.
    """
    with backend.open(Limits(quota, weight=10_000)) as group:
        if group.stat_files is None:
            pytest.skip(f"needs a backend whose counters this host shows, and {backend.name} does not")
        with Sampler(group.stat_files, program) as sampler:
            cpu_s, start_ns = children_cpu_s(), time.monotonic_ns()
            subprocess.run(group.command([sys.executable, "-c", BURN, "1.0"]), check=True)
            wall_ns, cpu_s = time.monotonic_ns() - start_ns, children_cpu_s() - cpu_s
        counted = group.counters()
    assert counted is not None
    return whole_periods(sampler.stop()), wall_ns, wall_ns - cpu_s * 1e9 - counted.throttled_ns


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("text", ["50%", "20%/50ms"])
def test_the_kernel_throttles_a_busy_thread_as_the_model_says(
    backend: Backend, build_program: BuildProgram, text: str
) -> None:
    quota, waits = parse_quota(text), []
    for _ in range(ATTEMPTS):
        try:
            counted, wall_ns, waited_ns = burnt(backend, quota, build_program("statsampler"))
        except QuotaUnavailable as refusal:
            pytest.skip(f"needs a backend with a CPU weight: {refusal}")
        waits.append(waited_ns / wall_ns)
        if waits[-1] <= MOST_WAITED:
            break
    else:
        shares = ", ".join(f"{each:.0%}" for each in waits)
        pytest.skip(f"needs a CPU that others leave alone: the thread waited {shares} of the time; run it alone")
    assert counted is not None
    assert counted.nr_periods >= 5
    measured_ns = counted.throttled_ns / counted.nr_periods

    def explains(made: Prediction) -> bool:
        # What the thread waited for a CPU it did not stand still.
        off = made.granularity_ns / counted.nr_periods
        return made.stall_ns - off - waited_ns / counted.nr_periods <= measured_ns <= made.stall_ns + off

    assert quota.quota_ns is not None
    assert explains(predict(quota, 1, cpus=2)), (measured_ns, waits)
    for wrong in (quota.quota_ns // 2, quota.quota_ns * 2):
        assert not explains(predict(Quota(wrong, quota.period_ns), 1, cpus=2)), (measured_ns, waits)
