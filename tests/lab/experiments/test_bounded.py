"""bounded for real, and what its table has of made data."""

import polars as pl
import pytest

from nanonap.lab.experiments.bounded.experiment import DENSE, LOADS, RULES, SETTINGS, Bounded
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.rival.experiment import SCHEMA

ARMS = ("stock", *(f"{mode}+slack1" for mode in RULES), *SETTINGS)


@pytest.mark.campaign
def test_the_real_programs_wait_by_every_rule(setting: Setting) -> None:
    data = Bounded().run(setting)
    assert set(data["arm"]) == set(ARMS)
    assert data.height == 3 * len(ARMS) * 2
    (table,) = Bounded().tables(data)
    assert [each.heading for each in table.sections] == list(LOADS)[3:5]


def test_every_load_has_a_section_with_ratios_to_stock_and_to_the_dense_rule() -> None:
    made = {"sleeps": 1_000, "missed": 0, "wall_ns": 10**9, "nvcsw": 500, "late_p99_ns": 10**6}
    data = pl.DataFrame(
        [
            {
                "arm": arm,
                "load": load,
                "block": block,
                "cpu_ns": (place + 1) * 10**6,
                "late_p50_ns": 10**5 // (place + 1),
            }
            | made
            for load in LOADS
            for place, arm in enumerate(ARMS)
            for block in range(8)
        ],
        schema=SCHEMA,
    )
    (table,) = Bounded().tables(data)
    assert [each.heading for each in table.sections] == list(LOADS)
    rows = {row[0]: row[1:] for row in table.sections[0].rows}
    assert set(rows) == set(ARMS)
    assert (rows["stock"][1], rows[DENSE][2]) == ("1", "1")
    assert rows["50 µs"][:3] == ["6.00 µs", "6.00 × [6.00, 6.00]", "0.86 × [0.86, 0.86]"]
