"""How late sleeps end under a quota, quiet and beside busy threads: is it what the model says?"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Experiment, Outcome, Row, Setting, Verdict
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.experiments.kit.counted import counters, throttled_share
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, ratio_by_block
from nanonap.lab.ground.host import cpus_allowed
from nanonap.lab.ground.hosts import host_of
from nanonap.lab.model.model import Prediction, predict
from nanonap.lab.model.model_compare import Comparison, compare_lateness
from nanonap.lab.plan.conditions import Condition, Load, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota, parse_quota
from nanonap.lab.run.runner import measure
from nanonap.lab.show.style import DPI, SMALL, dress, headline, short
from nanonap.lab.show.tables import Section, Table

QUOTA = parse_quota("50%")
QUIET, BUSY = Load("quiet"), parse_load("sibling:2")
_SEED = 1
#: With and without quota: other work on the machine is not to keep the busy threads from using the quota up.
_WEIGHT = 1_000
#: A sleeper is not stretched if its sleeps last the same within so much.
SAME_WITHIN = 0.02
_ENOUGH_THROTTLED = 0.8
SCHEMA = {
    "load": pl.String,
    "quota": pl.String,
    "block": pl.Int64,
    "busy_cpus": pl.Int64,
    "requested_ns": pl.Int64,
    "actual_ns": pl.Int64,
    "nr_periods": pl.Int64,
    "nr_throttled": pl.Int64,
}


class Stretch(Experiment):
    """Claims M1 (a quiet sleeper) and M2 (a loaded one)."""

    name = "stretch"
    question = "How late do sleeps end under half a CPU, quiet and beside two busy threads?"
    expects = (
        "a quiet sleeper's sleeps last as long as without the quota; beside busy threads as many end in a stall, and "
        "are as late on average, as the model says: 1 − Q/(mP) of them, by (P − Q/m)²/(2P)"
    )

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """One row per sleep. What is asked for lies evenly over a period, so that sleeps end at any moment of one."""
        # Sleeps begin where a stall ends, so the same moments of a period come again. Of a multiple of four moments as
        # many lie in the model's stall, three quarters of the period, as the model says.
        steps = 4 if setting.quick else 8
        period_ns = QUOTA.period_ns
        plan = tuple((period_ns + (2 * step + 1) * period_ns // (2 * steps), 1) for step in range(steps))
        arm = plain_arm("stock", setting.program)
        cpus = host_of({}, setting.backend.facts()).cpus_online or cpus_allowed()
        conditions = [Condition(quota, load) for load in (QUIET, BUSY) for quota in (Quota(), QUOTA)]
        for block in range(3 if setting.quick else 12):
            for condition in conditions if block % 2 else reversed(conditions):
                setting.say(f"block {block + 1}, {condition}")
                run = Run(block, arm, condition, plan, 0, seed=_SEED + block, weight=_WEIGHT)
                done = measure(run, 2, setting.backend, setting.stop)
                counted = counters(done.throttling)
                counted.pop("throttled_ns", None)
                about = {"load": str(condition.load), "quota": str(condition.quota), "block": block, "busy_cpus": cpus}
                for requested_ns, actual_ns in done.output.samples[:2].T.tolist():
                    yield {**about, "requested_ns": requested_ns, "actual_ns": actual_ns, **counted}

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """The quiet sleeper by the ratio of its sleeps, the loaded one by the model."""
        return [_quiet(data), _loaded(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """Predicted and measured, a row a quantity."""
        quiet = _stretch(data, QUIET)
        rows = [["quiet: length of a sleep", "1 ×", str(quiet) if quiet else "–", "–"]]
        for each in _comparisons(data):
            show = "{:.1%}".format if each.quantity.startswith("share") else format_ns
            between = each.measured_interval
            bounds = f" [{show(between[0])}, {show(between[1])}]" if between else ""
            predicted = show(each.predicted)
            if each.predicted_range[0] != each.predicted_range[1]:
                predicted += f" ({show(each.predicted_range[0])} … {show(each.predicted_range[1])})"
            measured = "–" if each.measured is None else show(each.measured) + bounds
            rows.append([f"{BUSY}: {each.quantity}", predicted, measured, each.outcome])
        notes = [
            f"Quota {QUOTA}. Late: by how much more than the median of the same load without a quota. "
            f"The kernel stopped the group in {_throttled(data):.0%} of its periods."
        ]
        return [Table("What a quota does to sleeps", ("", "predicted", "measured", ""), [Section("", rows)], notes)]

    def draw(self, data: pl.DataFrame) -> Figure:
        """How many sleeps were at most so late, measured and predicted."""
        figure = Figure(figsize=(7.6, 4.2), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        prediction = _prediction(data)
        late = np.linspace(0, QUOTA.period_ns, 400)
        predicted = [1 - prediction.late_probability(int(each)) for each in late]
        axes.plot(late, predicted, color="#0072B2", linewidth=2, label="beside busy threads, predicted")
        for load, colour in ((BUSY, "#D55E00"), (QUIET, "#009E73")):
            values = np.sort(np.concatenate(_lateness(data, load)))
            label = f"{load}, measured under {QUOTA}"
            axes.step(values, np.arange(1, values.size + 1) / values.size, where="post", color=colour, label=label)
        axes.set_xlim(-0.02 * QUOTA.period_ns, QUOTA.period_ns)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("later than without a quota", fontsize=SMALL)
        axes.set_ylabel("share of the sleeps", fontsize=SMALL)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        headline(axes, "What half a CPU does to sleeps")
        dress(axes, labels=10)
        axes.legend(frameon=False, fontsize=SMALL, loc="lower right")
        return figure


def _quiet(data: pl.DataFrame) -> Verdict:
    says = "a quota does not stretch the sleeps of a quiet program"
    ratio = _stretch(data, QUIET)
    if ratio is None or ratio.within(1 - SAME_WITHIN, 1 + SAME_WITHIN) is None:
        return Verdict("M1", says, "not settled", f"{ratio}; {TOO_FEW}" if ratio else "no data")
    outcome: Outcome = "holds" if ratio.within(1 - SAME_WITHIN, 1 + SAME_WITHIN) else "refuted"
    sentence = f"its sleeps last {ratio} as long as without the quota (the same is within {SAME_WITHIN:.0%})"
    return Verdict("M1", says, outcome, sentence, ratio.to_json())


def _loaded(data: pl.DataFrame) -> Verdict:
    says = "beside busy threads sleeps are stretched by the model's amount"
    share = _throttled(data)
    if share < _ENOUGH_THROTTLED:
        why = f"the group was stopped in {share:.0%} of its periods only: others want the CPUs; take a quiet machine"
        return Verdict("M2", says, "not settled", why)
    found = _comparisons(data)
    outcomes, sentence = [each.outcome for each in found], "; ".join(each.sentence for each in found)
    if "not settled" in outcomes:
        return Verdict("M2", says, "not settled", sentence)
    agree = outcomes.count("agrees")
    outcome: Outcome = "holds" if agree == len(found) else "holds in part" if agree else "refuted"
    return Verdict("M2", says, outcome, sentence, {each.quantity: each.to_json() for each in found})


def _stretch(data: pl.DataFrame, load: Load) -> Ratio | None:
    of, base = ({"load": str(load), "quota": quota} for quota in (str(QUOTA), "none"))
    return ratio_by_block(data, "actual_ns", of, base)


def _throttled(data: pl.DataFrame) -> float:
    """The share of the loaded group's periods in which it was stopped."""
    runs = data.filter(pl.col("load") == str(BUSY), pl.col("quota") == str(QUOTA)).unique("block")
    return throttled_share(runs) or 0.0


def _prediction(data: pl.DataFrame) -> Prediction:
    return predict(QUOTA, BUSY.count, int(data["busy_cpus"][0]))


def _lateness(data: pl.DataFrame, load: Load) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Of each run under the quota, how much later each sleep ended than the same load's median without one; ns."""
    own = data.filter(pl.col("load") == str(load)).with_columns(late=pl.col("actual_ns") - pl.col("requested_ns"))
    without = own.filter(pl.col("quota") == "none")["late"].median()
    base = int(without) if isinstance(without, float) else 0
    under = own.filter(pl.col("quota") == str(QUOTA))
    return [
        part["late"].to_numpy().astype(np.int64) - base for part in under.partition_by("block", maintain_order=True)
    ]


def _comparisons(data: pl.DataFrame) -> tuple[Comparison, ...]:
    return compare_lateness(_prediction(data), _lateness(data, BUSY), _SEED)
