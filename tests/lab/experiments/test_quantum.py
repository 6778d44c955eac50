"""quantum for real, and its verdicts on made data, each way."""

import re
from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.experiments.quantum.experiment import FEW, LONE, MANY, SCHEMA, Quantum, _rivals
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.plan.arms import UPSTREAM

BLOCKS = 6


def rows(arm: str, quantum_ns: int | None, dense_ns: int | None, *, cpu: float, lone_us: float) -> list[dict[str, Any]]:
    """Six blocks in which 50 sleepers cost ``cpu`` times stock, and a lone one is late by ``lone_us``."""
    made = []
    for block in range(BLOCKS):
        wave = 1 + (0.01 if arm == "stock" else -0.01) * (-1) ** block
        for load in (LONE, FEW, MANY):
            values: dict[str, Any] = {
                "arm": arm,
                "quantum_ns": quantum_ns,
                "dense_ns": dense_ns,
                "load": load,
                "block": block,
            }
            values |= {"requested_ns": 1_000_000, "sleeps": 1_000, "wall_ns": 10**9, "nvcsw": 500}
            late = int(1_000 * (lone_us if load == LONE else 200) * wave)
            values |= {"cpu_ns": int(1_000_000 * cpu * wave), "late_p50_ns": late, "late_p99_ns": 3 * late}
            made.append(values | {"epoll_per_second": 900.0 if load == MANY else None})
    return made


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    stock = rows("stock", None, None, cpu=1.0, lone_us=990)
    none = rows("no quantum", 0, None, cpu=10.0, lone_us=30)
    return pl.DataFrame([row for group in (stock, none, *groups) for row in group], schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Quantum().judge(data) if each.claim == claim)


def plain(us: int, cpu: float, lone_us: float = 400) -> list[dict[str, Any]]:
    return rows(f"{us} µs", us * 1_000, None, cpu=cpu, lone_us=lone_us)


def dense(us: int, cpu: float, lone_us: float = 30) -> list[dict[str, Any]]:
    return rows(f"{us} µs, dense", us * 1_000, 32_768, cpu=cpu, lone_us=lone_us)


@pytest.mark.long
def test_the_real_program_is_patched_and_rounds_its_waits(setting: Setting) -> None:
    data = Quantum().run(setting)
    assert set(data["arm"]) == {"stock", *UPSTREAM, "no quantum", "500 µs", "500 µs, dense"}
    assert set(data["load"]) == {LONE, FEW, MANY}
    lone = {str(arm): int(part["late_p50_ns"].min()) for (arm,), part in  # type: ignore[arg-type]
            data.filter(pl.col("load") == LONE).group_by("arm")}  # fmt: skip
    # A wait of 100 µs that is rounded up to 500 is at least 400 late: that is what was asked for, not a speed.
    assert lone["500 µs"] >= 350_000
    assert len(Quantum().tables(data)) == 3
    assert Quantum().draw(data) is not None
    assert {each.claim for each in Quantum().judge(data)} == {"G1", "G2"}


def test_a_backend_whose_programs_run_elsewhere_is_refused(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(setting.backend), "elsewhere", True)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        Quantum().run(setting)


def test_the_least_quantum_that_is_cheap_enough_is_named() -> None:
    found = verdict("G1", frame(plain(100, 3.0), plain(500, 1.3), plain(1_000, 1.1)))
    assert (found.outcome, found.figures["quantum_ns"]) == ("holds", 500_000)


def test_where_none_is_cheap_enough_that_is_said() -> None:
    assert verdict("G1", frame(plain(100, 3.0), plain(500, 1.8))).outcome == "refuted"


def test_what_lies_on_the_limit_is_not_settled() -> None:
    assert verdict("G1", frame(plain(500, 1.5))).outcome == "not settled"


def test_one_setting_serves_both_where_the_lone_sleeper_keeps_its_precision() -> None:
    assert verdict("G2", frame(plain(500, 1.3), dense(500, 1.3))).outcome == "holds"
    assert verdict("G2", frame(plain(500, 1.3), dense(500, 1.3, lone_us=300))).outcome == "refuted"
    some = frame(plain(500, 1.3), dense(500, 1.3), dense(700, 1.2, lone_us=300))
    assert verdict("G2", some).outcome == "holds in part"


def test_tables_have_a_row_an_arm() -> None:
    rivals = [rows(each, None, None, cpu=5.0, lone_us=30) for each in reversed(UPSTREAM)]
    tables = Quantum().tables(frame(plain(500, 1.3), dense(500, 1.3), *rivals))
    names = [row[0] for row in tables[-1].sections[0].rows]
    assert names == ["stock", *UPSTREAM, "no quantum", "500 µs", "500 µs, dense"]
    assert tables[-1].sections[0].rows[4][2].startswith("1.30 ×")


def test_a_rival_that_costs_little_is_no_quantum() -> None:
    cheap = rows(UPSTREAM[0], None, None, cpu=0.9, lone_us=30)
    assert verdict("G1", frame(plain(500, 1.8), cheap)).outcome == "refuted"


def test_where_the_rival_cannot_be_built_the_curve_is_whole_without_it(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nanonap.toolchain.upstream._START", re.compile("func another"))
    assert _rivals(setting, setting.folder) == []
    assert "upstream is left out: " in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["no quantum", "stock"])
def test_without_its_base_nothing_is_judged(missing: str) -> None:
    data = frame(plain(500, 1.3), dense(500, 1.3)).filter(pl.col("arm") != missing)
    assert verdict("G2" if missing == "no quantum" else "G1", data).outcome == "not settled"
