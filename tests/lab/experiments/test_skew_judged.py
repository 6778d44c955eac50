"""skew on made data: records are read, sleeps find their waits, and its verdict goes each way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text

from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.skew.events import Wake, Wakes, parse_wakes
from nanonap.lab.experiments.skew.experiment import Skew
from nanonap.lab.experiments.skew.recorder import BPFTRACE, TRACEFS
from nanonap.lab.experiments.skew.rows import SCHEMA, SLEEP, STAT, UNRECORDED, joined
from nanonap.lab.experiments.skew.shares import CLAIMED
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import QUIET, Condition
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota

IN_ORDER = ("expiry_ns", "wakeup_ns", "running_ns", "exit_ns", "goroutine_ns")
KERNEL = """@lost 1 7
     python3-40 [000] .....  5.000100: sys_timerfd_settime(ufd: 3, flags: 0, utmr: 7f, otmr: 0)
     python3-40 [000] d....  5.000101: hrtimer_start: hrtimer=00aa function=timerfd_tmrproc expires=5001101000 softexpires=5001101000 mode=REL
     python3-40 [000] d.h..  5.000500: hrtimer_start: hrtimer=00bb function=tick_nohz_handler expires=5004000000 softexpires=5004000000 mode=ABS
      <idle>-0  [000] d.h..  5.000900: hrtimer_expire_entry: hrtimer=00bb function=tick_nohz_handler now=5000900000
      <idle>-0  [000] d.h..  5.001120: hrtimer_expire_entry: hrtimer=00aa function=timerfd_tmrproc now=5001118000
      <idle>-0  [000] d.h..  5.001125: sched_stat_sleep: comm=python3 pid=40 delay=1011000 [ns]
      <idle>-0  [000] d.h..  5.001126: sched_wakeup: comm=python3 pid=40 prio=120 target_cpu=000
      <idle>-0  [000] d....  5.001130: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=python3 next_pid=40 next_prio=120
     python3-40 [000] .....  5.001133: sys_read -> 0x8
     python3-40 [000] .....  5.002000: sys_epoll_pwait(epfd: 4, events: 7f, maxevents: 80, timeout: 1, sigmask: 0, sigsetsize: 0)
     python3-40 [000] d....  5.002001: hrtimer_start: hrtimer=00cc function=hrtimer_wakeup expires=5003050000 softexpires=5003000000 mode=ABS
     python3-40 [000] .....  5.002400: sys_epoll_pwait -> 0x1
