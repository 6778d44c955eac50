"""The tables of the experiment ``path``: calls and their limits, by arm and duration; the goroutine's states."""

import polars as pl

from nanonap.base.durations import asked, format_ns
from nanonap.lab.experiments.path import shares
from nanonap.lab.experiments.path.calls import EPOLL
from nanonap.lab.experiments.path.data import MANY, PERFED, RUNTIME, SHOWN_NS, STRACED, TRACEPOINTS
from nanonap.lab.experiments.path.trace import ASLEEP
from nanonap.lab.show.style import short
from nanonap.lab.show.tables import NONE, Section, Table

_SLOWED = "Tracing slows a program down: this tells where sleeps wait, not how long they last."


def call_table(data: pl.DataFrame) -> Table:
    """The calls of every arm and duration."""
    best = shares.sleeps_of(data, TRACEPOINTS, STRACED, PERFED)
    others = {source: shares.sleeps_of(data, source) for source in (STRACED, PERFED)}
    sections = []
    for arm in shares.arms_of(best):
        rows = []
        for (requested_ns,), of_best in best.filter(pl.col("arm") == arm).group_by("requested_ns"):
            own = {
                source: each.filter(pl.col("arm") == arm, pl.col("requested_ns") == requested_ns)
                for source, each in others.items()
            }
            call = shares.usual(of_best["call"])
            in_it = pl.when(pl.col("call") == call).then(pl.col("inside_ns")).otherwise(0)
            nano = [_part(each, pl.col("nanosleep_ns")) for each in (of_best, own[PERFED])]
            parts = [_part(of_best, in_it), *nano, _part(of_best, pl.col("monitor_ns"))]
            argued = own[STRACED] if own[STRACED].height else of_best
            cells = [call or NONE, _limit(argued), *parts, str(of_best.height)]
            rows.append((int(str(requested_ns)), cells))
        sections.append(Section(arm, [[asked(each), *cells] for each, cells in sorted(rows)]))
    columns = ("asked for", "waits in", "time limits", "in it", "nanosleep", "by perf", "monitor", "n")
    source = best["source"][0] if best.height else NONE
    notes = [
        f"waits in: the call that most of the sleeps spend most of their time in; in it: the share of all "
        f"the sleeps' time that those spend there ({source}). nanosleep, by perf: the share spent there, by {source} "
        "and by perf trace, by any thread but the runtime's system monitor. monitor: the share of the time in which "
        "that napped, whoever sleeps: beside the point, and easily taken for the sleep. n: sleeps.",
        "time limits: as strace shows the calls' arguments, one call after the other; of those that differ each time, "
        "one; ?: not shown (strace has none of a call that a signal ended). epoll_pwait takes whole milliseconds.",
        _SLOWED,
        *_missing(data),
    ]
    return Table("The system call that a sleep waits in", columns, sections, notes)


def limit_table(data: pl.DataFrame) -> Table:
    """The limits against the time left."""
    calls, sleeps = shares.calls_of(data), shares.sleeps_of(data, TRACEPOINTS, STRACED, PERFED)
    every = pl.col("timeout_ns").is_not_null()
    rows = []
    for arm in shares.arms_of(calls):
        if shares.usual(sleeps.filter(pl.col("arm") == arm)["call"]) not in EPOLL:
            continue  # what epoll calls there are wait for something else
        own = calls.filter(pl.col("arm") == arm)
        whole, close = shares.share(calls, arm, shares.by_rule(), every), shares.share(calls, arm, shares.near(), every)
        spread = [_time(own["past_ns"], q) for q in (0.05, 0.5, 0.95)]
        rule = NONE if whole is None or not own["call"].is_in(["epoll_pwait"]).all() else f"{whole.value:.1%}"
        rows.append([arm, str(own.height), rule, NONE if close is None else f"{close.value:.1%}", *spread])
    columns = ("arm", "calls", "whole ms left", f"within {short(shares.NEAR_NS)}", "past it: p5", "p50", "p95")
    notes = [
        f"Of the epoll calls that sleeps up to {asked(shares.SHORT_NS)} wait in. whole ms left: given the time left to "
        "the sleep's deadline, cut to whole milliseconds, and at least one. within: the limit reaches to the deadline, "
        "so near. past it: how far the limit reaches past the deadline (−: short of it; the scheduler then waits once "
        "more).",
        "netpoll asks for 1/128 less than is left, because epoll adds slack to long waits. sleep is not here: its "
        "sleeps wait elsewhere.",
    ]
    return Table("epoll's time limit beside the time left", columns, [Section("", rows)], notes)


