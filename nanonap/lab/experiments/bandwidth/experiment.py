"""How the kernel's bandwidth control works: changed quotas, groups in groups, and what its counters count."""

from collections.abc import Iterator, Sequence

import polars as pl

from nanonap.lab.experiments.bandwidth.probe import FIELDS
from nanonap.lab.experiments.bandwidth.tables import change_table, count_table, nested_table, picture
from nanonap.lab.experiments.bandwidth.verdicts import changed, counts, grows_at_the_end
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting

#: A row a sample; those of a scene and a trial belong together. ``quota`` is the group's own at the beginning.
SCHEMA = {
    "scene": pl.String,  # change, nested, burn, quiet
    "quota": pl.String,
    "other_quota": pl.String,  # what it is changed to, or that of the group around it
    "trial": pl.Int64,
    "source": pl.String,  # sampler: the project's; watch: the trial's own process
    "begun_ns": pl.Int64,  # change: when the period was seen to begin,
    "written_ns": pl.Int64,  # … when the new quota was written,
    "wrote_ns": pl.Int64,  # … and how long that took
    "refused": pl.String,  # errno's name, where the kernel does not take it
    **dict.fromkeys(FIELDS, pl.Int64),
}
_PROBE = "nanonap.lab.experiments.bandwidth.probe"
_CHANGES = (("20%", "80%"), ("80%", "20%"))
_NESTED = (("80%", "50%"), ("none", "50%"), ("20%", "80%"))  # (child, parent)
_LIVE = (("burn", "20%"), ("burn", "150%"), ("quiet", "20%"))
_OVERHEAD_S = 20.0


class Bandwidth(Experiment):
    """Claims Q2, Q3 and Q4."""

    name = "bandwidth"
    question = "When does a quota take effect, may a group borrow, and what do nr_periods and throttled time count?"
    expects = (
        "a new quota takes effect at once: tg_set_cfs_bandwidth (kernel/sched/core.c) refills the group and lets its "
        "CPUs go; used-up time is refilled when the period timer fires; a child never gets more than its own quota nor "
        "than its parent's: nothing is borrowed. Throttled time grows by a stall's length when the stall ends. "
        "nr_periods counts the periods in which the timer was active, so a quiet group's stand still; a group that is "
        "throttled in every period still runs its quota in each"
    )
    verdicts = (changed, grows_at_the_end, counts)
    shown = (change_table, nested_table, count_table)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Every scene in groups of its own, one after the other: they are loads."""
        quick = setting.quick
        trials, seconds = (3, 0.0) if quick else (15, 0.0)
        for before, after in _CHANGES:
            setting.say(f"{trials} changes from {before} to {after}")
            found = setting.call_beside_groups(
                f"{_PROBE}:change", _limit(trials, 1), before=before, after=after, trials=trials
            )
            yield from _flat({"scene": "change", "quota": before, "other_quota": after}, found)
        trials, seconds = (2, 0.4) if quick else (6, 2.0)
        for child, parent in _NESTED:
            setting.say(f"{child} within {parent}")
            options = {"parent": parent, "child": child, "trials": trials, "seconds": seconds}
            found = setting.call_beside_groups(f"{_PROBE}:within", _limit(trials, seconds), **options)
            yield from _flat({"scene": "nested", "quota": child, "other_quota": parent}, found)
        trials, seconds = (3, 0.45) if quick else (6, 3.0)
        for load, quota in _LIVE:
            setting.say(f"{load}, quota {quota}")
            options = {"quota": quota, "load": load, "trials": trials, "seconds": seconds}
            found = setting.call_beside_groups(f"{_PROBE}:live", _limit(trials, seconds), **options)
            yield from _flat({"scene": load, "quota": quota}, found)

    draw = staticmethod(picture)


def _limit(trials: int, seconds: float) -> float:
    return _OVERHEAD_S + 10 * trials * (1 + seconds)


def _flat(scene: Row, found: Sequence[Row]) -> Iterator[Row]:
    for trial, each in enumerate(found):
        moment = {name: each.get(name) for name in ("begun_ns", "written_ns", "wrote_ns", "refused")}
        head = {**scene, "trial": trial, **moment}
        if not each["samples"]:
            yield head
        for source, samples in (("watch", each["samples"]), ("sampler", each.get("sampler") or [])):
            for sample in samples:
                yield {**head, "source": source, **dict(zip(FIELDS, sample, strict=False))}
