"""What the sleeps say to the claims: whether stock has a least sleep, and what a direct system call gives."""

from typing import Any

import polars as pl

from bench.experiments.base import Verdict
from bench.experiments.figures import Ratio, outcome_of
from bench.experiments.minimum_samples import (
    MILLISECOND_NS,
    RAW,
    SEARCH_NS,
    STEADY,
    STOCK,
    Estimate,
    Sleeps,
    arms_there,
    chosen,
    early,
    median_over,
    share_below,
    share_text,
    short,
    sleeps,
    states_there,
    tiny,
)
from bench.experiments.parts import Parts, every, some, told
from bench.tables import asked, time_with

CLAIMED_LEAST_NS, CLAIMED_LEAST_SIGMA_NS = 1_200_000, 320_000
ASKED_NS, CLAIMED_NS, CLAIMED_SIGMA_NS = 100_000, 98_000, 8_000
#: A sleep "cannot be shorter" where at most this share is: other work on the machine may always wake a thread.
RARE = 0.05
#: A claimed standard deviation is met within this factor, a claimed median within the smaller one.
SIGMA_WITHIN, MEDIAN_WITHIN = 1.5, 1.1
#: Far shorter than stock's: at most this much of it.
FAR_SHORTER = 0.5
DIRECT = ("sleep", "sleep+slack1")
"""Patched so that time.Sleep itself calls clock_nanosleep."""
_P1 = "a sleep of a stock program lasts 1.2 ms at the least, with a standard deviation of 320 µs"
_P2 = "a program patched to call clock_nanosleep itself sleeps 98 µs where 100 µs are asked for, ± 8 µs"


def shortest(data: pl.DataFrame) -> Verdict:
    """P1."""
    steady = short(data, STEADY, STOCK)
    found = sleeps(steady)
    if found is None:
        return Verdict("P1", _P1, "cannot be tested here", "no sleep of stock was measured")
    below, whole = (share_below(steady, limit_ns) for limit_ns in (CLAIMED_LEAST_NS, MILLISECOND_NS))
    others = {state: short(data, state, STOCK) for state in states_there(data) if state != STEADY}
    others |= {f"of those asked for less than {asked(SEARCH_NS)}": tiny(data, STEADY, STOCK)}
    elsewhere = {state: share_below(rows, MILLISECOND_NS) for state, rows in others.items() if rows.height}
    sigma = found.sigma.over(CLAIMED_LEAST_SIGMA_NS)
    parts: Parts = {
        "an idle program's sleep is not shorter than 1 ms": _rare(whole),
        "not shorter than 1.2 ms": _rare(below),
        "the standard deviation is near 320 µs": sigma.within(1 / SIGMA_WITHIN, SIGMA_WITHIN),
        "no other sleep is shorter than 1 ms": every(_rare(share) for share in elsewhere.values()),
    }
    said = [
        f"asked for {asked(SEARCH_NS)} to 1 ms, one sleep after the other: {_told(found)}",
        f"{share_text(below)} of them end before 1.2 ms, {share_text(whole)} before 1 ms",
        "before 1 ms also end " + ", ".join(f"{share_text(share)} {state}" for state, share in elsewhere.items()),
        told(parts),
    ]
    figures = {
        "parts": dict(parts),
        "below_1200us": _json(below),
        "below_1ms": _json(whole),
        "below_1ms_by_state": {state: _json(share) for state, share in elsewhere.items()},
        **_figures(found),
    }
    return Verdict("P1", _P1, outcome_of(parts.values()), "; ".join(said), figures)


def direct(data: pl.DataFrame) -> Verdict:
    """P2."""
    found = {arm: sleeps(chosen(data, STEADY, arm, ASKED_NS)) for arm in arms_there(data)}
    known = {arm: each for arm, each in found.items() if each is not None}
    own = [arm for arm in DIRECT if arm in known]
    if not own:
        return Verdict("P2", _P2, "cannot be tested here", "no sleep of 100 µs of a program so patched was measured")
    patched = [arm for arm in known if arm not in (STOCK, *RAW)]
    too_short, count = early(data, patched)
    parts: Parts = {
        "a sleep can end before the time asked for": too_short > 0,
        "the median is near 98 µs": some(
            known[arm].p50.over(CLAIMED_NS).within(1 / MEDIAN_WITHIN, MEDIAN_WITHIN) for arm in own
        ),
        "the standard deviation is at most some 8 µs": some(
            known[arm].sigma.over(CLAIMED_SIGMA_NS).within(0, SIGMA_WITHIN) for arm in own
        ),
        "far shorter than stock's": every(_within(median_over(data, arm, STOCK, ASKED_NS), FAR_SHORTER) for arm in own),
    }
    said = [
        f"{too_short:,} of {count:,} sleeps of patched programs ended before their time",
        *(f"{arm}: {_told(known[arm])}, {_over(data, arm)}" for arm in own),
        *(f"{arm}: p50 {_text(known[arm].p50)}" for arm in ("netpoll", "netpoll+slack1", *RAW) if arm in known),
        f"usleep, which patches the runtime's only nanosleep: {median_over(data, 'usleep', STOCK, ASKED_NS)} stock's",
        told(parts),
    ]
    figures = {
        "parts": dict(parts),
        "too_short": too_short,
        "sleeps": count,
        "by_arm": {arm: _figures(each) for arm, each in known.items()},
    }
    return Verdict("P2", _P2, outcome_of(parts.values()), "; ".join(said), figures)


def _rare(share: Ratio | None) -> bool | None:
    return _within(share, RARE)


def _within(ratio: Ratio | None, most: float) -> bool | None:
    return None if ratio is None else ratio.within(0, most)


def _over(data: pl.DataFrame, arm: str) -> str:
    floor = "floor+slack1" if arm.endswith("+slack1") else "floor"
    stock, raw = (median_over(data, arm, base, ASKED_NS) for base in (STOCK, floor))
    return f"{stock} stock's median, {raw} the raw call's"


def _told(found: Sleeps) -> str:
    return f"minimum {_text(found.least)}, p50 {_text(found.p50)}, σ {_text(found.sigma)} ({found.count:,} sleeps)"


def _text(figure: Estimate) -> str:
    return time_with(figure.value_ns, figure.interval_ns)


def _json(ratio: Ratio | None) -> dict[str, Any] | None:
    return None if ratio is None else ratio.to_json()


def _figures(found: Sleeps) -> dict[str, Any]:
    made: dict[str, Any] = {"sleeps": found.count}
    for name in ("least", "p1", "p50", "p99", "sigma"):
        figure: Estimate = getattr(found, name)
        made[f"{name}_ns"], made[f"{name}_interval_ns"] = figure.value_ns, figure.interval_ns
    return made