"""  # noqa: E501 - as the kernel writes


def test_the_kernels_text_is_read_stage_by_stage() -> None:
    found = parse_wakes(KERNEL, TRACEFS)
    (wake,) = found.wakes
    assert (found.timerfd, found.stats, found.otherwise, found.lost) == (1, 1, 1, 7)
    assert (wake.soft, wake.expired, wake.woken, wake.ran) == (5001101000, 5001120000, 5001126000, 5001130000)
    assert (wake.asked, wake.stat, wake.slept_ns, wake.exited) == (5000100000, 5001125000, 1011000, 5001133000)


def test_a_sleeps_last_wait_is_the_one_that_was_due_at_its_end() -> None:
    run = Run(0, Arm("stock", Path("any"), "sleep", None, None, "none", ""), Condition(Quota(), QUIET), (), 0, 1)
    names = ["requested_ns", "actual_ns", "start_ns", "sleeper", "tid"]
    header = {"n": 2, "columns": names, "window_start_ns": 1_000, "pid": 1, "threads_peak": 5}
    columns = [[5_000_000, 100_000], [5_100_000, 150_000], [0, 5_200_000], [0, 0], [7, 7]]
    output = json.dumps(header).encode() + b"\n" + np.array(columns, dtype="<i8").tobytes()
    first = Wake(7, 2_000, 4_002_000, 4_052_000, 4_060_000, 4_062_000, 4_065_000, 4_066_000)
    second = Wake(7, 4_080_000, 5_002_000, 5_052_000, 5_060_000, 5_062_000, 5_065_000, 5_066_000)
    rows = joined(run, output, Wakes([first, second]), BPFTRACE)
    assert [row.get("rounding_ns") for row in rows] == [1_000, None]
    assert rows[0]["late_ns"] == sum(rows[0][stage] for stage in ("rounding_ns", *IN_ORDER)) == 100_000
    assert "rounding_ns" not in joined(run, output, Wakes([first]), BPFTRACE)[0]


def test_what_bpftrace_lost_is_counted_and_broken_records_are_refused() -> None:
    text = "ready\n@wakes[11, 1]: (2, 3, 4, 5, 0, 7)\nLost 12 events\n@timerfd_settime[9]: 3\n@ended_otherwise[9]: 4\n"
    found = parse_wakes(f"{text}@recorded[9]: 3\n", BPFTRACE)
    assert (found.lost, found.timerfd, found.otherwise, len(found.wakes)) == (12 + 2, 3, 4, 1)
    assert found.wakes[0][:6] == (11, 1, 2, 3, 4, 5)
    assert found.wakes[0].ran is None
    with pytest.raises(RecordingFailed, match="run it again"):
        parse_wakes(KERNEL.replace("softexpires=5001101000", "softexpires=soon"), TRACEFS)
    with pytest.raises(RecordingFailed, match="run it again"):
        parse_wakes(KERNEL.replace("softexpires=5001101000", ""), TRACEFS)


def made(
    expiry: tuple[float, ...], deadline: tuple[float, ...] | None = None, costs_ns: int = 500, **more: Any
) -> pl.DataFrame:
    """Six runs of stock: shares of a hundred wake-ups in each class from expiry, and from the deadline if others.

    Recorded they are later by ``costs_ns``, give or take a tenth.
    """
    rows: list[dict[str, Any]] = []
    late = (5_000, 30_000, 200_000)
    for block in range(6):
        wave = 1 if block % 2 else -1
        ends = [classes(each, wave) for each in (expiry, deadline or expiry)]
        for number, (short, long) in enumerate(zip(*ends, strict=True)):
            running = late[short]
            head = {"part": SLEEP, "method": BPFTRACE, "arm": "stock", "block": block, "requested_ns": 100_000}
            rest = late[long] - running if deadline else 0
            rows.append({**head, "late_ns": number, "rounding_ns": 0, "expiry_ns": rest, "wakeup_ns": running - 4_000,
                         "running_ns": 4_000, "exit_ns": 0, "goroutine_ns": 0, "slack_ns": 1})  # fmt: skip
            apart = {"part": UNRECORDED, "arm": "stock", "block": block, "requested_ns": 100_000}
            rows.append({**apart, "late_ns": number - round(costs_ns * (1 + wave / 10))})
        rows.append({"part": "recording", "method": BPFTRACE, "block": block, "sleeps": 100, "timerfd": 0, **more})
    return pl.DataFrame(rows, schema=SCHEMA)


def classes(shares: tuple[float, ...], wave: int) -> list[int]:
    """A hundred classes in these shares, one more or fewer of the first."""
    counts = [round(100 * share) for share in shares]
    moved = 1 if counts[0] + wave >= 0 and counts[1] - wave >= 0 else 0
    counts[0], counts[1] = counts[0] + wave * moved, counts[1] - wave * moved
    return [place for place, count in enumerate(counts) for _ in range(count)]


def judged(data: pl.DataFrame) -> Verdict:
    (found,) = Skew().judge(data)
    return found


SLOW = (0.05, 0.15, 0.80)


def test_shares_as_claimed_hold_in_both_readings_in_one_or_in_none() -> None:
    assert judged(made(CLAIMED)).outcome == "holds"
    assert judged(made(CLAIMED, SLOW)).outcome == "holds in part"
    refuted = judged(made(SLOW))
    assert refuted.outcome == "refuted"
    assert "80 % [" in refuted.sentence


def test_shares_at_the_edge_or_of_too_few_runs_settle_nothing() -> None:
    edge = made((0.78, 0.17, 0.05))
    assert judged(edge).outcome == "not settled"
    few = made(CLAIMED).filter(pl.col("block") < 2)
    assert judged(few).outcome == "not settled"
    assert "too few runs" in judged(few).sentence


def test_what_recording_costs_must_not_decide() -> None:
    """Delays are 5, 30 and 200 µs: 25 µs less make the second class the first one."""
    cheap, dear = made(CLAIMED), made(CLAIMED, costs_ns=30_000)
    assert judged(cheap).outcome == "holds"
    assert judged(dear).outcome == "not settled"
    assert "so much leaves it open" in judged(dear).sentence
    assert "Recorded, sleeps of all programs end 30.0 [" in judged(dear).sentence
    assert "lower bound. With all of it taken off: expiry → running: 95 % [" in judged(dear).sentence
    assert judged(made(SLOW, costs_ns=30_000)).outcome == "refuted"
    unknown = judged(cheap.filter(pl.col("part") != UNRECORDED))
    assert unknown.outcome == "not settled"
    assert "there are no runs without it" in unknown.sentence


def test_a_cost_between_whose_ends_the_claim_would_hold_settles_nothing() -> None:
    """25 µs in 68 of a hundred, 60 in 27, 200 in 5: with nothing or 60 µs taken off others, with 20 the claimed."""
    data = made(CLAIMED, costs_ns=60_000)
    longer = data.with_columns(pl.col("wakeup_ns").replace({1_000: 21_000, 26_000: 56_000}))
    assert judged(longer).outcome == "not settled"
    assert "so much leaves it open" in judged(longer).sentence


def test_few_wake_ups_that_were_seen_whole_are_no_sample() -> None:
    whole = made(CLAIMED).with_columns(method=pl.lit(TRACEFS))
    unseen = pl.when(pl.int_range(pl.len()) % 10 > 0).then(None)
    partly = whole.with_columns(unseen.otherwise(pl.col("running_ns")).alias("running_ns"))
    lack = pl.DataFrame(
        [{"part": "lack", "what": BPFTRACE, "missing": "there is no bpftrace; install it"}], schema=SCHEMA
    )
    found = judged(pl.concat([partly, lack]))
    assert judged(whole).outcome == "holds"
    assert found.outcome == "not settled"
    assert "of 600 wake-ups of stock sleeps were seen until the thread ran" in found.sentence
    assert "there is no bpftrace; install it" in found.sentence
    shares, _, counts = Skew().tables(partly)
    assert shares.sections[0].rows[1][:5] == ["stock", "–", "–", "–", "–"]
    assert counts.sections[0].rows[0][-2:] == ["–", "–"]
    assert Skew().tables(whole)[2].sections[0].rows[0][-1] == "600"
    figure = Skew().draw(partly)
    assert figure is not None
    assert any("Too few of stock's wake-ups" in text.get_text() for text in figure.findobj(Text))


def test_an_emulated_machine_decides_nothing_about_microseconds() -> None:
    found = judged(made(CLAIMED, mark="emulated, not for microseconds"))
    assert found.outcome == "cannot be tested here"
    assert found.sentence.startswith("emulated, not for microseconds: ")


def test_without_a_wake_up_nothing_is_judged() -> None:
    nothing = pl.DataFrame([{"part": "lack", "what": STAT, "missing": "no tracing"}], schema=SCHEMA)
    assert judged(nothing).outcome == "cannot be tested here"
    assert Skew().draw(nothing) is None
    assert len(Skew().tables(nothing)) == 3
