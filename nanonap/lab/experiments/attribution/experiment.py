"""Where late wake-ups lose their time in runs whose cause is known, and what that says of a quota's effect."""

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.attribution.attribute import PARTS
from nanonap.lab.attribution.path import Part
from nanonap.lab.experiments.attribution.method import LATE_NS, LEAST_EXPLAINED, LEAST_RIGHT, LEAST_SLEEPS, KnownAnswers
from nanonap.lab.experiments.attribution.runs import QUOTA
from nanonap.lab.experiments.kit.base import Outcome, Verdict


class Attributed(KnownAnswers):
    """Claim D5, beside the check of the method."""

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """D5 stands on the method: where that is not confirmed, it is not answered."""
        checked = super().judge(data)
        return [*checked, _cause(data, checked[0])]


def _cause(data: pl.DataFrame, method: Verdict) -> Verdict:
    says = "a sleep is late under a quota because its process is throttled while the clock runs on"
    if method.outcome not in ("holds", "holds in part"):
        unknown: Outcome = "not settled" if method.outcome == "refuted" else method.outcome
        return Verdict("D5", says, unknown, f"the attribution is not confirmed: {method.sentence}")
    own = method.figures[QUOTA]
    if own["explained"] < LEAST_EXPLAINED or own["right"] < LEAST_RIGHT:
        sentence = (
            f"the attribution is not confirmed where it matters ({QUOTA}: {own['explained']:.1%} explained, throttling "
            f"the largest part of {own['right']:.1%} of the late sleeps): the method or the claim is wrong"
        )
        return Verdict("D5", says, "not settled", sentence, {QUOTA: own})
    sleeps = data.filter(pl.col("run") == QUOTA, pl.col("kind") == "sleep")
    late = sleeps.filter(pl.col("overshoot_ns") > LATE_NS)
    if late.height < LEAST_SLEEPS:
        return Verdict("D5", says, "not settled", f"only {late.height} sleeps were late under the quota")
    lost = int(late["overshoot_ns"].sum())
    shares = {part: int(late[part].sum()) / lost for part in PARTS}
    throttled = shares[f"{Part.THROTTLED.value}_ns"]
    outcome: Outcome = "holds" if throttled >= LEAST_RIGHT else "holds in part" if throttled >= 0.5 else "refuted"
    punctual = 1 - late.height / sleeps.height
    sentence = (
        f"of what {late.height} sleeps under the quota lost, {throttled:.1%} is throttled time; {punctual:.0%} of the "
        f"{sleeps.height} sleeps were less than {format_ns(LATE_NS)} late: those that did not end in a stall"
    )
    return Verdict("D5", says, outcome, sentence, {"shares": shares, "punctual": punctual})
