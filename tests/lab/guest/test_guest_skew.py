"""skew in a guest, whose kernel has the event that the claim names."""

from pathlib import Path

import polars as pl

from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.skew.experiment import Skew
from nanonap.lab.experiments.skew.recorder import TRACEFS
from nanonap.lab.experiments.skew.rows import SLEEP, TIMERFD, UNRECORDED
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.backend import GuestBackend
from tests.conftest import BuildProgram


def test_sched_stat_sleep_tells_how_long_a_thread_slept(
    guest: GuestBackend, build_program: BuildProgram, tmp_path: Path
) -> None:
    setting = Setting(True, guest, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    data = Skew().run(setting)
    assert set(data["method"].drop_nulls()) == {TRACEFS}
    recordings = data.filter(pl.col("part") == "recording")
    assert min(recordings["stats"].to_list()) > 0
    assert data.filter(pl.col("part") == "lack").height == 0
    assert data.filter(pl.col("part") == UNRECORDED).height == data.filter(pl.col("part") == SLEEP).height
    sleeps = data.filter(pl.col("part") == SLEEP).drop_nulls("running_ns")
    assert sleeps.height > 20
    assert sleeps["slept_ns"].null_count() == 0
    # Of a call that waited to its end, from arming to this event is the wait.
    waits = data.filter(pl.col("part") == TIMERFD).drop_nulls("pair_ns")
    assert waits.height >= 40  # emulated, a wait may be over before the read begins
    assert min(waits["pair_ns"].to_list()) >= 1_000_000 - 1_000
    assert (waits["slept_ns"] <= waits["pair_ns"] + 1_000).all()
    (found,) = Skew().judge(data)
    if guest.mark is not None:
        assert found.outcome == "cannot be tested here"
        assert found.sentence.startswith(guest.mark)
    assert "sched_stat_sleep told of" in found.sentence
