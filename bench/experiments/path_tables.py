"""The tables of the experiment ``path``: calls and their limits, by arm and duration; the goroutine's states."""

import polars as pl

from bench.experiments.path_data import MANY, PERFED, RUNTIME, SHOWN_NS, STRACED, TRACEPOINTS
from bench.experiments.path_verdicts import (
    NEAR_NS,
    SHORT_NS,
    by_rule,
    calls_of,
    near,
    share,
    sleeps_of,
)
from bench.look import short
from bench.tables import NONE, Section, Table, asked
from nanonap.durations import format_ns

_SLOWED = "Tracing slows a program down: this tells where sleeps wait, not how long they last."


def tables(data: pl.DataFrame) -> list[Table]:
    """The calls of every arm and duration, the limits against the time left, the states."""
    return [_calls(data), _limits(data), _states(data), _durations(data)]


def _calls(data: pl.DataFrame) -> Table:
    best = sleeps_of(data, TRACEPOINTS, STRACED, PERFED)
    others = {source: sleeps_of(data, source) for source in (STRACED, PERFED)}
    sections = []
    for arm in _arms(best):
        rows = []
        for (requested_ns,), of_best in best.filter(pl.col("arm") == arm).group_by("requested_ns"):
            own = {
                source: each.filter(pl.col("arm") == arm, pl.col("requested_ns") == requested_ns)
                for source, each in others.items()
            }
            row = [_part(of_best, "inside_ns"), _part(of_best, "nanosleep_ns"), _part(own[PERFED], "nanosleep_ns")]
            argued = own[STRACED] if own[STRACED].height else of_best
            cells = [_usual(of_best, "call"), _limit(argued), *row, _part(of_best, "monitor_ns"), str(of_best.height)]
            rows.append((int(str(requested_ns)), cells))
        sections.append(Section(arm, [[asked(each), *cells] for each, cells in sorted(rows)]))
    columns = ("asked for", "waits in", "time limits", "in it", "nanosleep", "by perf", "monitor", "n")
    source = best["source"][0] if best.height else NONE
    notes = [
        f"waits in: the call that most of the sleeps spend most of their time in; in it: the share of the sleeps' time "
        f"({source}). nanosleep, by perf: the share spent there, by {source} and by perf trace. monitor: the share "
        "of the time in which the runtime's system monitor napped, whoever sleeps: beside the point, and easily taken "
        "for the sleep. n: sleeps.",
        "time limits: as strace shows the calls' arguments, one call after the other; of those that differ each time, "
        "one. epoll_pwait takes whole milliseconds.",
        _SLOWED,
        *_missing(data),
    ]
    return Table("The system call that a sleep waits in", columns, sections, notes)


def _limits(data: pl.DataFrame) -> Table:
    calls = calls_of(data)
    every = pl.col("timeout_ns").is_not_null()
    rows = []
    for arm in _arms(calls):
        own = calls.filter(pl.col("arm") == arm)
        whole, close = share(calls, arm, by_rule(), every), share(calls, arm, near(), every)
        past = own["past_ns"].drop_nulls()
        spread = [_quantile(past, q) for q in (0.05, 0.5, 0.95)]
        rule = NONE if whole is None or not own["call"].is_in(["epoll_pwait"]).all() else f"{whole.value:.1%}"
        rows.append([arm, str(own.height), rule, NONE if close is None else f"{close.value:.1%}", *spread])
    columns = ("arm", "calls", "whole ms left", f"within {short(NEAR_NS)}", "past it: p5", "p50", "p95")
    notes = [
        f"Of the epoll calls of sleeps up to {asked(SHORT_NS)}. whole ms left: given the time left to the sleep's "
        "deadline, cut to whole milliseconds, and at least one. within: the limit reaches to the deadline, so near. "
        "past it: how far the limit reaches past the deadline (−: short of it; the scheduler then waits once more).",
        "netpoll asks for 1/128 less than is left, because epoll adds slack to long waits. sleep's epoll calls are "
        "those of idle threads: its own sleeps wait elsewhere.",
    ]
    return Table("epoll's time limit beside the time left", columns, [Section("", rows)], notes)


