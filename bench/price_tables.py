"""Tables of what precision costs: the cost workloads, and what wakes when nothing is due."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from bench.conditions import Load, load_label
from bench.tables import (
    NONE,
    Section,
    Summary,
    Table,
    asked,
    condition_title,
    ratio_text,
    ratio_with,
    time_text,
    time_with,
)

Row = dict[str, Any]
Column = tuple[str, str, Callable[[Row], str]]


def cost_tables(summary: Summary, *, narrow: bool = False) -> list[Table]:
    """The price of precision: a table per condition of the cost workloads, and one of the idle load.

    ``narrow`` leaves out intervals, and what a terminal has no room for.
    """
    return [*(_cost(rows, narrow) for rows in by_workload(summary).values()), *_idle(summary)]


def by_workload(summary: Summary) -> dict[tuple[str, str], list[Row]]:
    """The rows of the cost workloads by (quota, load): without a quota first, fewer sleepers before more."""
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in summary["costs"]:
        grouped[row["condition"]["quota"], load_label(row["condition"])].append(row)
    ordered = sorted(grouped, key=lambda each: (each[0] != "none", each[0], load_order(each[1])))
    return {condition: grouped[condition] for condition in ordered}


def load_order(label: str) -> tuple[bool, str, int]:
    """A sort key: sleepers that are not in step first, fewer before more."""
    kind, _, count = label.partition("@")[0].partition(":")
    return kind != "sleepers", kind, int(count or 0)


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


# Heading, the field that fills it, and how a row is written.
_NARROW: tuple[Column, ...] = (
    ("late p50", "late_p50_ns", lambda row: time_text(row["late_p50_ns"])),
    ("late p99", "late_p99_ns", lambda row: time_text(row["late_p99_ns"])),
    ("CPU", "cpu_ns_per_sleep", lambda row: time_text(row["cpu_ns_per_sleep"])),
    ("× stock", "cpu_over_stock", lambda row: ratio_text(row["cpu_over_stock"])),
    ("× rebuilt", "cpu_over_rebuilt", lambda row: ratio_text(row["cpu_over_rebuilt"])),
    ("wake-ups/s", "wakeups_per_second", lambda row: _rate(row["wakeups_per_second"])),
    ("calls/sleep", "syscalls_per_sleep", lambda row: ratio_text(row["syscalls_per_sleep"])),
    ("epoll/s", "epoll_per_second", lambda row: _rate(row["epoll_per_second"])),
    ("threads", "threads_peak", lambda row: str(row["threads_peak"])),
)
_WIDE: tuple[Column, ...] = (
    *_NARROW[:2],
    (
        "CPU [95 %]",
        "cpu_ns_per_sleep",
        lambda row: time_with(row["cpu_ns_per_sleep"], row["cpu_ns_per_sleep_ci"]),
    ),
    ("× stock", "cpu_over_stock", lambda row: ratio_with(row["cpu_over_stock"], row.get("cpu_over_stock_ci"))),
    ("× rebuilt", "cpu_over_rebuilt", lambda row: ratio_with(row["cpu_over_rebuilt"], row.get("cpu_over_rebuilt_ci"))),
    ("of a core", "cpu_share", lambda row: _share(row["cpu_share"])),
    ("wake-ups/s", "wakeups_per_second", lambda row: _rate(row["wakeups_per_second"])),
    ("CPU/wake-up", "cpu_ns_per_wakeup", lambda row: time_text(row["cpu_ns_per_wakeup"])),
    ("calls/sleep", "syscalls_per_sleep", lambda row: ratio_text(row["syscalls_per_sleep"])),
    ("epoll/s", "epoll_per_second", lambda row: _rate(row["epoll_per_second"])),
    ("switches/sleep", "switches_per_sleep", lambda row: ratio_text(row["switches_per_sleep"])),
    ("involuntary/sleep", "involuntary_per_sleep", lambda row: ratio_text(row["involuntary_per_sleep"])),
    ("threads", "threads_peak", lambda row: str(row["threads_peak"])),
)


def _cost(rows: list[Row], narrow: bool) -> Table:
    columns = [each for each in (_NARROW if narrow else _WIDE) if any(row.get(each[1]) is not None for row in rows)]
    if narrow and any(filled == "syscalls_per_sleep" for _, filled, _ in columns):
        columns = [each for each in columns if each[1] != "epoll_per_second"]
    cells = [
        [row["arm"], *(show(row) if row.get(filled) is not None else NONE for _, filled, show in columns)]
        for row in rows
    ]
    title = f"The price: {condition_title(rows[0]['condition'])}"
    return Table(title, ("arm", *(name for name, _, _ in columns)), [Section("", cells)], _notes(rows, columns))


def _notes(rows: list[Row], columns: list[Column]) -> list[str]:
    kind, _, count = rows[0]["condition"]["load"].partition(":")
    phase_ns = Load(kind, int(count)).phase_ns
    apart = f"{asked(phase_ns)} apart" if phase_ns else "all due at the same instants"
    each = (
        f", {apart}, {asked(rows[0]['requested_ns'])} each" if count != "1" else f", {asked(rows[0]['requested_ns'])}"
    )
    many = "" if count == "1" else "s"
    notes = [f"{count} sleeper{many} on absolute schedules{each}. late: after the deadline. CPU: per sleep."]
    if any(filled in ("wakeups_per_second", "cpu_ns_per_wakeup", "switches_per_sleep") for _, filled, _ in columns):
        notes.append("wake-ups, switches: a thread gave up its CPU to wait.")
    counters = {row["counter"] for row in rows if row["counter"]}
    if counters:
        slowed = " (it slows the program: true rates are higher)" if "strace" in counters else ""
        notes.append(
            f"epoll/s, calls/sleep: system calls, counted by {', '.join(sorted(counters))} in a run apart{slowed}."
        )
    return notes


def _idle(summary: Summary) -> list[Table]:
    rows = summary.get("idle") or []
    if not rows:
        return []
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        cells = [str(row["runs"]), _rate(row["wakeups_per_second"]), time_text(row["cpu_ns_per_second"])]
        groups[condition_title(row["condition"])].append([row["arm"], *cells])
    sections = [Section(name if len(groups) > 1 else "", own) for name, own in groups.items()]
    notes = ["One sleeper of a second: what wakes, and what CPU time goes, when next to nothing is due."]
    return [Table("The price when idle", ("arm", "runs", "wake-ups/s", "CPU/s"), sections, notes)]
