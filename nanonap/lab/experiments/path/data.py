"""The data of the experiment ``path``: its columns, who watched, and what was asked for."""

import polars as pl

TRACEPOINTS, STRACED, PERFED, RUNTIME = "tracepoints", "strace", "perf trace", "runtime/trace"
SCHEMA = {
    "kind": pl.String,  # sleep, call, span (of the picture), run, missing
    "source": pl.String,  # who watched: tracepoints (with runtime/trace), strace, perf trace, runtime/trace
    "arm": pl.String,
    "block": pl.Int64,
    "index": pl.Int64,  # of the sleep in its run
    "requested_ns": pl.Int64,
    "actual_ns": pl.Int64,
    # of a sleep: the call in which most of its time went, and its time limits, one after the other
    "call": pl.String,
    "argument": pl.String,
    "inside_ns": pl.Int64,  # how much of the sleep lies in that call
    "nanosleep_ns": pl.Int64,  # and in nanosleep, of any thread but the next
    "monitor_ns": pl.Int64,  # meanwhile the system monitor napped (nanosleep; with usleep clock_nanosleep)
    # of a sleep: its goroutine's states, and ns in each
    "states": pl.String,
    "running_ns": pl.Int64,
    "waiting_ns": pl.Int64,  # for the reason "sleep" alone
    "runnable_ns": pl.Int64,
    "syscall_ns": pl.Int64,
    "by_goroutine": pl.Boolean,  # whether a goroutine woke it, not the scheduler
    # of an epoll call: its time limit (-1: none), the time left then, and how far past the deadline that reaches
    "timeout_ns": pl.Int64,
    "left_ns": pl.Int64,
    "past_ns": pl.Int64,  # by the kernel's own timer, where that was recorded
    # of a span or moment of the picture: from the request on
    "lane": pl.String,
    "name": pl.String,
    "begin_ns": pl.Int64,
    "end_ns": pl.Int64,
    # of a run
    "sleepers": pl.Int64,
    "threads": pl.Int64,
    "traced_threads": pl.Int64,
    "processors": pl.Int64,
    "timerproc": pl.Int64,  # how often the name is in the program and in the trace
    "known": pl.Int64,  # and one that must be there
    "missing": pl.String,
}
#: The sleep that the picture shows.
SHOWN_NS = 100_000
#: The many sleepers of the runs that count threads.
MANY = 50
