"""bandwidth for real, and its verdicts on the samples of made kernels, each way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.bandwidth.experiment import SCHEMA, Bandwidth
from nanonap.lab.experiments.bandwidth.read import changes, trials
from nanonap.lab.experiments.kit.base import Setting, Verdict

MS = 1_000_000
ZERO = ("nr_throttled", "throttled_ns", "used_ns")
PERIOD, STEP, TRIALS = 100 * MS, 2 * MS, 4


@dataclass(frozen=True)
class Kernel:
    """How a made kernel behaves: as Linux does, but for what is changed."""

    at_once: bool = True  # a new quota counts
    refills_at: int = 0  # after a period's beginning
    borrows: bool = False
    grows_amid: bool = False  # throttled time
    stall_factor: float = 1.0  # what of a stall is counted
    counts_idle: bool = False  # periods in which nothing ran
    stands_still: bool = False  # once throttled
    excess: int = 0  # nr_throttled above nr_periods


def burning(kernel: Kernel, quota_ns: int, length: int = 12) -> list[dict[str, int]]:
    """Samples of one busy thread over so many periods."""
    samples, used, total = [], 0, 0
    for now in range(0, length * PERIOD, STEP):
        period, phase = divmod(now - kernel.refills_at, PERIOD)
        ran = min(phase, quota_ns) if period >= 0 else 0
        used = max(period, 0) * min(quota_ns, PERIOD) + ran
        stalled = max(0, phase - quota_ns)
        ended = max(0, period) * max(0, PERIOD - quota_ns)
        total = ended + (stalled if kernel.grows_amid else 0)
        periods = now // PERIOD
        throttled = quota_ns < PERIOD
        samples.append(
            {
                "monotonic_ns": now,
                "read_ns": 1_000,
                "deadline_ns": now,
                "nr_periods": periods,
                "nr_throttled": (max(0, periods + kernel.excess)) if throttled else 0,
                "throttled_ns": int(total * kernel.stall_factor),
                "used_ns": 0 if kernel.stands_still and throttled else used,
            }
        )
    return samples


def changing(kernel: Kernel, old_ns: int, new_ns: int) -> Iterator[dict[str, int]]:
    """A period that begins at 0, a write at 40 ms, the next period at 100 ms."""
    at_write = min(40 * MS, old_ns)
    for now in range(0, 200 * MS, STEP):
        if now <= 40 * MS:
            used = min(now, old_ns)
        elif kernel.at_once:
            used = at_write + min(now - 40 * MS, new_ns)
        else:
            used = min(now, old_ns)
        yield {"monotonic_ns": now, "read_ns": 1_000, "nr_periods": now // PERIOD, "nr_throttled": 0, "used_ns": used}


def frame(kernel: Kernel) -> pl.DataFrame:
    made: list[dict[str, Any]] = []
    for trial in range(TRIALS):
        for old, new in ((20, 80), (80, 20)):
            head = {"scene": "change", "quota": f"{old}%", "other_quota": f"{new}%", "trial": trial, "source": "watch"}
            moment = {"begun_ns": 0, "written_ns": 40 * MS, "wrote_ns": 1_000}
            made += [{**head, **moment, **each} for each in changing(kernel, old * MS, new * MS)]
        for child, parent, share in (("none", "50%", 0.5), ("20%", "80%", 0.6 if kernel.borrows else 0.2)):
            head = {"scene": "nested", "quota": child, "other_quota": parent, "trial": trial, "source": "watch"}
            made += [{**head, "monotonic_ns": t, "used_ns": int(t * share)} for t in (0, 10 * PERIOD)]
        for quota in (20, 150):
            head = {"scene": "burn", "quota": f"{quota}%", "trial": trial, "source": "watch"}
            made += [{**head, **each} for each in burning(kernel, quota * MS)]
        head = {
            "scene": "quiet",
            "quota": "20%",
            "trial": trial,
            "source": "watch",
            "nr_throttled": 0,
            "throttled_ns": 0,
        }
        for now in range(0, 12 * PERIOD, STEP):
            periods = now // PERIOD if kernel.counts_idle else 0
            made.append(
                {**head, "monotonic_ns": now, "read_ns": 1_000, "nr_periods": periods, **dict.fromkeys(ZERO, 0)}
            )
    made.append({"scene": "nested", "quota": "80%", "other_quota": "50%", "trial": 0, "refused": "EINVAL"})
    return pl.DataFrame(made, schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Bandwidth().judge(data) if each.claim == claim)


@pytest.mark.long
def test_the_real_kernels_samples_have_what_the_verdicts_need(setting: Setting) -> None:
    data = Bandwidth().run(setting)
    assert set(data["scene"].to_list()) == {"change", "nested", "burn", "quiet"}
    for each in trials(data, "burn", "20%"):
        assert each["monotonic_ns"].is_sorted()
        assert each["used_ns"][-1] > each["used_ns"][0]
        assert each["nr_throttled"][-1] > each["nr_throttled"][0]
    for quota in ("20%", "80%"):
        assert all(0 <= each.used_ns <= 1.5 * each.left_ns for each in changes(data, quota))
    nested = data.filter(pl.col("scene") == "nested")
    assert set(nested.filter(pl.col("source") == "watch")["quota"].to_list()) >= {"none", "20%"}
    # What cgroup v1 refuses and v2 takes: a child with more than its parent.
    refused = nested.filter(pl.col("refused").is_not_null())["refused"].to_list()
    assert set(refused) <= {"EINVAL"}
    assert verdict("Q4", data).figures["more_throttled"] == verdict("Q4", data).figures["torn"]
    assert len(Bandwidth().tables(data)) == 3
    assert Bandwidth().draw(data) is not None


@pytest.mark.parametrize(
    ("kernel", "outcome"),
    [
        (Kernel(at_once=False, borrows=True), "holds"),
        (Kernel(), "holds in part"),
        (Kernel(at_once=False), "holds in part"),
        (Kernel(refills_at=50 * MS), "refuted"),
    ],
    ids=["as claimed", "Linux", "later", "refills in mid-period"],
)
def test_q2_follows_changes_stalls_and_nested_groups(kernel: Kernel, outcome: str) -> None:
    found = verdict("Q2", frame(kernel))
    assert found.outcome == outcome
    assert "80% in 50% is refused (EINVAL)" in found.sentence
    assert found.figures["at_once"]["20%"]["value"] == pytest.approx(1.0 if kernel.at_once else 0.0, abs=0.05)
    assert found.figures["nested"]["20% in 80%"]["value"] == pytest.approx(0.6 if kernel.borrows else 0.2)


@pytest.mark.parametrize(
    ("kernel", "outcome"),
    [
        (Kernel(), "holds"),
        (Kernel(stall_factor=0.5), "holds in part"),
        (Kernel(grows_amid=True, stall_factor=0.0), "not settled"),
    ],
    ids=["Linux", "half of each stall", "nothing is counted"],
)
def test_q3_follows_the_growth_of_throttled_time(kernel: Kernel, outcome: str) -> None:
    assert verdict("Q3", frame(kernel)).outcome == outcome


def test_q3_sees_throttled_time_that_grows_while_a_stall_lasts() -> None:
    found = verdict("Q3", frame(Kernel(grows_amid=True)))
    assert found.outcome == "holds in part"
    assert "during stalls too" in found.sentence


@pytest.mark.parametrize(
    ("kernel", "outcome"),
    [
        (Kernel(counts_idle=True, stands_still=True), "holds"),
        (Kernel(), "holds in part"),
        (Kernel(excess=1), "refuted"),
    ],
    ids=["as claimed", "Linux", "more throttled than periods"],
)
def test_q4_follows_the_counters(kernel: Kernel, outcome: str) -> None:
    assert verdict("Q4", frame(kernel)).outcome == outcome


@pytest.mark.parametrize("part", ["judge", "tables", "draw"])
def test_without_data_nothing_is_answered(part: str) -> None:
    empty = pl.DataFrame(schema=SCHEMA)
    call: Callable[[pl.DataFrame], Any] = getattr(Bandwidth(), part)
    found = call(empty)
    if part == "judge":
        assert {each.outcome for each in found} <= {"not settled", "cannot be tested here"}
