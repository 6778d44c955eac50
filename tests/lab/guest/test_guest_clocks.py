"""clocks in a guest whose clock source is switched to one that user space cannot read."""

from pathlib import Path

import polars as pl
import pytest

from nanonap.lab.experiments.clocks.experiment import Clocks
from nanonap.lab.experiments.clocks.runs import SCHEMA, SOURCES, UNREADABLE, Plan, rows
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.backend import GuestBackend
from tests.conftest import BuildProgram


@pytest.fixture(scope="module")
def data(guest: GuestBackend, build_program: BuildProgram) -> pl.DataFrame:
    setting = Setting(True, guest, build_program("sleepbench"), {}, Stop(), lambda text: None, Path())
    return pl.DataFrame(list(rows(setting, Plan(1, 1_000, 1_000, 1_000))), schema=SCHEMA)


def test_every_source_is_read_under_both_clock_sources(guest: GuestBackend, data: pl.DataFrame) -> None:
    runs = data.filter(pl.col("kind") == "run", pl.col("series") == "monotonic")
    own, other = "tsc", next(each for each in UNREADABLE if each in runs["available"][0].split())
    found = set(runs.select("clocksource", "source").iter_rows())
    assert found == {(clocksource, source) for clocksource in (own, other) for source in SOURCES}
    assert set(runs["mark"]) == {guest.mark}
    assert runs["backward"].sum() == 0
    assert len(Clocks().tables(data)) == 2
    assert Clocks().draw(data) is not None


def test_nanotime_makes_the_system_call_where_user_space_cannot_read_the_clock(data: pl.DataFrame) -> None:
    counts = data.filter(pl.col("kind") == "count")
    made = {(row["clocksource"] in UNREADABLE, row["source"]): row["counted"] for row in counts.to_dicts()}
    assert [made[False, source] for source in SOURCES] == [0, 0, 0, 1_000]
    # time.Now reads two clocks; the runtime's own readings come on top.
    assert [made[True, source] // 1_000 for source in SOURCES] == [1, 2, 1, 1]


def test_the_guest_ends_with_the_clock_source_that_it_had(guest: GuestBackend, data: pl.DataFrame) -> None:
    del data
    now = guest.fetch("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    assert now.decode().strip() == "tsc"
