"""What the sleeps say to three claims: on epoll's time limit (T1), a goroutine's states (T2), and on perf (T5)."""

from typing import Any

import polars as pl

from bench.experiments.base import Outcome, Verdict
from bench.experiments.figures import TOO_FEW, Ratio, outcome_of, ratio_of
from bench.experiments.path_calls import EPOLL
from bench.experiments.path_data import MANY, PERFED, RUNTIME, STRACED, TRACEPOINTS
from bench.experiments.path_trace import TO
from nanonap.durations import format_ns

#: A share that is as good as all, or as none.
NEARLY_ALL, NEARLY_NONE = 0.9, 0.1
#: A timer that is set this near to the deadline is precise: the kernel's own timer slack is as much (prctl(2)).
NEAR_NS = 50_000
#: The runtime reads its clock this much before the call at most, so that it saw a little more time left.
READ_BEFORE_NS = 50_000
#: In longer sleeps the runtime's own timers come first: with runtime/trace one of 100 ms.
SHORT_NS = 10_000_000
#: With fewer threads than this for a sleeper, a sleeper does not take a thread.
OF_A_THREAD = 0.5
IN_ORDER = TO.join(("Running", "Waiting (sleep)", "Runnable", "Running"))
_MS = 1_000_000


def verdicts(data: pl.DataFrame) -> list[Verdict]:
    """T1, T2, T5."""
    return [limits(data), states(data), located(data)]


def sleeps_of(data: pl.DataFrame, *sources: str) -> pl.DataFrame:
    """The sleeps as the first of the sources saw them that saw any of stock's."""
    sleeps = data.filter(pl.col("kind") == "sleep")
    return _first(sleeps, sources)


def calls_of(data: pl.DataFrame) -> pl.DataFrame:
    """The epoll calls with a limit, of sleeps up to SHORT_NS, as the best source saw them."""
    calls = data.filter(pl.col("kind") == "call", pl.col("timeout_ns") > 0, pl.col("requested_ns") <= SHORT_NS)
    return _first(calls, (TRACEPOINTS, STRACED))


def _first(data: pl.DataFrame, sources: tuple[str, ...]) -> pl.DataFrame:
    seen = set(data.filter(pl.col("arm") == "stock")["source"].to_list())
    return data.filter(pl.col("source") == next((each for each in sources if each in seen), ""))


def share(data: pl.DataFrame, arm: str, above: pl.Expr, below: pl.Expr) -> Ratio | None:
    """One sum over another, of an arm's runs."""
    of_arm = data.filter(pl.col("arm") == arm)
    by_run = of_arm.group_by("block").agg(above.sum().alias("above"), below.sum().alias("below")).sort("block")
    return ratio_of(by_run["above"].cast(pl.Float64).to_list(), by_run["below"].cast(pl.Float64).to_list())


