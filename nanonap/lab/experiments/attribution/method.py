"""Runs in which the cause of every late wake-up is known: does the attribution find it?"""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from nanonap.base.durations import format_ns
from nanonap.lab.attribution.attribute import PARTS, Attribution
from nanonap.lab.attribution.path import Part
from nanonap.lab.attribution.recorder import COUNTERS, NOTHING, SCHEDSTAT
from nanonap.lab.experiments.attribution.runs import CAUSES, run_known
from nanonap.lab.experiments.kit.base import Experiment, Outcome, Setting, Verdict
from nanonap.lab.show.plots import attribution
from nanonap.lab.show.style import DPI, SMALL, headline
from nanonap.lab.show.tables import Section, Table

LATE_NS = 5_000_000
LEAST_EXPLAINED, LEAST_RIGHT, LEAST_SLEEPS = 0.95, 0.90, 5


class KnownAnswers(Experiment):
    """Claim A1."""

    name = "attribution"
    question = "Does the attribution of late wake-ups find the cause where it is known?"
    expects = (
        "of the time that sleeps later than 5 ms lose, at least 95 % is explained, and the known cause is the largest "
        "part of at least 90 % of them: a quota that a burner spends; a light group beside a heavier one on the same "
        "CPU; three burners beside the sleeper on one P"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """Three runs: one row per sleep (``kind`` sleep), and what the threads did in one second (``kind`` state)."""
        frames = []
        for name in CAUSES:
            setting.stop.check()
            setting.say(name)
            frames.append(_rows(name, run_known(name, setting.program, setting.backend, setting.stop, setting.quick)))
        return pl.concat(frames, how="diagonal")

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """From the late sleeps of the three runs."""
        says = "late wake-ups are attributed, and to the right cause"
        sleeps = data.filter(pl.col("kind") == "sleep")
        methods = sorted(set(sleeps["method"].to_list()))
        if not methods or set(methods) & {SCHEDSTAT, COUNTERS, NOTHING}:
            sentence = f"the kernel's tracepoints were not recorded; method: {', '.join(methods) or NOTHING}"
            return [Verdict("A1", says, "cannot be tested here", sentence)]
        figures = {name: _figures(sleeps.filter(pl.col("run") == name), cause) for name, cause in CAUSES.items()}
        if any(each["late"] < LEAST_SLEEPS for each in figures.values()):
            few = ", ".join(f"{name}: {each['late']:.0f}" for name, each in figures.items())
            sentence = (
                f"too few sleeps later than {format_ns(LATE_NS)} ({few}; at least {LEAST_SLEEPS} each are needed)"
            )
            return [Verdict("A1", says, "not settled", sentence, figures)]
        right = [each["explained"] >= LEAST_EXPLAINED and each["right"] >= LEAST_RIGHT for each in figures.values()]
        outcome: Outcome = "holds" if all(right) else "holds in part" if any(right) else "refuted"
        parts = [
            f"{name}: {each['explained']:.1%} explained, {each['right']:.1%} of {each['late']:.0f} late sleeps right"
            for name, each in figures.items()
        ]
        return [Verdict("A1", says, outcome, f"{'; '.join(parts)} ({', '.join(methods)})", figures)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """One row per run: the mean time that its late sleeps lost, in parts."""
        rows = []
        for name in CAUSES:
            late = _late(data.filter(pl.col("run") == name))
            means = [float(late[part].sum()) / max(late.height, 1) for part in ("overshoot_ns", *PARTS)]
            rows.append([name, f"{late.height}", *(format_ns(mean) for mean in means)])
        columns = ("run", "late sleeps", "late", *(attribution.LABELS[part] for part in Part))
        title = f"Sleeps later than {format_ns(LATE_NS)}: mean time late, and its parts"
        return [Table(title, columns, [Section("", rows)])]

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """The parts of each run, and below one second of each."""
        figure = Figure(figsize=(10.0, 11.0), dpi=DPI, layout="constrained")
        panels = figure.subplots(1 + len(CAUSES), 1, height_ratios=(1, *(1.3 for _ in CAUSES)))
        attribution.draw_parts(panels[0], {name: _late(data.filter(pl.col("run") == name)) for name in CAUSES})
        headline(panels[0], f"Sleeps later than {format_ns(LATE_NS)}")
        for axes, name in zip(panels[1:], CAUSES, strict=True):
            run = data.filter(pl.col("run") == name)
            sleeps, states = run.filter(pl.col("kind") == "sleep"), run.filter(pl.col("kind") == "state")
            attribution.draw_timeline(axes, sleeps, states, attribution.latest_second(sleeps))
            headline(axes, f"{name}: one second")
        handles = [*attribution.part_handles(), *attribution.timeline_handles()]
        figure.legend(handles=handles, loc="outside upper center", ncols=8, frameon=False, fontsize=SMALL)
        return figure


def _late(data: pl.DataFrame) -> pl.DataFrame:
    return data.filter((pl.col("kind") == "sleep") & (pl.col("overshoot_ns") > LATE_NS))


def _figures(sleeps: pl.DataFrame, cause: Part) -> dict[str, float]:
    """Late sleeps, the explained share of the time that they lost, the share of them with ``cause`` largest."""
    late = _late(sleeps)
    if not late.height:
        return {"late": 0, "explained": 0.0, "right": 0.0}
    lost, unexplained = int(late["overshoot_ns"].sum()), int(late[f"{Part.UNEXPLAINED.value}_ns"].sum())
    right = late.filter(pl.col(f"{cause.value}_ns") == pl.max_horizontal(PARTS)).height
    return {"late": late.height, "explained": 1 - unexplained / lost, "right": right / late.height}


def _rows(name: str, known: Attribution) -> pl.DataFrame:
    start_ns = attribution.latest_second(known.sleeps)
    inside = (pl.col("end_ns") > start_ns) & (pl.col("start_ns") < start_ns + attribution.SECOND_NS)
    about = (pl.lit(name).alias("run"), pl.lit(CAUSES[name].value).alias("cause"))
    method = pl.lit(known.method).alias("method")
    sleeps = known.sleeps.with_columns(*about, method, pl.lit("sleep").alias("kind"))
    states = known.states.filter(inside).with_columns(*about, method, pl.lit("state").alias("kind"))
    return pl.concat([sleeps, states], how="diagonal")
