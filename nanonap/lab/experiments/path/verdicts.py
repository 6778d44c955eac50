"""What the sleeps say to three claims: on epoll's time limit (T1), a goroutine's states (T2), and on perf (T5)."""

import polars as pl

from nanonap.base.durations import asked, format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, json_of, outcome_of
from nanonap.lab.experiments.path import shares
from nanonap.lab.experiments.path.data import MANY, PERFED, RUNTIME, SHOWN_NS, STRACED, TRACEPOINTS
from nanonap.lab.experiments.path.trace import ASLEEP, TO
from nanonap.lab.show.tables import NONE

#: A share that is as good as all.
NEARLY_ALL = 0.9
#: With fewer threads than this for a sleeper, a sleeper does not take a thread.
OF_A_THREAD = 0.5
IN_ORDER = TO.join(("Running", ASLEEP, "Runnable", "Running"))
_SPENT = pl.col("actual_ns")


def bounded_waits(data: pl.DataFrame) -> Verdict:
    """T1, as far as it can be seen in the calls' limits."""
    says = "epoll's wait is bounded by the earliest timer's deadline, so timers are precise to the nanosecond"
    calls = shares.calls_of(data)
    every = pl.col("timeout_ns").is_not_null()
    bounded = shares.share(calls, "stock", shares.by_rule(), every)
    precise = {
        arm: shares.share(calls, arm, shares.near(), every)
        for arm in shares.arms_of(calls)
        if arm.startswith(("stock", "netpoll"))
    }
    if bounded is None or precise.get("stock") is None:
        return Verdict("T1", says, "cannot be tested here", _lacking(data, TRACEPOINTS, STRACED))
    stock = precise.pop("stock")
    found = [bounded.within(NEARLY_ALL, 1), _all_or_none(stock)]
    of_stock = calls.filter(pl.col("arm") == "stock")
    shown = shares.quantile(of_stock.filter(pl.col("requested_ns") == SHOWN_NS)["past_ns"], 0.5)
    durations = ", ".join(asked(each) for each in of_stock["requested_ns"].unique().sort())
    parts = [
        f"{_percent(bounded)} of stock's epoll calls get the time left to the deadline in whole ms, at least 1 ms",
        f"so, in sleeps of {durations}, the limit of {_percent(stock)} of them reaches to within "
        f"{format_ns(shares.NEAR_NS)} of the deadline",
    ]
    if shown is not None:
        parts.append(f"in sleeps of {asked(SHOWN_NS)} it lies {format_ns(shown)} past it (median)")
    parts += [f"{arm}: within {format_ns(shares.NEAR_NS)} in {_percent(each)}" for arm, each in precise.items() if each]
    figures: dict[str, object] = {"bounded": bounded.to_json(), "stock": json_of(stock)}
    figures |= {arm: each.to_json() for arm, each in precise.items() if each}
    return _verdict("T1", says, outcome_of(found), parts, figures, settled=None not in found)


def states(data: pl.DataFrame) -> Verdict:
    """T2: the order of the states; whether a sleeper takes a thread; what wakes it."""
    says = (
        "a goroutine in time.Sleep goes from waiting to runnable to running, never blocks its thread, and is woken by "
        "a goroutine named timerproc"
    )
    traced = shares.states_of(data, TRACEPOINTS, RUNTIME)
    order = shares.share(traced, "stock", pl.col("states") == IN_ORDER, pl.col("states").is_not_null())
    runs = data.filter(pl.col("kind") == "run")
    many = runs.filter(pl.col("sleepers") == MANY)
    threads = {arm: shares.share(many, arm, pl.col("threads"), pl.col("sleepers")) for arm in shares.arms_of(many)}
    named = runs.filter(pl.col("arm") == "stock", pl.col("timerproc").is_not_null())
    known = named["known"].sum()
    woken = traced.filter(pl.col("arm") == "stock")["by_goroutine"].drop_nulls()
    stock = threads.pop("stock", None)
    if order is None or stock is None or not known or not woken.len():
        return Verdict("T2", says, "cannot be tested here", _lacking(data, RUNTIME))
    timerproc = int(named["timerproc"].sum())
    found = [order.within(NEARLY_ALL, 1), stock.within(0, OF_A_THREAD), timerproc > 0]
    patched = shares.usual(traced.filter(pl.col("arm") == "sleep")["states"])
    parts = [
        f"{_percent(order)} of stock's sleeps are {IN_ORDER}",
        f"{MANY} sleepers at once take {_threads(many, 'stock')} threads (mean)",
        f"there is {'a' if timerproc else 'no'} function named timerproc, in the program or in a trace; the scheduler, "
        f"and no goroutine, woke {1 - int(woken.sum()) / woken.len():.1%} of the sleeps",
    ]
    if patched is not None and threads.get("sleep") is not None:
        parts.append(f"patched with sleep most are {patched}, and {MANY} take {_threads(many, 'sleep')} threads")
    figures = {"in_order": order.to_json(), "threads_per_sleeper": stock.to_json(), "timerproc": timerproc}
    return _verdict("T2", says, outcome_of(found), parts, figures, settled=None not in found)