def state_table(data: pl.DataFrame) -> Table:
    """The states of the goroutine."""
    traced = shares.states_of(data, TRACEPOINTS, RUNTIME)
    runs = data.filter(pl.col("kind") == "run")
    rows = []
    for arm in shares.arms_of(traced):
        own, of_arm = traced.filter(pl.col("arm") == arm), runs.filter(pl.col("arm") == arm)
        most = shares.usual(own["states"])
        agree = own.filter(pl.col("states") == most).height / own.height
        by_goroutine = shares.mean(own["by_goroutine"].cast(pl.Int64))
        by = NONE if by_goroutine is None else f"{1 - by_goroutine:.1%}"
        one, many = (of_arm.filter(pl.col("sleepers") == count) for count in (1, MANY))
        counts = [_mean(one, "traced_threads"), _mean(one, "processors"), _mean(many, "threads")]
        rows.append([arm, most or NONE, f"{agree:.1%}", by, *counts])
    columns = ("arm", "states of most sleeps", "of all", "scheduler", "Ms", "Ps", f"threads for {MANY}")
    notes = [
        "By runtime/trace. of all: the share of the sleeps that went so. scheduler: the share of the waiting sleeps "
        "that it woke, and no goroutine. Ms, Ps: threads and processors that ran goroutines in a run with one sleeper. "
        f"threads for {MANY}: of the process with {MANY} sleepers. The last three are means over runs.",
        "The folder of the result has a trace of each arm: `go tool trace trace-stock.out` opens it (with a Go release "
        "as new as the program's).",
    ]
    return Table("What the goroutine does meanwhile", columns, [Section("", rows)], notes)


def duration_table(data: pl.DataFrame) -> Table:
    """How long the states last."""
    traced = shares.states_of(data, TRACEPOINTS, RUNTIME).filter(pl.col("requested_ns") == SHOWN_NS)
    rows = []
    for arm in shares.arms_of(traced):
        own = traced.filter(pl.col("arm") == arm)
        columns = ("actual_ns", "running_ns", "waiting_ns", "syscall_ns", "runnable_ns")
        rows.append([arm, *(_time(own[column], 0.5) for column in columns)])
    notes = ["Medians. Runnable: its timer has run, and it waits for the thread to take it up.", _SLOWED]
    title = f"How long the states of a sleep of {asked(SHOWN_NS)} last"
    return Table(title, ("arm", "the sleep", "Running", ASLEEP, "Syscall", "Runnable"), [Section("", rows)], notes)


def _missing(data: pl.DataFrame) -> list[str]:
    gone = data.filter(pl.col("kind") == "missing").select("source", "arm", "missing").unique(maintain_order=True)
    return [f"Missing: {source}{f', {arm}' if arm else ''}: {why}." for source, arm, why in gone.iter_rows()]


def _limit(sleeps: pl.DataFrame) -> str:
    """The usual limits; where no two sleeps have the same, those of the sleep of median length."""
    arguments = sleeps.filter(pl.col("argument").is_not_null()).sort("actual_ns")["argument"]
    if not arguments.len():
        return NONE
    counted = arguments.value_counts(sort=True)
    most, count = counted.row(0)
    if 2 * int(count) >= arguments.len():
        return str(most)
    return f"e.g. {arguments[(arguments.len() - 1) // 2]}"


def _part(sleeps: pl.DataFrame, time_ns: pl.Expr) -> str:
    seen = sleeps.filter(pl.col("inside_ns").is_not_null())
    if not seen.height:
        return NONE
    part_ns, all_ns = seen.select(time_ns.sum().alias("part"), pl.col("actual_ns").sum()).row(0)
    return f"{part_ns / all_ns:.1%}"


def _time(values: pl.Series, q: float) -> str:
    value = shares.quantile(values, q)
    return NONE if value is None else format_ns(value)


def _mean(runs: pl.DataFrame, column: str) -> str:
    value = shares.mean(runs[column])
    return NONE if value is None else f"{value:.1f}"
