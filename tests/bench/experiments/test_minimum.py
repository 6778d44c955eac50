"""minimum for real, and its verdicts on made data, each way."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.experiments.base import Setting, Verdict
from bench.experiments.minimum import SCHEMA, Minimum
from bench.experiments.minimum_samples import AFTER_IDLE, ARMS, FIRST, STEADY, beside

BLOCKS, SLEEPS = 6, 40
US = 1_000
BUSY = beside("gc:1")


def rows(
    arm: str, middle_us: float, sigma_us: float, state: str = STEADY, short: int = 0, asked_us: int = 100
) -> list[dict[str, Any]]:
    """Six processes of 40 sleeps of ``asked_us`` around ``middle_us``, ``short`` of each ending after 110 µs."""
    made = []
    for block in range(BLOCKS):
        dice = np.random.default_rng(block)
        actual = (middle_us + sigma_us * dice.standard_normal(SLEEPS)) * US
        actual[:short] = 110 * US
        values = {"state": state, "arm": arm, "block": block, "process": 0, "requested_ns": asked_us * US}
        made.append(values | {"actual_ns": np.sort(actual.astype(np.int64)).tolist()})
    return made


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for group in groups for row in group], schema=SCHEMA)


def verdict(claim: str, *groups: list[dict[str, Any]]) -> Verdict:
    return next(each for each in Minimum().judge(frame(*groups)) if each.claim == claim)


def patched(middle_us: float, sigma_us: float) -> list[list[dict[str, Any]]]:
    """Stock, the direct call at both slacks, and the raw one."""
    own = [rows(arm, middle_us, sigma_us) for arm in ("sleep", "sleep+slack1", "floor", "floor+slack1")]
    return [rows("stock", 1_100, 20), rows("usleep", 1_100, 20), *own]


def test_every_arm_sleeps_for_real_and_none_too_short(setting: Setting) -> None:
    data = Minimum().run(setting)
    assert set(data.filter(pl.col("state") == STEADY)["arm"]) == set(ARMS)
    assert set(data["state"]) == {STEADY, AFTER_IDLE, FIRST, BUSY, beside("burn:1")}
    # One process sleeps once where its first sleep is what counts.
    assert set(data.filter(pl.col("state") == FIRST)["actual_ns"].list.len()) == {1}
    assert data.explode("actual_ns").select((pl.col("actual_ns") >= pl.col("requested_ns")).all()).item()
    assert len(Minimum().tables(data)) == 3
    assert Minimum().draw(data) is not None
    shortest, direct = Minimum().judge(data)
    assert (shortest.claim, direct.claim) == ("P1", "P2")
    assert direct.figures["too_short"] == 0
    assert set(direct.figures["by_arm"]) == set(ARMS)


def test_a_least_sleep_as_claimed_holds() -> None:
    found = verdict("P1", rows("stock", 2_500, 320), rows("stock", 2_500, 320, BUSY))
    assert found.outcome == "holds"


def test_a_least_sleep_of_a_millisecond_that_a_busy_program_undercuts_holds_in_part() -> None:
    found = verdict("P1", rows("stock", 1_100, 20), rows("stock", 1_100, 20, BUSY, short=20))
    assert found.outcome == "holds in part"
    assert found.figures["below_1ms"]["value"] == 0
    assert found.figures["below_1ms_by_state"][BUSY]["value"] == 0.5
    assert "50.0% [50.0%, 50.0%] beside an allocating goroutine" in found.sentence


def test_sleeps_that_end_while_the_scheduler_searches_are_told_apart() -> None:
    found = verdict("P1", rows("stock", 1_100, 20), rows("stock", 12, 1, asked_us=10))
    assert found.figures["parts"]["an idle program's sleep is not shorter than 1 ms"] is True
    assert found.figures["parts"]["no other sleep is shorter than 1 ms"] is False
    assert "100.0% [100.0%, 100.0%] of those asked for less than 20 µs" in found.sentence


def test_no_least_sleep_is_refuted() -> None:
    found = verdict("P1", rows("stock", 150, 5), rows("stock", 150, 5, BUSY))
    assert found.outcome == "refuted"


def test_a_share_about_the_limit_is_not_settled() -> None:
    some = rows("stock", 1_100, 20)
    for row in some[:2]:  # a share of 5 % in all, and it is in two processes of six
        row["actual_ns"][:6] = [110 * US] * 6
    found = verdict("P1", some, rows("stock", 1_100, 20, BUSY, short=20))
    assert found.figures["parts"]["an idle program's sleep is not shorter than 1 ms"] is None


def test_sleeps_shorter_than_asked_for_are_shown() -> None:
    found = verdict("P2", *patched(98, 7))
    assert found.outcome == "holds"
    assert found.figures["too_short"] > 100
    assert found.sentence.startswith(f"{found.figures['too_short']:,} of {3 * BLOCKS * SLEEPS:,} sleeps of patched")


def test_one_sleep_that_is_too_short_is_seen_in_any_state_and_arm() -> None:
    odd = rows("netpoll", 180, 2, BUSY)
    odd[3]["actual_ns"][0] = 100 * US - 1
    assert verdict("P2", *patched(180, 5), rows("netpoll", 180, 2), odd).figures["too_short"] == 1
    # The raw call and stock are no patched programs.
    assert verdict("P2", *patched(180, 5), rows("stock", 50, 1, BUSY)).figures["too_short"] == 0


def test_a_direct_call_that_takes_what_the_kernel_takes_holds_in_part() -> None:
    found = verdict("P2", *patched(180, 20))
    assert found.outcome == "holds in part"
    assert [name for name, holds in found.figures["parts"].items() if holds] == ["far shorter than stock's"]


def test_a_direct_call_that_changes_nothing_is_refuted() -> None:
    assert verdict("P2", *patched(1_100, 20)).outcome == "refuted"


def test_two_processes_settle_nothing() -> None:
    data = frame(*patched(180, 12)).filter(pl.col("block") < 2)
    assert {each.outcome for each in Minimum().judge(data)} == {"cannot be tested here"}


@pytest.mark.parametrize("missing", ["stock", "sleep"])
def test_without_the_arms_of_a_claim_it_is_not_judged(missing: str) -> None:
    data = frame(*patched(180, 5)).filter(~pl.col("arm").str.starts_with(missing))
    shortest, direct = Minimum().judge(data)
    judged = shortest if missing == "stock" else direct
    assert judged.outcome == "cannot be tested here"
    assert Minimum().tables(data)


def test_the_tables_say_how_many_sleeps_were_too_short_and_which_states_undercut() -> None:
    claimed, every, short = Minimum().tables(frame(*patched(180, 5), rows("stock", 1_100, 20, BUSY, short=20)))
    assert [row[0] for row in claimed.sections[0].rows][:2] == ["stock", "usleep"]
    assert claimed.sections[0].rows[2][-1] == f"0 of {BLOCKS * SLEEPS:,}"
    assert list(every.columns) == ["", "100 µs"]
    assert [section.heading for section in short.sections] == [STEADY, BUSY]
    assert short.sections[1].rows[0][3] == "50.0% [50.0%, 50.0%]"