def located(data: pl.DataFrame) -> Verdict:
    """T5: both tools together name the call in which a sleep's time goes, if perf finds it in nanosleep."""
    says = "perf trace of nanosleep and go tool trace together locate where a sleep's time goes"
    sleeps = shares.sleeps_of(data, PERFED, TRACEPOINTS, STRACED)
    nano, monitor = (shares.share(sleeps, "stock", pl.col(name), _SPENT) for name in ("nanosleep_ns", "monitor_ns"))
    of_short = shares.share(sleeps.filter(pl.col("requested_ns") == SHOWN_NS), "stock", pl.col("monitor_ns"), _SPENT)
    traced = shares.states_of(data, TRACEPOINTS, RUNTIME)
    waiting, called = (shares.share(traced, "stock", pl.col(name), _SPENT) for name in ("waiting_ns", "syscall_ns"))
    if nano is None or waiting is None:
        return Verdict("T5", says, "cannot be tested here", _lacking(data, PERFED, TRACEPOINTS, STRACED))
    epoll = pl.when(pl.col("call") == "epoll_pwait").then(pl.col("inside_ns")).otherwise(0)
    polled = shares.share(sleeps, "stock", epoll, _SPENT)
    by, seen = sleeps["source"][0], [_all_or_none(nano), waiting.within(NEARLY_ALL, 1)]
    outcome: Outcome = "not settled" if None in seen else "holds" if all(seen) else "holds in part"
    if seen[0] is False:
        outcome = "refuted"
    parts = [
        f"by `go tool trace` the goroutine is in {ASLEEP} for {_percent(waiting)} of the time of stock's sleeps, and "
        f"in a system call for {_percent(called)}",
        f"{by} finds {_percent(nano)} of that time in nanosleep (apart from the system monitor, which sleeps in it for "
        f"{_percent(monitor)} of the time, in sleeps of {asked(SHOWN_NS)} for {_percent(of_short)}, whoever sleeps) "
        f"and {_percent(polled)} in epoll_pwait",
    ]
    arms = [
        (arm, shares.usual(sleeps.filter(pl.col("arm") == arm)["call"]))
        for arm in shares.arms_of(sleeps)
        if arm != "stock"
    ]
    if arms:
        parts.append("the others wait in: " + ", ".join(f"{arm} {call or NONE}" for arm, call in arms))
    figures: dict[str, object] = {
        "nanosleep": json_of(nano),
        "monitor": json_of(monitor),
        "monitor_short": json_of(of_short),
        "epoll": json_of(polled),
        "waiting": json_of(waiting),
        "syscall": json_of(called),
        "by": by,
    }
    return _verdict("T5", says, outcome, parts, figures, settled=outcome != "not settled")


def _verdict(
    claim: str, says: str, outcome: Outcome, parts: list[str], figures: dict[str, object], *, settled: bool
) -> Verdict:
    return Verdict(claim, says, outcome, "; ".join(parts if settled else [*parts, TOO_FEW]), figures)


def _all_or_none(ratio: Ratio | None) -> bool | None:
    """Nearly all of it, or not even half; None between, and where the runs do not settle it."""
    if ratio is None:
        return None
    if ratio.within(NEARLY_ALL, 1):
        return True
    return False if ratio.within(0, 0.5) else None


def _percent(ratio: Ratio | None) -> str:
    if ratio is None:
        return "–"
    value, bounds = f"{ratio.value:.1%}", [f"{end:.1%}" for end in ratio.interval or ()]
    return value if set(bounds) <= {value} else f"{value} [{', '.join(bounds)}]"


def _threads(runs: pl.DataFrame, arm: str) -> str:
    value = shares.mean(runs.filter(pl.col("arm") == arm)["threads"])
    return NONE if value is None else f"{value:.1f}"


def _lacking(data: pl.DataFrame, *sources: str) -> str:
    said = data.filter(pl.col("kind") == "missing", pl.col("source").is_in(sources))["missing"].unique().sort()
    return "; ".join(said.to_list()) or "there are no runs of stock to tell it by"