def _states(data: pl.DataFrame) -> Table:
    traced = sleeps_of(data, TRACEPOINTS, RUNTIME).filter(pl.col("states").is_not_null())
    runs = data.filter(pl.col("kind") == "run")
    rows = []
    for arm in _arms(traced):
        own, of_arm = traced.filter(pl.col("arm") == arm), runs.filter(pl.col("arm") == arm)
        usual = _usual(own, "states")
        agree = own.filter(pl.col("states") == usual).height / own.height
        woken = own["by_goroutine"].drop_nulls()
        by = NONE if not woken.len() else "a goroutine" if woken.any() else "scheduler"
        one, many = (of_arm.filter(pl.col("sleepers") == count) for count in (1, MANY))
        counts = [_mean(one, "traced_threads"), _mean(one, "processors"), _mean(many, "threads")]
        rows.append([arm, usual, f"{agree:.1%}", by, *counts])
    columns = ("arm", "states of most sleeps", "of all", "woken by", "Ms", "Ps", f"of {MANY}")
    notes = [
        "By runtime/trace. of all: the share of the sleeps that went so. Ms, Ps: threads and processors that ran "
        f"goroutines in a run with one sleeper. of {MANY}: threads of the process with {MANY} sleepers.",
        "The folder of the result has a trace of each arm: `go tool trace trace-stock.out` opens it (with a Go release "
        "as new as the program's).",
    ]
    return Table("What the goroutine does meanwhile", columns, [Section("", rows)], notes)


def _durations(data: pl.DataFrame) -> Table:
    traced = sleeps_of(data, TRACEPOINTS, RUNTIME).filter(
        pl.col("states").is_not_null(), pl.col("requested_ns") == SHOWN_NS
    )
    rows = []
    for arm in _arms(traced):
        own = traced.filter(pl.col("arm") == arm)
        columns = ("actual_ns", "running_ns", "waiting_ns", "syscall_ns", "runnable_ns")
        rows.append([arm, *(_quantile(own[column], 0.5) for column in columns)])
    notes = ["Medians. Runnable: its timer has run, and it waits for the thread to take it up.", _SLOWED]
    title = f"How long the states of a sleep of {asked(SHOWN_NS)} last"
    return Table(title, ("arm", "the sleep", "Running", "Waiting", "Syscall", "Runnable"), [Section("", rows)], notes)


def _missing(data: pl.DataFrame) -> list[str]:
    gone = data.filter(pl.col("kind") == "missing").select("source", "arm", "missing").unique(maintain_order=True)
    return [f"Missing: {source}{f', {arm}' if arm else ''}: {why}." for source, arm, why in gone.iter_rows()]


def _arms(data: pl.DataFrame) -> list[str]:
    order = ["stock", "usleep", "sleep", "netpoll", "netpoll+slack1"]
    found = set(data["arm"].drop_nulls().to_list())
    return [arm for arm in order if arm in found] + sorted(found.difference(order))


def _usual(data: pl.DataFrame, column: str) -> str:
    values = data[column].drop_nulls()
    return str(values.mode().sort()[0]) if values.len() else NONE


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


def _part(sleeps: pl.DataFrame, column: str) -> str:
    values = sleeps.filter(pl.col(column).is_not_null())
    return f"{int(values[column].sum()) / int(values['actual_ns'].sum()):.1%}" if values.height else NONE


def _quantile(values: pl.Series, q: float) -> str:
    value = values.quantile(q)
    return NONE if value is None else format_ns(value)


def _mean(runs: pl.DataFrame, column: str) -> str:
    value = runs[column].mean()
    return f"{value:.1f}" if isinstance(value, int | float) else NONE
