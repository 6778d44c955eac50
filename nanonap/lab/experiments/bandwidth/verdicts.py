"""What the samples of ``bandwidth`` say to its claims."""

import numpy as np
import polars as pl

from nanonap.lab.experiments.bandwidth import read
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.kit.ratios import outcome_of
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.quota.sampler import SERIES_SCHEMA
from nanonap.lab.quota.series import check, grows_while_throttled

_SAME = 0.15
_MOST = 0.9


def changed(data: pl.DataFrame) -> Verdict:
    """Q2: three parts."""
    says = (
        "a new quota counts from the next period on; used-up time comes back at a period's beginning; a child borrows"
    )
    moments = {quota: read.at_once(read.changes(data, quota)) for quota in read.quotas_of(data, "change")}
    waits = [None if ratio is None else ratio.within(-np.inf, 0.5) for ratio in moments.values()]
    refilled, stalls = read.at_boundary(data)
    shares = read.nested_shares(data)
    borrowed = [share.value > (1 + _SAME) * _limit(child, parent) for (child, parent), share in shares.items()]
    parts = [
        None if None in waits or not waits else all(waits),
        refilled >= _MOST if stalls else None,
        any(borrowed) if borrowed else None,
    ]
    gets = [f"{share.value:.0%} of a CPU with {child} in {parent}" for (child, parent), share in shares.items()]
    told = [
        "of the change in CPU time that a new quota makes if it counts at once, the group got, by the old quota: "
        + (", ".join(f"{quota} {ratio}" for quota, ratio in moments.items() if ratio) or "no data"),
        f"{refilled:.0%} of {stalls} stalls end at a period's beginning" if stalls else "no stalls were seen",
        f"a child gets {', '.join(gets) or 'no data'}",
        *(f"{child} in {parent} is refused ({name})" for child, parent, name in read.refusals(data)),
    ]
    figures = {
        "at_once": {quota: ratio.to_json() for quota, ratio in moments.items() if ratio},
        "stalls_ending_at_a_boundary": refilled if stalls else None,
        "nested": {f"{child} in {parent}": share.to_json() for (child, parent), share in shares.items()},
    }
    return Verdict("Q2", says, outcome_of(parts), "; ".join(told), figures)


def _limit(child: str, parent: str) -> float:
    limits = [parse_quota(text) for text in (child, parent)]
    return min(each.quota_ns / each.period_ns for each in limits if each.quota_ns is not None)


def grows_at_the_end(data: pl.DataFrame) -> Verdict:
    """Q3: at the end, by the stall's length, and seen live."""
    says = "throttled time grows by a stall's length when the stall ends, and can be sampled live"
    burning = list(read.trials(data, "burn", "20%"))
    stalls = sum(read.stalls_of(each, data).height for each in burning)
    throttled = sum(int(each["nr_throttled"][-1] - each["nr_throttled"][0]) for each in burning)
    amid = [grows_while_throttled(each.select(SERIES_SCHEMA.names())) for each in burning]
    length = read.accounted(data)
    parts = [
        not any(amid) if stalls else None,
        None if length is None else length.within(1 - _SAME, 1 + _SAME),
        stalls >= _MOST * (throttled - len(burning)) if throttled > len(burning) else None,
    ]
    sentence = (
        f"{stalls} whole stalls were seen for {throttled} throttled periods, at {read.sampling_rate(data):.0f} samples "
        f"per second; throttled time grew {'during stalls too' if any(amid) else 'only at their ends'}, to "
        f"{length or 'an unknown part'} of the time in which the busy thread did not run"
    )
    return Verdict("Q3", says, outcome_of(parts), sentence, {"accounted": length.to_json() if length else None})


def counts(data: pl.DataFrame) -> Verdict:
    """Q4: three parts."""
    says = "nr_throttled is never above nr_periods; nr_periods grows in every period; equal counts: throttled for good"
    kept = data.filter(pl.col("source").is_not_null())
    found = [check(each.sort("monotonic_ns").select(SERIES_SCHEMA.names())) for _, each in
             kept.group_by(["scene", "quota", "other_quota", "trial", "source"], maintain_order=True)]  # fmt: skip
    rows = [row for row in read.count_all(data) if row.counted is not None]
    busy = [row for row in rows if row.throttled >= _MOST and row.used is not None]
    parts = [
        all(each.holds for each in found) if found else None,
        all(row.counted.value >= 1 - _SAME for row in rows if row.counted) if rows else None,
        all(row.used.value < 0.01 for row in busy if row.used) if busy else None,
    ]
    excess = sum(each.more_throttled for each in found)
    torn = sum(each.torn for each in found)
    each_load = ", ".join(
        f"{row.counted.value:.0%} of the periods with {row.scene} under {row.quota}" for row in rows if row.counted
    )
    still = ", ".join(f"{row.used.value:.0%} of a CPU" for row in busy if row.used)
    sentence = (
        f"of {sum(each.samples for each in found)} samples {excess} have more throttled than periods ({torn} read "
        f"while the kernel counted); counted are {each_load or 'no data'}; a group that was throttled in every period "
        f"used {still or 'no data'}"
    )
    return Verdict("Q4", says, outcome_of(parts), sentence, {"more_throttled": excess, "torn": torn})
