"""The verdicts and tables of path on made data, each way."""

from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.path.calls import FOREVER
from nanonap.lab.experiments.path.data import MANY, PERFED, RUNTIME, SCHEMA, TRACEPOINTS
from nanonap.lab.experiments.path.experiment import SleepPath
from nanonap.lab.experiments.path.verdicts import IN_ORDER
from nanonap.lab.show.tables import Table

US, MS = 1_000, 1_000_000
BLOCKS = 4


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in SleepPath().judge(data) if each.claim == claim)


def table(title: str, data: pl.DataFrame) -> Table:
    return next(each for each in SleepPath().tables(data) if each.title.startswith(title))


def sleep_rows(
    *, arm: str = "stock", source: str = TRACEPOINTS, nano: float = 0.0, order: float = 1.0, waiting: float = 0.99
) -> list[dict[str, Any]]:
    """Ten sleeps per block: ``nano`` of their time in nanosleep, ``order`` of them in the order that is claimed."""
    made = []
    for block in range(BLOCKS):
        for index in range(10):
            row: dict[str, Any] = {"kind": "sleep", "source": source, "arm": arm, "block": block, "index": index}
            row |= {"requested_ns": 100 * US, "actual_ns": MS, "call": "nanosleep" if nano > 0.5 else "epoll_pwait"}
            row |= {"inside_ns": int(0.99 * MS), "nanosleep_ns": int(nano * MS), "monitor_ns": 0, "argument": "1 ms"}
            if source in (TRACEPOINTS, RUNTIME):
                row |= {"states": IN_ORDER if index < 10 * order else "Running → Syscall → Running"}
                row |= {"waiting_ns": int(waiting * MS), "syscall_ns": 0, "by_goroutine": False}
            made.append(row)
    return made


def call_row(block: int, left_ns: int, timeout_ns: int, arm: str = "stock") -> dict[str, Any]:
    about = {"kind": "call", "source": TRACEPOINTS, "arm": arm, "block": block, "requested_ns": 100 * US}
    past_ns = None if timeout_ns == FOREVER else timeout_ns - left_ns
    limits = {"timeout_ns": timeout_ns, "left_ns": left_ns, "past_ns": past_ns}
    return {**about, "index": 0, "call": "epoll_pwait", **limits}


def calls(*each: tuple[int, int]) -> list[dict[str, Any]]:
    """(left, limit) of the calls of every block."""
    return [call_row(block, *pair) for block in range(BLOCKS) for pair in each]


def run_rows(*, threads: int = 7, timerproc: int = 0, known: int = 9) -> list[dict[str, Any]]:
    about = {"kind": "run", "arm": "stock"}
    many = [{**about, "block": block, "sleepers": MANY, "threads": threads} for block in range(BLOCKS)]
    return [*many, {**about, "source": "file", "timerproc": timerproc, "known": known}]


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for group in groups for row in group], schema=SCHEMA)


ROUNDED = ((91 * US, MS), (2_450 * US, 2 * MS))
EXACT = ((2_000 * US, 2 * MS), (1_010 * US, MS))
FIXED = ((91 * US, 10 * MS), (2_450 * US, 10 * MS))
ENDLESS = ((91 * US, FOREVER), (2_450 * US, FOREVER))


@pytest.mark.parametrize(
    ("pairs", "outcome"),
    [
        (EXACT, "holds"),
        (ROUNDED, "holds in part"),
        (FIXED, "refuted"),
        (ENDLESS, "refuted"),
        ((*EXACT, *EXACT, *ENDLESS), "not settled"),
        ((*EXACT, *ROUNDED, *EXACT), "not settled"),
    ],
    ids=["to the deadline", "whole ms", "always 10 ms", "never", "some never", "some of each"],
)
def test_t1_follows_the_limits(pairs: tuple[tuple[int, int], ...], outcome: str) -> None:
    found = verdict("T1", frame(calls(*pairs)))
    assert found.outcome == outcome
    assert ("too few runs" in found.sentence) == (outcome == "not settled")


def test_t1_of_two_runs_is_not_settled() -> None:
    data = frame(calls(*ROUNDED)).filter(pl.col("block") < 2)
    assert verdict("T1", data).outcome == "not settled"


def test_t1_says_of_which_durations_and_the_median_of_the_table() -> None:
    """An even number of calls, so that a median may be either of two, or between."""
    data = frame(calls((91 * US, MS), (191 * US, MS)), sleep_rows())
    sentence = verdict("T1", data).sentence
    assert "in sleeps of 100 µs, the limit of 0.0% of them" in sentence
    assert "859 µs past it (median)" in sentence
    (row,) = table("epoll's time limit", data).sections[0].rows
    assert row[5] == "859 µs"


