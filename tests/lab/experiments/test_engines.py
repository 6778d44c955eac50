"""engines for real; its verdicts, and that of the attribution's claim, on made data, each way."""

from collections.abc import Collection
from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.attribution.experiment import Attributed
from nanonap.lab.experiments.engines.article import SET_PROPERTY, WORDS
from nanonap.lab.experiments.engines.experiment import ARMS, SCHEMA, Engines, runs_in
from nanonap.lab.experiments.engines.probe import ASKED, CHANGED
from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.quota.choose import BACKEND_NAMES

PROGRAMS = tuple(map(runs_in, ARMS))


def rows(backend: str, cannot: Collection[str] = (), version: int = 2, driver: str = "systemd") -> list[dict[str, Any]]:
    return [
        {
            "backend": backend,
            "ability": ability,
            "asked": "x",
            "accepted": ability not in cannot,
            "version": version,
            "read_back": f"{ability} was read back",
            "driver": driver if "docker" in backend and ability not in PROGRAMS else None,
            "reason": "not known" if ability in cannot else None,
        }
        for ability in (*ASKED, CHANGED, *(WORDS if "docker" in backend else ()), *PROGRAMS)
    ]


def verdict(claim: str, made: list[dict[str, Any]]) -> Verdict:
    data = pl.DataFrame(made, schema=SCHEMA)
    return next(each for each in Engines().judge(data) if each.claim == claim)


def test_every_backend_has_its_row_and_the_one_in_use_sets_what_it_should(setting: Setting) -> None:
    data = Engines().run(setting)
    assert set(data["backend"].to_list()) == set(BACKEND_NAMES) - {"auto", "none", "guest-arm64"}
    own = data.filter(pl.col("backend") == setting.backend.name)
    can = dict(own.select("ability", "accepted").iter_rows())
    assert can["quota"] and can["period"] and can["weight"] and can[CHANGED]
    assert all(can[each] for each in PROGRAMS)
    changed = own.filter(pl.col("ability") == CHANGED)["read_back"][0]
    assert changed == "50000 100000, then 25000 100000"
    lacking = data.filter(pl.col("ability").is_null())
    assert lacking.filter(pl.col("reason").is_null() | pl.col("remedy").is_null()).is_empty()
    (table,) = Engines().tables(data)
    assert len(table.notes) >= lacking.height
    assert len(Engines().judge(data)) == data["backend"].n_unique() + 1


@pytest.mark.parametrize(
    ("cannot", "outcome"),
    [(set(), "holds"), ({"burst"}, "holds"), ({CHANGED}, "holds in part"), (set(ASKED) | {CHANGED}, "refuted")],
)
def test_a_backend_is_judged_by_what_it_set(cannot: set[str], outcome: str) -> None:
    found = verdict("E1 systemd", rows("systemd", cannot))
    assert found.outcome == outcome
    assert all(f"{each} (not known)" in found.sentence for each in cannot)


def test_a_backend_that_does_not_work_names_the_one_that_can() -> None:
    found = verdict("E1 systemd", [{"backend": "systemd", "reason": "no systemd", "remedy": "boot it"}])
    assert found.outcome == "cannot be tested here"
    assert "no systemd; boot it" in found.sentence and "guest-systemd" in found.sentence


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (rows("docker", {"burst"}), "holds"),
        (rows("docker", {"burst", "weight"}), "holds in part"),
        (rows("guest-docker", {"burst"}), "holds"),
        (rows("guest-docker", {SET_PROPERTY}), "holds in part"),
        (rows("guest-docker", {PROGRAMS[1]}), "holds in part"),
        (rows("docker", version=1) + rows("guest-docker"), "holds"),
        (rows("docker", version=1), "cannot be tested here"),
        (rows("docker", driver="cgroupfs"), "cannot be tested here"),
        (rows("cgroup2"), "cannot be tested here"),
    ],
    ids=[
        "docker",
        "docker without weight",
        "docker in a guest",
        "no live change by systemd",
        "no patched program",
        "the guest has what is not here",
        "docker on v1",
        "docker by cgroupfs",
        "no docker",
    ],
)
def test_the_claimed_environment_is_docker_on_v2(made: list[dict[str, Any]], outcome: str) -> None:
    assert verdict("E1", made).outcome == outcome


def test_the_claimed_environment_tells_what_was_read_back_and_what_cannot_be_had() -> None:
    found = verdict("E1", rows("guest-docker", {"burst"}))
    assert all(f"{word} ({word} was read back)" in found.sentence for word in (*WORDS, *PROGRAMS))
    assert "not: burst (not known)" in found.sentence
    lacking = verdict("E1", rows("guest-docker", {SET_PROPERTY}))
    assert f"{SET_PROPERTY} (no: not known)" in lacking.sentence


def attributed(throttled: float, explained: float = 1.0) -> pl.DataFrame:
    """Late sleeps of 20 ms: those under the quota with this share throttled, the rest mostly on the run queue."""
    parts = ("granularity_ns", "throttled_ns", "runqueue_ns", "goscheduler_ns", "unexplained_ns")
    made = []
    for run, cause in (("quota alone", 1), ("run queue alone", 2), ("Go scheduler alone", 3)):
        split = [0.0] * 5
        split[cause] = explained
        if run == "quota alone":
            rest = explained * (1 - throttled)
            split[1], split[2], split[3] = explained * throttled, 0.6 * rest, 0.4 * rest
        split[4] = 1 - explained
        lost = {name: int(share * 20_000_000) for name, share in zip(parts, split, strict=True)}
        row = {"run": run, "kind": "sleep", "method": "tracepoints", "overshoot_ns": 20_000_000, **lost}
        made += [row] * 10
    return pl.DataFrame(made)


@pytest.mark.parametrize(
    ("throttled", "explained", "outcome"),
    [
        (1.0, 1.0, "holds"),
        (0.6, 1.0, "holds in part"),
        (0.4, 1.0, "refuted"),
        (0.1, 1.0, "not settled"),
        (1.0, 0.5, "not settled"),
    ],
)
def test_d5_follows_the_throttled_share_and_stands_on_the_method(
    throttled: float, explained: float, outcome: str
) -> None:
    _, found = Attributed().judge(attributed(throttled, explained))
    assert (found.claim, found.outcome) == ("D5", outcome)
