"""Tables of what a bench found beside its measurements: clusters, hiccups, where the time went, the model."""

from collections import defaultdict

from nanonap.base.durations import asked, format_ns
from nanonap.lab.judge.analysis import CellRow, Summary
from nanonap.lab.quota.above_limit import label
from nanonap.lab.show.tables import NONE, Section, Table, by_condition, condition_title, with_interval
from nanonap.lab.stats.clusters import Cluster

_MODEL = ("condition", "busy", "stall predicted", "stall measured", "the two", "sleeps hit", "late mean")
_PARTS = ("timer", "throttled", "run queue", "Go scheduler", "unexplained")


def further_tables(summary: Summary) -> list[Table]:
    """Hiccups of the machine, where the time went, the model; each only where there is something to say."""
    return [*control_tables(summary), *attribution_tables(summary), *model_tables(summary)]


def attribution_tables(summary: Summary) -> list[Table]:
    """The mean overshoot of each arm and condition, and its parts."""
    groups: dict[str, list[list[str]]] = defaultdict(list)
    above = label(summary.above)
    for row in summary.attribution:
        times = (row.granularity_ns, row.throttled_ns, row.runqueue_ns, row.goscheduler_ns, row.unexplained_ns)
        cells = [format_ns(each) if each else "0" for each in times]
        groups[f"quota {row.quota}{' of ours' if above else ''}, load {row.load}"].append(
            [row.arm, str(row.n), format_ns(row.overshoot_ns), *cells]
        )
    if not groups:
        return []
    methods = ", ".join(summary.bench.attribution.methods if summary.bench.attribution else {}) or "not known"
    notes = [
        f"Mean time late, in separate runs, recorded by {methods}. timer: from the deadline until the kernel woke a "
        "thread; throttled: stopped by a quota, of ours or above; run queue: waiting for a CPU that others had; "
        "Go scheduler: the process ran, this goroutine not yet.",
    ]
    sections = [Section(name, rows) for name, rows in groups.items()]
    title = _titled("Where the time went", summary)
    return [Table(title, ("arm", "n", "late", *_PARTS), sections, notes)]


def _titled(title: str, summary: Summary) -> str:
    """A table's title, with the limit above that all in it lies inside."""
    above = label(summary.above)
    return f"{title}, {above}" if above else title


def model_tables(summary: Summary) -> list[Table]:
    """What arithmetic says of each quota with busy neighbours, beside what was measured; none without such."""
    rows = [
        [
            f"{row.condition.quota}, {row.condition.load_label}",
            str(row.busy),
            format_ns(row.stall_ns),
            with_interval(row.measured_stall_ns, row.measured_stall_ci, format_ns),
            {"agrees": "agree", "differs": "differ"}.get(row.outcome, row.outcome),
            f"{row.hit_probability:.0%}",
            format_ns(row.late_mean_ns),
        ]
        for row in summary.model
    ]
    if not rows:
        return []
    notes = [
        "stall: how long the group stands still in a period, P − Q/m with m busy threads at once; measured: throttled "
        "time over periods and busy threads, the sleeper's own on another CPU included. "
        "sleeps hit, late mean: predicted, of sleeps that end at random times.",
        "Where others want the CPUs too, the quota is used up later, and measured stalls are shorter.",
        *(
            f"{row.condition.quota}, {row.condition.load_label}: {row.sentence}"
            for row in summary.model
            if row.outcome != "agrees"
        ),
    ]
    return [Table("The model beside the measured", _MODEL, [Section("", rows)], notes)]


def cluster_tables(summary: Summary) -> list[Table]:
    """Where sleeps fall into more than one cluster: a median between two is a time that no sleep took."""
    sections = []
    durations: list[int] = sorted({cell.requested_ns for cell in _clustered(summary)})
    for cells in by_condition(summary).values():
        rows: dict[str, dict[int, str]] = defaultdict(dict)
        for cell in cells:
            if len(cell.clusters) > 1:
                rows[cell.arm][cell.requested_ns] = clusters_text(cell.clusters)
        if rows:
            title = condition_title(cells[0].condition)
            lines = [[arm, *(own.get(each, NONE) for each in durations)] for arm, own in rows.items()]
            sections.append(Section(title, lines))
    if not sections:
        return []
    notes = ["Times around which sleeps cluster, with their share of all; a dash: one cluster, or not measured."]
    columns = ("arm", *(f"asked for {asked(each)}" for each in durations))
    return [Table("Sleeps that fall into more than one cluster", columns, sections, notes)]


def clusters_note(summary: Summary) -> str | None:
    """For the terminal, which has no room for the table."""
    several = len(_clustered(summary))
    every = sum(len(cells) for cells in by_condition(summary).values())
    return (
        f"In {several} of {every} cells sleeps fall into more than one cluster; the report shows them."
        if several
        else None
    )


def _clustered(summary: Summary) -> list[CellRow]:
    every = [cell for cells in by_condition(summary).values() for cell in cells]
    return [cell for cell in every if len(cell.clusters) > 1]


def clusters_text(clusters: list[Cluster]) -> str:
    """``2 clusters: 132 µs 82 %, 1.10 ms 18 %``."""
    told = (f"{format_ns(each.at_ns)} {100 * each.share:.0f} %" for each in clusters)
    return f"{len(clusters)} clusters: {', '.join(told)}"


def control_tables(summary: Summary) -> list[Table]:
    """What the idle control saw: the machine's own hiccups."""
    control = summary.control
    if not control:
        return []
    row = [
        "control",
        str(control.runs),
        str(control.n),
        format_ns(control.late_p50_ns),
        format_ns(control.late_p99_ns),
        str(control.hiccups),
        f"{100 * control.hiccup_share:.2g} %",
        ", ".join(map(str, control.blocks)) or "none",
    ]
    columns = ("arm", "runs", "n", "late p50", "late p99", "hiccups", "of all", "in blocks")
    what = f"later than {format_ns(control.hiccup_from_ns)}"
    notes = [f"An idle raw sleep of 1 ms in every block. hiccup: {what}, because of the machine and not of an arm."]
    title = _titled("What the machine does by itself", summary)
    return [Table(title, columns, [Section("", [row])], notes)]
