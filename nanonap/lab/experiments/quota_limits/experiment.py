"""Which quotas and periods the kernel takes: written to a real group's files, at the edges and beyond them."""

from collections.abc import Sequence

import polars as pl

from nanonap.lab.experiments.kit.base import Experiment, Outcome, Row, Setting, Verdict
from nanonap.lab.show.tables import Section, Table

#: (quota in µs, or a word for no limit; period in µs): what is written.
_TRIED: tuple[tuple[str, int], ...] = (
    ("1000", 1_000),
    ("999", 1_000),
    ("1000", 999),
    ("1000", 100_000),
    ("999", 100_000),
    ("1", 100_000),
    ("0", 100_000),
    ("50000", 1_000_000),
    ("50000", 1_000_001),
    ("50000", 0),
    ("-1", 100_000),
    ("max", 100_000),
    ("-2", 100_000),
)
_TIMEOUT_S = 60.0
SCHEMA = pl.Schema(
    {"quota": pl.String, "period_us": pl.Int64, "accepted": pl.Boolean, "errno": pl.String, "read_back": pl.String}
)


class QuotaLimits(Experiment):
    """Claim Q1."""

    name = "quota-limits"
    cheap = True
    question = "Which quotas and periods does the kernel take?"
    expects = (
        "quotas and periods from 1 ms on, periods up to 1 s, both ends included (tg_set_cfs_bandwidth in "
        "kernel/sched/core.c); no limit is -1 in cgroup v1 and max in cgroup v2, each refused by the other"
    )

    schema = SCHEMA

    def rows(self, setting: Setting) -> list[Row]:
        """A group for each pair: written as the version wants it, read back."""
        setting.say(f"{len(_TRIED)} pairs")
        made = setting.call_beside_groups("nanonap.lab.experiments.quota_limits.probe:tried", _TIMEOUT_S, pairs=_TRIED)
        return [dict(zip(SCHEMA, each, strict=True)) for each in made]

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """From which pairs were accepted."""
        taken = {(quota, period): ok for quota, period, ok in data.select("quota", "period_us", "accepted").iter_rows()}
        says = "a period of at most 1 ms or above 1 s is refused, and -1 means no limit"
        one_ms = taken.get(("1000", 1_000), False)
        below, above = taken.get(("1000", 999), True), taken.get(("50000", 1_000_001), True)
        top = taken.get(("50000", 1_000_000), False)
        word = next((word for word in ("-1", "max") if taken.get((word, 100_000))), None)
        parts = [
            f"a period of exactly 1 ms is {_taken(one_ms)}, 0.999 ms {_taken(below)}",
            f"1 s is {_taken(top)}, 1.000001 s {_taken(above)}",
            f"no limit is written {word}" if word else "neither -1 nor max is accepted",
        ]
        right = [not one_ms, not above, word == "-1"]
        outcome: Outcome = "holds" if all(right) else "holds in part" if any(right) else "refuted"
        figures = {"one_ms_accepted": one_ms, "above_1s_accepted": above, "no_limit": word}
        return [Verdict("Q1", says, outcome, "; ".join(parts), figures)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """One row per pair."""
        rows = [
            [f"{quota} µs" if quota.isdecimal() else quota, f"{period:,} µs", _taken(ok), error or back]
            for quota, period, ok, error, back in data.iter_rows()
        ]
        title = "What the kernel does with a quota and a period"
        return [Table(title, ("quota", "period", "is", "errno, or read back"), [Section("", rows)])]


def _taken(accepted: bool) -> str:
    return "accepted" if accepted else "refused"