@pytest.mark.parametrize(
    ("sleeps", "runs", "outcome"),
    [
        (sleep_rows(), run_rows(timerproc=1), "holds"),
        (sleep_rows(), run_rows(), "holds in part"),
        (sleep_rows(order=0.2), run_rows(threads=56), "refuted"),
        (sleep_rows(), run_rows(known=0), "cannot be tested here"),
        (sleep_rows(source=RUNTIME), run_rows(), "holds in part"),
    ],
    ids=["as claimed", "no timerproc", "a thread each", "no names", "no tracepoints"],
)
def test_t2_follows_states_threads_and_names(
    sleeps: list[dict[str, Any]], runs: list[dict[str, Any]], outcome: str
) -> None:
    assert verdict("T2", frame(sleeps, runs)).outcome == outcome


@pytest.mark.parametrize(
    ("perf", "traced", "outcome"),
    [
        (sleep_rows(source=PERFED, nano=0.97), sleep_rows(), "holds"),
        (sleep_rows(source=PERFED, nano=0.97), sleep_rows(waiting=0.3), "holds in part"),
        (sleep_rows(source=PERFED), sleep_rows(), "refuted"),
        ([], sleep_rows(), "refuted"),
        (sleep_rows(source=PERFED, nano=0.7), sleep_rows(), "not settled"),
        (sleep_rows(source=PERFED), [], "cannot be tested here"),
    ],
    ids=["found", "found, not waiting", "not there", "without perf", "some of it", "no trace"],
)
def test_t5_follows_the_share_in_nanosleep(
    perf: list[dict[str, Any]], traced: list[dict[str, Any]], outcome: str
) -> None:
    assert verdict("T5", frame(perf, traced)).outcome == outcome


def test_t5_says_what_it_leaves_out_and_what_it_measured() -> None:
    requested = pl.when(pl.col("index") < 5).then(100 * US).otherwise(5 * MS)
    naps = pl.when(pl.col("index") < 5).then(int(0.93 * MS)).otherwise(int(0.03 * MS))
    perf = frame(sleep_rows(source=PERFED)).with_columns(
        requested_ns=requested.cast(pl.Int64), monitor_ns=naps.cast(pl.Int64)
    )
    traced = frame(sleep_rows(waiting=0.95)).with_columns(syscall_ns=pl.lit(int(0.02 * MS), pl.Int64))
    sentence = verdict("T5", pl.concat([perf, traced])).sentence
    assert "Waiting (sleep) for 95.0% of the time of stock's sleeps, and in a system call for 2.0%" in sentence
    assert "the system monitor, which sleeps in it for 48.0% of the time, in sleeps of 100 µs for 93.0%" in sentence


def test_t5_leaves_out_sleeps_that_the_trace_does_not_have() -> None:
    lost = frame(sleep_rows()).with_columns(states=pl.lit(None, pl.String), waiting_ns=pl.lit(0, pl.Int64))
    data = pl.concat([frame(sleep_rows(source=PERFED), sleep_rows()), lost])
    assert verdict("T5", data).figures["waiting"]["value"] == pytest.approx(0.99)


def test_the_share_is_of_the_call_shown() -> None:
    """A sleep in another call counts with its length alone."""
    elsewhere = pl.when(pl.col("index") < 2).then(pl.lit("clock_nanosleep")).otherwise(pl.col("call"))
    data = frame(sleep_rows()).with_columns(call=elsewhere)
    (section,) = table("The system call", data).sections
    assert (section.rows[0][1], section.rows[0][3]) == ("epoll_pwait", "79.2%")


def test_the_limits_are_those_of_arms_that_wait_in_epoll() -> None:
    asleep = frame(sleep_rows(arm="sleep")).with_columns(call=pl.lit("clock_nanosleep"))
    stray = [call_row(block, 91 * US, 99 * MS, "sleep") for block in range(BLOCKS)]
    data = pl.concat([frame(sleep_rows(), calls(*ROUNDED), stray), asleep])
    (section,) = table("epoll's time limit", data).sections
    assert [row[0] for row in section.rows] == ["stock"]


def test_one_sleep_that_a_goroutine_woke_is_one() -> None:
    woken = (pl.col("index") == 0) & (pl.col("block") == 0)
    states = table("What the goroutine does", frame(sleep_rows(), run_rows()).with_columns(by_goroutine=woken))
    assert dict(zip(states.columns, states.sections[0].rows[0], strict=True))["scheduler"] == "97.5%"


def test_arms_stand_in_the_order_of_all_results() -> None:
    arms = ("netpoll+slack1", "stock", "sleep", "usleep", "netpoll")
    data = frame(*(sleep_rows(arm=arm) for arm in arms))
    assert [each.heading for each in table("The system call", data).sections] == [
        "stock", "usleep", "sleep", "netpoll", "netpoll+slack1"
    ]  # fmt: skip


def test_what_is_missing_is_said_where_the_claim_is() -> None:
    why = "tracing: tracefs cannot be mounted; run as root"
    data = frame([{"kind": "missing", "source": TRACEPOINTS, "missing": why}], sleep_rows(source=RUNTIME))
    assert why in verdict("T1", data).sentence
    assert any(why in note for note in SleepPath().tables(data)[0].notes)
    assert SleepPath().draw(data) is None
