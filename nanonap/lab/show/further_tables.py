"""Tables of what a bench found beside its measurements: clusters, hiccups, where the time went, the model."""

from collections import defaultdict
from typing import Any

from bench.conditions import load_label
from bench.tables import NONE, Section, Summary, Table, asked, by_condition, condition_title
from nanonap.durations import format_ns

_MODEL = ("condition", "busy", "stall predicted", "stall measured", "the two", "sleeps hit", "late mean")
_PARTS = ("timer", "throttled", "run queue", "Go scheduler", "unexplained")


def further_tables(summary: Summary) -> list[Table]:
    """Hiccups of the machine, where the time went, the model; each only where there is something to say."""
    return [*control_tables(summary), *attribution_tables(summary), *model_tables(summary)]


def attribution_tables(summary: Summary) -> list[Table]:
    """The mean overshoot of each arm and condition, and its parts."""
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for row in summary.get("attribution", []):
        times = [row[f"{name}_ns"] for name in ("granularity", "throttled", "runqueue", "goscheduler", "unexplained")]
        cells = [format_ns(each) if each else "0" for each in times]
        groups[f"quota {row['quota']}, load {row['load']}"].append(
            [row["arm"], str(row["n"]), format_ns(row["overshoot_ns"]), *cells]
        )
    if not groups:
        return []
    methods = ", ".join((summary["bench"].get("attribution") or {}).get("methods", {})) or "not known"
    notes = [
        f"Mean time late, in runs apart, recorded by {methods}. timer: from the deadline until the kernel woke a "
        "thread; throttled: stopped by the quota; run queue: waiting for a CPU that others had; Go scheduler: the "
        "process ran, this goroutine not yet.",
    ]
    sections = [Section(name, rows) for name, rows in groups.items()]
    return [Table("Where the time went", ("arm", "n", "late", *_PARTS), sections, notes)]


def model_tables(summary: Summary) -> list[Table]:
    """What arithmetic says of each quota with busy neighbours, beside what was measured; none without such."""
    rows = [
        [
            f"{row['condition']['quota']}, {load_label(row['condition'])}",
            str(row["busy"]),
            format_ns(row["stall_ns"]),
            _between(row["measured_stall_ns"], row["measured_stall_ci"]),
            {"agrees": "agree", "differs": "differ"}.get(row["outcome"], row["outcome"]),
            f"{row['hit_probability']:.0%}",
            format_ns(row["late_mean_ns"]),
        ]
        for row in summary.get("model", [])
    ]
    if not rows:
        return []
    notes = [
        "stall: how long the group stands still in a period, P − Q/m with m busy threads at once; measured: throttled "
        "time over periods and busy threads, the sleeper's own on another CPU included. "
        "sleeps hit, late mean: predicted, of sleeps that end at random instants.",
        "Where others want the CPUs too, the quota is used up later, and measured stalls are shorter.",
        *(
            f"{row['condition']['quota']}, {load_label(row['condition'])}: {row['sentence']}"
            for row in summary["model"]
            if row["outcome"] != "agrees"
        ),
    ]
    return [Table("The model beside the measured", _MODEL, [Section("", rows)], notes)]


def _between(value_ns: float | None, low_high: list[float] | None) -> str:
    if value_ns is None:
        return NONE
    return format_ns(value_ns) + (f" [{format_ns(low_high[0])}, {format_ns(low_high[1])}]" if low_high else "")


def mode_tables(summary: Summary) -> list[Table]:
    """Where sleeps fall into more than one cluster: a median between two is a time that no sleep took."""
    sections = []
    durations: list[int] = sorted({cell["requested_ns"] for cell in _multimodal(summary)})
    for cells in by_condition(summary).values():
        rows: dict[str, dict[int, str]] = defaultdict(dict)
        for cell in cells:
            if len(cell.get("modes") or []) > 1:
                rows[cell["arm"]][cell["requested_ns"]] = modes_text(cell["modes"])
        if rows:
            title = condition_title(cells[0]["condition"])
            lines = [[arm, *(own.get(each, NONE) for each in durations)] for arm, own in rows.items()]
            sections.append(Section(title, lines))
    if not sections:
        return []
    notes = ["Times around which sleeps cluster, with their share of all; a dash: one cluster, or not measured."]
    columns = ("arm", *(f"asked for {asked(each)}" for each in durations))
    return [Table("Sleeps that fall into more than one cluster", columns, sections, notes)]


def modes_note(summary: Summary) -> str | None:
    """For the terminal, which has no room for the table."""
    several = len(_multimodal(summary))
    every = sum(len(cells) for cells in by_condition(summary).values())
    return (
        f"In {several} of {every} cells sleeps fall into more than one cluster; the report shows them."
        if several
        else None
    )


def _multimodal(summary: Summary) -> list[dict[str, Any]]:
    every = [cell for cells in by_condition(summary).values() for cell in cells]
    return [cell for cell in every if len(cell.get("modes") or []) > 1]


def modes_text(modes: list[dict[str, Any]]) -> str:
    """``2 modes: 132 µs 82 %, 1.10 ms 18 %``."""
    return f"{len(modes)} modes: " + ", ".join(
        f"{format_ns(mode['at_ns'])} {100 * mode['share']:.0f} %" for mode in modes
    )


def control_tables(summary: Summary) -> list[Table]:
    """What the idle control saw: the machine's own hiccups."""
    control = summary.get("control")
    if not control:
        return []
    row = [
        "control",
        str(control["runs"]),
        str(control["n"]),
        format_ns(control["late_p50_ns"]),
        format_ns(control["late_p99_ns"]),
        str(control["hiccups"]),
        f"{100 * control['hiccup_share']:.2g} %",
        ", ".join(map(str, control["blocks"])) or "none",
    ]
    columns = ("arm", "runs", "n", "late p50", "late p99", "hiccups", "of all", "in blocks")
    least = control.get("hiccup_from_ns")
    what = f"later than {format_ns(least)}" if least else "far later than usual"
    notes = [f"An idle raw sleep of 1 ms in every block. hiccup: {what}; that is the machine, and no arm's doing."]
    return [Table("What the machine does by itself", columns, [Section("", [row])], notes)]
