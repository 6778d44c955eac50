"""The tables of a result as plain text cells, the same for the terminal, Markdown and HTML."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.conditions import load_label
from nanonap.durations import format_ns, parse_duration_ns

Summary = dict[str, Any]
_NONE = "–"
_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1))
_FULL = ("arm", "n", "min", "p50", "p99", "max", "σ", "over p50", "× stock", "× floor", "CPU/sleep")
_MODEL = ("condition", "busy", "stall predicted", "stall measured", "the two", "sleeps hit", "late mean")
_PARTS = ("timer", "throttled", "run queue", "Go scheduler", "unexplained")
_COST = ("arm", "late p50", "late p99", "CPU/sleep", "× stock", "of a core", "epoll/s", "switches/sleep", "threads")


@dataclass(frozen=True)
class Section:
    """Rows under a heading (empty: none)."""

    heading: str
    rows: list[list[str]]


@dataclass(frozen=True)
class Table:
    """``notes`` explain the columns; the first column holds names, the others figures."""

    title: str
    columns: Sequence[str]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)


def asked(requested_ns: int) -> str:
    """A requested duration, exactly: ``50 µs``."""
    unit, scale = next((pair for pair in _UNITS if requested_ns >= pair[1]), _UNITS[-1])
    return f"{requested_ns / scale:.10g} {unit}"


def condition_title(condition: dict[str, Any]) -> str:
    """A condition for a person."""
    kind, _, count = condition["load"].partition(":")
    many = "" if count == "1" else "s"
    neighbours = {
        "burn": f"Beside {count} CPU burner{many}",
        "sibling": f"Beside a process with {count} CPU burner{many} in the same group",
        "gc": f"Beside {count} allocating goroutine{many}",
        "sleepers": f"{count} sleepers",
    }.get(kind, "Quiet")
    processors = f", GOMAXPROCS {condition['gomaxprocs']}" if condition.get("gomaxprocs_set") else ""
    return f"{neighbours}, {_limit(condition['quota'])}{processors}"


def _limit(quota: str) -> str:
    if quota == "none":
        return "no quota"
    limit, _, burst = quota.partition("+burst=")
    share, _, period = limit.partition("/")
    more = f", burst {burst}" if burst else ""
    return f"quota {share} of a CPU (period {asked(parse_duration_ns(period or '100ms'))}{more})"


def by_condition(summary: Summary) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The cells of the sleeping conditions, without the cost workload, grouped by (quota, load), in their order."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for cell in summary["cells"]:
        if not cell["condition"]["load"].startswith("sleepers"):
            grouped[cell["condition"]["quota"], load_label(cell["condition"])].append(cell)
    return grouped


def full_tables(summary: Summary) -> list[Table]:
    """A table per condition, a section per requested duration, every column."""
    return [_full(cells) for cells in by_condition(summary).values()]


def terminal_tables(summary: Summary) -> list[Table]:
    """The first condition in full; of the others p50 and p99, since nobody reads two hundred rows; the cost."""
    groups = list(by_condition(summary).values())
    return [*map(_full, groups[:1]), *map(_compact, groups[1:]), *cost_tables(summary), *further_tables(summary)]


def cost_tables(summary: Summary) -> list[Table]:
    """The price of precision: a table per condition of the cost workload."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in summary["costs"]:
        grouped[row["condition"]["quota"], load_label(row["condition"])].append(row)
    return [_cost(rows) for rows in grouped.values()]


def further_tables(summary: Summary) -> list[Table]:
    """Where the time went, and the model beside the measured; each only where there is something to say."""
    return [*attribution_tables(summary), *model_tables(summary)]


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
        return _NONE
    return format_ns(value_ns) + (f" [{format_ns(low_high[0])}, {format_ns(low_high[1])}]" if low_high else "")


def _full(cells: list[dict[str, Any]]) -> Table:
    sections = [Section(f"asked for {asked(each)}", [_row(cell) for cell in own]) for each, own in _requested(cells)]
    runs = sorted({cell["runs"] for cell in cells})
    counted = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    notes = [
        f"{counted} runs an arm. over p50: median minus what was asked for. × floor: to the raw system call at the "
        "same timer slack. CPU/sleep: over the whole run, all durations together.",
        *_throttled(cells),
    ]
    return Table(condition_title(cells[0]["condition"]), _FULL, sections, notes)


def _throttled(cells: list[dict[str, Any]]) -> list[str]:
    shares = sorted({cell["throttled_share"] for cell in cells if cell["throttled_share"] is not None})
    if not shares:
        return []
    return [f"The quota stopped the programs in {shares[0]:.0%} to {shares[-1]:.0%} of its periods, by arm."]


def _row(cell: dict[str, Any]) -> list[str]:
    times = ("min_ns", "p50_ns", "p99_ns", "max_ns", "stdev_ns", "overshoot_p50_ns")
    ratios = ("p50_over_stock", "p50_over_floor")
    return [
        cell["arm"],
        str(cell["n"]),
        *(_time(cell[name]) for name in times),
        *(_ratio(cell[name]) for name in ratios),
        _time(cell["cpu_ns_per_sleep"]),
    ]


def _compact(cells: list[dict[str, Any]]) -> Table:
    durations = sorted({cell["requested_ns"] for cell in cells})
    known = {(cell["arm"], cell["requested_ns"]): cell for cell in cells}
    rows = []
    for arm in dict.fromkeys(cell["arm"] for cell in cells):
        own = [known.get((arm, each)) for each in durations]
        rows.append([arm, "p50", *(_time(cell["p50_ns"] if cell else None) for cell in own)])
        rows.append(["", "p99", *(_time(cell["p99_ns"] if cell else None) for cell in own)])
    columns = ["arm", "", *(asked(each) for each in durations)]
    return Table(
        condition_title(cells[0]["condition"]),
        columns,
        [Section("", rows)],
        ["A column per time asked for; p50 above p99.", *_throttled(cells)],
    )


def _cost(rows: list[dict[str, Any]]) -> Table:
    counters = {row["counter"] for row in rows if row["counter"]}
    count = rows[0]["condition"]["load"].partition(":")[2]
    notes = [
        f"{count} sleepers on absolute schedules, 20 µs apart, {asked(rows[0]['requested_ns'])} each. late: after "
        "the deadline. switches: voluntary."
    ]
    if counters:
        slowed = " (it slows the program: true rates are higher)" if "strace" in counters else ""
        notes.append(f"epoll/s: waits entered a second, counted by {', '.join(counters)} in a run apart{slowed}.")
    cells = [
        [
            row["arm"],
            _time(row["late_p50_ns"]),
            _time(row["late_p99_ns"]),
            _time(row["cpu_ns_per_sleep"]),
            _ratio(row["cpu_over_stock"]),
            _NONE if row["cpu_share"] is None else f"{row['cpu_share']:.0%}",
            _NONE if row["epoll_per_second"] is None else f"{row['epoll_per_second']:,.0f}",
            _ratio(row["switches_per_sleep"]),
            _NONE if row["threads_peak"] is None else str(row["threads_peak"]),
        ]
        for row in rows
    ]
    return Table(f"The price: {condition_title(rows[0]['condition'])}", _COST, [Section("", cells)], notes)


def _requested(cells: list[dict[str, Any]]) -> list[tuple[int, list[dict[str, Any]]]]:
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        grouped[cell["requested_ns"]].append(cell)
    return sorted(grouped.items())


def _time(value_ns: float | None) -> str:
    return _NONE if value_ns is None else format_ns(value_ns)


def _ratio(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"
