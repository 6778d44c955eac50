"""environments for real, and its verdicts on made data, each way."""

from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.environments.experiment import SCHEMA, Environments
from nanonap.lab.experiments.environments.verdicts import BURST, FAKE_BURST, LIMITED_BY, NONE
from nanonap.lab.experiments.kit.base import Setting, Verdict

MS = 1_000_000
V1, V2 = LIMITED_BY[1], LIMITED_BY[2]


def rows(
    environment: str, load: str, late_ms: float, noise_ms: float = 0.5, throttled: int = 10
) -> list[dict[str, Any]]:
    return [
        {
            "environment": environment,
            "load": load,
            "block": block,
            "requested_ns": 200 * MS,
            "elapsed_ns": int((202 + late_ms + noise_ms * (-1) ** block) * MS),
            "nr_periods": 0 if environment == NONE else 10,
            "nr_throttled": 0 if environment == NONE or load == "quiet" else throttled,
        }
        for block in range(6)
    ]


def frame(late: dict[str, tuple[float, float]], noise_ms: float = 0.5, throttled: int = 10) -> pl.DataFrame:
    made = rows(NONE, "quiet", 0) + rows(NONE, "busy", 0)
    for environment, (quiet, busy) in late.items():
        made += rows(environment, "quiet", quiet, noise_ms, throttled) + rows(
            environment, "busy", busy, noise_ms, throttled
        )
    made.append({"environment": V2, "requested_ns": 200 * MS, "missing": "not here; there"})
    return pl.DataFrame(made, schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Environments().judge(data) if each.claim == claim)


@pytest.mark.long
def test_sleeps_are_timed_in_every_environment_of_this_machine(setting: Setting) -> None:
    data = Environments().run(setting)
    timed = data.filter(pl.col("elapsed_ns").is_not_null())
    assert (timed["elapsed_ns"] >= timed["requested_ns"]).all()
    here = set(timed["environment"].to_list())
    assert {NONE, FAKE_BURST} < here and len(here & {V1, V2}) == 1
    missing = data.filter(pl.col("missing").is_not_null())["environment"].to_list()
    assert here | set(missing) == {NONE, FAKE_BURST, BURST, V1, V2}
    assert set(timed["load"].to_list()) == {"quiet", "busy"}
    assert timed.filter(pl.col("environment") == FAKE_BURST)["nr_throttled"].sum() == 0
    assert {each.outcome for each in Environments().judge(data)} >= {"cannot be tested here"}
    (table,) = Environments().tables(data)
    assert [len(section.rows) for section in table.sections] == [len(here), len(here)]
    assert Environments().draw(data) is not None


@pytest.mark.parametrize(
    ("quiet", "busy", "outcome"),
    [(45, 45, "holds"), (0, 25, "holds in part"), (0, 0, "refuted")],
)
def test_lateness_under_a_quota_follows_the_data(quiet: float, busy: float, outcome: str) -> None:
    assert verdict(f"E3 {V1}", frame({V1: (quiet, busy)})).outcome == outcome


def test_noise_is_not_an_answer_and_a_quota_that_was_not_used_up_neither() -> None:
    assert verdict(f"E3 {V1}", frame({V1: (5, 5)}, noise_ms=30)).outcome == "not settled"
    found = verdict(f"E3 {V1}", frame({V1: (0, 0)}, throttled=1))
    assert found.outcome == "not settled"
    assert "not used up" in found.sentence


def test_what_is_missing_here_is_said() -> None:
    found = verdict(f"E3 {V2}", frame({V1: (0, 25)}))
    assert (found.outcome, found.sentence) == ("cannot be tested here", "not here; there")


@pytest.mark.parametrize(
    ("limited", "burst", "outcome"),
    [(25, 0, "holds"), (25, 25, "refuted"), (0, 0, "not settled")],
)
def test_burst_is_judged_by_the_true_one_beside_a_busy_process(limited: float, burst: float, outcome: str) -> None:
    data = frame({V1: (0, limited), BURST: (0, burst), FAKE_BURST: (0, 0)})
    assert verdict("E3 true burst", data).outcome == outcome


def test_burst_is_not_answered_where_others_took_the_cpu() -> None:
    idle = rows(BURST, "quiet", 0) + rows(BURST, "busy", 0, throttled=1)
    data = pl.concat([frame({V1: (0, 25)}), pl.DataFrame(idle, schema=SCHEMA)])
    found = verdict("E3 true burst", data)
    assert found.outcome == "not settled"
    assert "not used up" in found.sentence


@pytest.mark.parametrize(("late", "outcome"), [(0, "holds"), (25, "refuted")])
def test_what_is_written_as_burst_is_judged_by_its_own_sleeps(late: float, outcome: str) -> None:
    data = frame({V1: (0, 25), BURST: (0, 25), FAKE_BURST: (late, late)})
    assert verdict("E3 burst", data).outcome == outcome
