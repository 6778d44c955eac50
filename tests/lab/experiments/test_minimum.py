"""minimum for real, and its verdicts on made data, each way."""

from pathlib import Path
from typing import Any

import matplotlib.text
import numpy as np
import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.experiments.minimum import verdicts as minimum_verdicts
from nanonap.lab.experiments.minimum.experiment import SCHEMA, Minimum
from nanonap.lab.experiments.minimum.samples import (
    AFTER_IDLE,
    ARMS,
    FIRST,
    MILLISECOND_NS,
    STEADY,
    beside,
    chosen,
    share_below,
    shares_below,
    sleeps,
)
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.docker import DockerBackend
from nanonap.lab.show.terminal import print_table
from tests.conftest import BuildProgram
from tests.lab.experiments.pictures import assert_title_is_clear

BLOCKS, SLEEPS = 6, 40
US = 1_000
NEVER_SHORT = "no sleep of an idle program ends before 1.2 ms"
AS_SPREAD = "the standard deviation is near 320 µs"
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


def test_a_container_is_refused(build_program: BuildProgram, tmp_path: Path) -> None:
    elsewhere = object.__new__(DockerBackend)  # it needs no engine to be refused
    setting = Setting(True, elsewhere, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        Minimum().run(setting)


def test_a_least_sleep_as_claimed_holds_whatever_a_busy_program_does() -> None:
    found = verdict("P1", rows("stock", 2_500, 320), rows("stock", 2_500, 320, BUSY, short=20))
    assert found.outcome == "holds"
    assert found.figures["parts"] == {NEVER_SHORT: True, AS_SPREAD: True}
    assert found.figures["below_1ms_by_state"][BUSY]["100 µs"]["value"] == 0.5
    assert "(100 µs) beside an allocating goroutine" in found.sentence


def test_a_least_sleep_of_a_millisecond_is_refuted() -> None:
    found = verdict("P1", rows("stock", 1_100, 20), rows("stock", 1_100, 20, BUSY))
    assert found.outcome == "refuted"
    assert found.figures["below_1ms_by_state"][STEADY]["100 µs"]["value"] == 0


def test_a_least_sleep_that_varies_less_holds_in_part() -> None:
    found = verdict("P1", rows("stock", 2_500, 20))
    assert (found.outcome, found.figures["parts"]) == ("holds in part", {NEVER_SHORT: True, AS_SPREAD: False})


def test_sleeps_that_end_while_the_scheduler_searches_count_too() -> None:
    found = verdict("P1", rows("stock", 2_500, 320), rows("stock", 12, 1, asked_us=10))
    assert found.figures["parts"] == {NEVER_SHORT: False, AS_SPREAD: True}
    assert "(100 µs, one after the other) to 100.0% [98.5%, 100.0%] (10 µs, one after the other)" in found.sentence


def test_no_least_sleep_is_refuted() -> None:
    found = verdict("P1", rows("stock", 150, 5), rows("stock", 150, 5, BUSY))
    assert found.outcome == "refuted"


def test_a_share_about_the_limit_is_not_settled() -> None:
    some = rows("stock", 2_500, 320)
    for row in some[:2]:  # a share of 5 % in all, and it is in two processes of six
        row["actual_ns"][:6] = [110 * US] * 6
    assert verdict("P1", some).figures["parts"][NEVER_SHORT] is None


def test_few_sleeps_that_are_all_alike_settle_nothing() -> None:
    data = frame(rows("stock", 2_500, 320))
    few = data.with_columns(pl.col("actual_ns").list.head(3))
    share = share_below(few, MILLISECOND_NS)
    assert share is not None
    assert share.interval is not None
    assert share.interval[0] == 0
    assert share.interval[1] == pytest.approx(1 - 0.025 ** (1 / 18))  # Clopper and Pearson's, of 0 among 18
    assert Minimum().judge(few)[0].figures["parts"][NEVER_SHORT] is None
    assert Minimum().judge(data)[0].figures["parts"][NEVER_SHORT] is True


def test_processes_that_differ_are_what_a_share_is_uncertain_of() -> None:
    some = rows("stock", 2_500, 20)
    some[0]["actual_ns"][:] = [110 * US] * SLEEPS
    share = share_below(frame(some), MILLISECOND_NS)
    assert share is not None
    assert share.interval == [0, 0.5]  # by sleeps it would be 12 % to 22 %


def test_shares_beside_work_are_of_each_duration() -> None:
    many = [row for _ in range(10) for row in rows("stock", 60, 1, BUSY, asked_us=50)]
    data = frame([row | {"process": number} for number, row in enumerate(many)], rows("stock", 1_100, 20, BUSY))
    assert {each: share.value for each, share in shares_below(data, BUSY, MILLISECOND_NS).items()} == {
        50 * US: 1,
        100 * US: 0,
    }


def test_a_minimum_has_no_interval() -> None:
    data = frame(rows("stock", 1_100, 20))
    found = sleeps(chosen(data, STEADY, "stock", 100 * US))
    assert found is not None
    assert found.least.interval_ns is None
    assert found.p50.interval_ns is not None
    assert "least_interval_ns" not in verdict("P1", rows("stock", 1_100, 20)).figures


def test_sleeps_shorter_than_asked_for_are_shown() -> None:
    found = verdict("P2", *patched(98, 7))
    assert found.outcome == "holds"
    assert found.figures["too_short"] > 100
    assert found.sentence.startswith(f"{found.figures['too_short']:,} of {3 * BLOCKS * SLEEPS:,} sleeps of patched")


def test_one_sleep_that_is_too_short_is_seen_in_any_state_and_arm() -> None:
    odd = rows("netpoll", 180, 2, BUSY)
    odd[3]["actual_ns"][0] = 100 * US - 1
    assert verdict("P2", *patched(180, 5), rows("netpoll", 180, 2), odd).figures["too_short"] == 1
    # A netpoll patch's says nothing of a direct call.
    parts = verdict("P2", *patched(180, 5), rows("netpoll", 180, 2), odd).figures["parts"]
    assert parts["a sleep can end before the time asked for"] is False
    # The raw call and stock are no patched programs.
    assert verdict("P2", *patched(180, 5), rows("stock", 50, 1, BUSY)).figures["too_short"] == 0


def test_a_direct_call_that_takes_what_the_kernel_takes_is_refuted_however_short() -> None:
    found = verdict("P2", *patched(180, 20))
    assert found.outcome == "refuted"
    assert "its median 0.16 × [0.16, 0.16] stock's, 1.000 × [1.000, 1.000] the raw call's" in found.sentence


def test_how_much_sleeps_vary_around_another_median_decides_nothing() -> None:
    found = verdict("P2", *patched(180, 7))
    assert found.outcome == "refuted"
    assert [name for name, holds in found.figures["parts"].items() if holds] == [
        "the standard deviation is at most some 8 µs"
    ]


def test_a_direct_call_with_the_claimed_median_and_more_variation_holds_in_part() -> None:
    assert verdict("P2", *patched(103, 30)).outcome == "holds in part"


def test_a_direct_call_that_changes_nothing_is_refuted() -> None:
    assert verdict("P2", *patched(1_100, 20)).outcome == "refuted"


def test_two_processes_settle_nothing() -> None:
    data = frame(*patched(180, 12)).filter(pl.col("block") < 2)
    assert {each.outcome for each in Minimum().judge(data)} == {"not settled"}


@pytest.mark.parametrize("missing", ["stock", "sleep"])
def test_without_the_arms_of_a_claim_it_is_not_judged(missing: str) -> None:
    data = frame(*patched(180, 5)).filter(~pl.col("arm").str.starts_with(missing))
    shortest, direct = Minimum().judge(data)
    judged = shortest if missing == "stock" else direct
    assert judged.outcome == "cannot be tested here"
    assert Minimum().tables(data)
    assert not any("None" in each.sentence for each in (shortest, direct))


def test_what_is_missing_beside_the_claimed_is_said() -> None:
    found = verdict("P2", rows("sleep", 180, 5))
    assert "its median not measured beside stock's, not measured beside the raw call's" in found.sentence
    assert found.sentence.count("not measured beside stock's") == 2  # usleep, too
    of_long = verdict("P1", rows("stock", 2_000, 50, asked_us=1_900))
    assert of_long.outcome == "not settled"
    assert "end before it: none was measured" in of_long.sentence
    assert "one sleep after the other: not measured" in of_long.sentence


def test_nothing_is_cut_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for table in Minimum().tables(frame(*patched(180, 5), rows("stock", 1_100, 20, BUSY, short=20))):
        print_table(table)
    shown = capsys.readouterr().out
    assert "stock" in shown
    assert "…" not in shown


def test_the_picture_shows_the_claimed_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minimum_verdicts, "CLAIMED_LEAST_NS", 1_300_000)
    monkeypatch.setattr(minimum_verdicts, "CLAIMED_NS", 97_000)
    figure = Minimum().draw(frame(*patched(180, 5)))
    assert figure is not None
    words = {each.get_text() for each in figure.findobj(matplotlib.text.Text)}
    assert {"claimed: ≥ 1.3 ms, ± 320 µs", "claimed: 97 µs ± 8 µs"} <= words


def test_the_tables_say_how_many_sleeps_were_too_short_and_which_states_undercut() -> None:
    claimed, every, short = Minimum().tables(frame(*patched(180, 5), rows("stock", 1_100, 20, BUSY, short=20)))
    assert [row[0] for row in claimed.sections[0].rows][:2] == ["stock", "usleep"]
    assert claimed.sections[0].rows[2][-1] == f"0 of {BLOCKS * SLEEPS:,}"
    assert list(every.columns) == ["", "100 µs"]
    assert [section.heading for section in short.sections] == [STEADY, BUSY]
    assert short.sections[1].rows[0][3] == "50.0% [43.5%, 56.5%]"


def test_the_title_of_the_picture_stands_clear_of_its_legend() -> None:
    assert_title_is_clear(Minimum().draw(frame(*patched(180, 5))))