def by_rule() -> pl.Expr:
    """Whether a limit is the time left in whole ms, at least one (runtime/netpoll_epoll.go)."""
    least, most = (
        pl.max_horizontal(left // _MS, pl.lit(1)) for left in (pl.col("left_ns"), pl.col("left_ns") + READ_BEFORE_NS)
    )
    return (pl.col("timeout_ns") // _MS).is_between(least, most)


def near() -> pl.Expr:
    """Whether the call's limit reaches to the deadline, give or take NEAR_NS."""
    return pl.col("past_ns").abs() <= NEAR_NS


_SPENT = pl.col("actual_ns")


def limits(data: pl.DataFrame) -> Verdict:
    """T1, as far as it can be seen in the calls' limits."""
    says = "epoll's wait is bounded by the earliest timer's deadline, so timers are precise to the nanosecond"
    calls = calls_of(data)
    every = pl.col("timeout_ns").is_not_null()
    bounded = share(calls, "stock", by_rule(), every)
    precise = {arm: share(calls, arm, near(), every) for arm in _arms(calls) if arm.startswith(("stock", "netpoll"))}
    if bounded is None or precise.get("stock") is None:
        return Verdict("T1", says, "cannot be tested here", _lacking(data, TRACEPOINTS, STRACED))
    stock = precise.pop("stock")
    found = [bounded.within(NEARLY_ALL, 1), _all_or_none(stock)]
    hundred = calls.filter(pl.col("arm") == "stock", pl.col("requested_ns") == 100_000)["past_ns"].median()
    parts = [
        f"{_percent(bounded)} of stock's epoll calls get the time left to the deadline in whole ms, at least 1 ms",
        f"so the limit of {_percent(stock)} of them reaches to within {format_ns(NEAR_NS)} of the deadline",
    ]
    if isinstance(hundred, int | float):
        parts.append(f"in sleeps of 100 µs it lies {format_ns(hundred)} past it (median)")
    parts += [f"{arm}: within {format_ns(NEAR_NS)} in {_percent(each)}" for arm, each in precise.items() if each]
    figures: dict[str, Any] = {"bounded": bounded.to_json(), "stock": stock.to_json() if stock else None}
    figures |= {arm: each.to_json() for arm, each in precise.items() if each}
    return _verdict("T1", says, outcome_of(found), parts, figures, settled=None not in found)


def states(data: pl.DataFrame) -> Verdict:
    """T2: the order of the states; whether a sleeper takes a thread; what wakes it."""
    says = (
        "a goroutine in time.Sleep goes from waiting to runnable to running, never blocks its thread, and is woken by "
        "a goroutine named timerproc"
    )
    traced = sleeps_of(data, TRACEPOINTS, RUNTIME).filter(pl.col("states").is_not_null())
    order = share(traced, "stock", pl.col("states") == IN_ORDER, pl.col("states").is_not_null())
    runs = data.filter(pl.col("kind") == "run")
    many = runs.filter(pl.col("sleepers") == MANY)
    threads = {arm: share(many, arm, pl.col("threads"), pl.col("sleepers")) for arm in _arms(many)}
    named = runs.filter(pl.col("arm") == "stock", pl.col("timerproc").is_not_null())
    known = named["known"].sum()
    woken = traced.filter(pl.col("arm") == "stock")["by_goroutine"].drop_nulls()
    stock = threads.pop("stock", None)
    if order is None or stock is None or not known or not woken.len():
        return Verdict("T2", says, "cannot be tested here", _lacking(data, RUNTIME))
    timerproc = int(named["timerproc"].sum())
    found = [order.within(NEARLY_ALL, 1), stock.within(0, OF_A_THREAD), timerproc > 0]
    others = traced.filter(pl.col("arm") == "sleep")["states"].mode().sort()
    parts = [
        f"{_percent(order)} of stock's sleeps are {IN_ORDER}",
        f"{MANY} sleepers at once take {_mean(many, 'stock')} threads",
        f"there is {'a' if timerproc else 'no'} function named timerproc, in the program or in a trace; the scheduler, "
        f"and no goroutine, woke {1 - int(woken.sum()) / woken.len():.1%} of the sleeps",
    ]
    if others.len() and threads.get("sleep") is not None:
        parts.append(f"patched with sleep they are {others[0]}, and take {_mean(many, 'sleep')} threads")
    figures = {"in_order": order.to_json(), "threads_per_sleeper": stock.to_json(), "timerproc": timerproc}
    return _verdict("T2", says, outcome_of(found), parts, figures, settled=None not in found)


def located(data: pl.DataFrame) -> Verdict:
    """T5: both tools together name the call in which a sleep's time goes, if perf finds it in nanosleep."""
    says = "perf trace of nanosleep and go tool trace together locate where a sleep's time goes"
    sleeps = sleeps_of(data, PERFED, TRACEPOINTS, STRACED)
    nano = share(sleeps, "stock", pl.col("nanosleep_ns"), _SPENT)
    traced = sleeps_of(data, TRACEPOINTS, RUNTIME)
    waiting = share(traced, "stock", pl.col("waiting_ns"), _SPENT)
    if nano is None or waiting is None:
        return Verdict("T5", says, "cannot be tested here", _lacking(data, PERFED, TRACEPOINTS, STRACED))
    epoll = pl.when(pl.col("call").is_in(EPOLL)).then(pl.col("inside_ns")).otherwise(0)
    polled = share(sleeps, "stock", epoll, _SPENT)
    by, seen = sleeps["source"][0], [_all_or_none(nano), waiting.within(NEARLY_ALL, 1)]
    outcome: Outcome = "cannot be tested here" if None in seen else "holds" if all(seen) else "holds in part"
    if seen[0] is False:
        outcome = "refuted"
    parts = [
        f"go tool trace has the goroutine in Waiting (sleep) for {_percent(waiting)} of stock's sleeps, and no system "
        "call of it",
        f"{by} finds {_percent(nano)} of that time in nanosleep and {_percent(polled)} in epoll_pwait",
    ]
    arms = [(arm, _usual(sleeps, arm)) for arm in _arms(sleeps) if arm != "stock"]
    if arms:
        parts.append("the others wait in: " + ", ".join(f"{arm} {call}" for arm, call in arms))
    figures = {"nanosleep": nano.to_json(), "epoll": polled.to_json() if polled else None, "by": by}
    figures |= {"waiting": waiting.to_json()}
    return _verdict("T5", says, outcome, parts, figures, settled=outcome != "cannot be tested here")


def _verdict(
    claim: str, says: str, outcome: Outcome, parts: list[str], figures: dict[str, Any], *, settled: bool
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


def _mean(runs: pl.DataFrame, arm: str) -> str:
    value = runs.filter(pl.col("arm") == arm)["threads"].mean()
    return f"{value:.0f}" if isinstance(value, int | float) else "–"


def _usual(sleeps: pl.DataFrame, arm: str) -> str:
    calls = sleeps.filter(pl.col("arm") == arm)["call"].drop_nulls().mode().sort()
    return str(calls[0]) if calls.len() else "–"


def _arms(data: pl.DataFrame) -> list[str]:
    return list(dict.fromkeys(data["arm"].drop_nulls().sort().to_list()))


def _lacking(data: pl.DataFrame, *sources: str) -> str:
    said = data.filter(pl.col("kind") == "missing", pl.col("source").is_in(sources))["missing"].unique().sort()
    return "; ".join(said.to_list()) or "there are no runs of stock to tell it by"
