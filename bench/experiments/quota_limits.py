"""Which quotas and periods the kernel takes: written to a real group's files, at the edges and beyond them."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from bench.errors import QuotaUnavailable
from bench.experiments.base import Experiment, Outcome, Setting, Verdict
from bench.quota.cgroup import CgroupGroup
from bench.quota.limits import Limits
from bench.tables import Section, Table

_US = 1_000
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
SCHEMA = pl.Schema(
    {"quota": pl.String, "period_us": pl.Int64, "accepted": pl.Boolean, "errno": pl.String, "read_back": pl.String}
)


class QuotaLimits(Experiment):
    """Claim Q1."""

    name = "quota-limits"
    question = "Which quotas and periods does the kernel take?"
    expects = (
        "quotas and periods from 1 ms on, periods up to 1 s, both ends included (tg_set_cfs_bandwidth in "
        "kernel/sched/core.c); no limit is -1 in cgroup v1 and max in cgroup v2, each refused by the other"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """A group for each pair: written as the version wants it, read back."""
        rows = []
        for quota, period_us in _TRIED:
            setting.stop.check()
            setting.say(f"quota {quota} µs, period {period_us} µs")
            with setting.backend.open(Limits()) as group:
                if not isinstance(group, CgroupGroup):
                    reason = "its files cannot be written one by one"
                    raise QuotaUnavailable(setting.backend.name, reason, "choose --backend cgroup1 or cgroup2")
                rows.append(_try(group.folder, quota, period_us))
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

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
        """A row a pair."""
        rows = [
            [f"{quota} µs" if quota.lstrip("-").isdecimal() else quota, f"{period:,} µs", _taken(ok), error or back]
            for quota, period, ok, error, back in data.iter_rows()
        ]
        title = "What the kernel does with a quota and a period"
        return [Table(title, ("quota", "period", "is", "errno, or read back"), [Section("", rows)])]


def _taken(accepted: bool) -> str:
    return "accepted" if accepted else "refused"


def _try(folder: Path, quota: str, period_us: int) -> tuple[str, int, bool, str, str]:
    refusal, read = "", ""
    try:
        for path, text in _writes(folder, quota, period_us):
            path.write_text(text, encoding="ascii")
    except OSError as error:
        refusal = errno.errorcode.get(error.errno or 0, str(error.errno))
    else:
        read = _read(folder)
    return quota, period_us, not refusal, refusal, read


def _writes(folder: Path, quota: str, period_us: int) -> Iterator[tuple[Path, str]]:
    if (folder / "cpu.max").exists():
        yield folder / "cpu.max", f"{quota} {period_us}"
        return
    yield folder / "cpu.cfs_period_us", str(period_us)
    yield folder / "cpu.cfs_quota_us", quota


def _read(folder: Path) -> str:
    if (folder / "cpu.max").exists():
        return (folder / "cpu.max").read_text(encoding="ascii").strip()
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return " ".join((folder / name).read_text(encoding="ascii").strip() for name in names)
