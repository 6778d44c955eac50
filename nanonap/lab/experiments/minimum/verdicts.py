"""What the sleeps say to the claims: whether stock has a least sleep, and what a direct system call gives.

Only what a claim says decides. What else was measured is told beside it.
"""

from collections.abc import Mapping

import polars as pl

from nanonap.base.durations import asked
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.kit.claim_parts import Parts, all_hold, any_holds, tell_parts
from nanonap.lab.experiments.kit.ratios import Ratio, outcome_of
from nanonap.lab.experiments.minimum import samples

CLAIMED_LEAST_NS, CLAIMED_LEAST_SIGMA_NS = 1_200_000, 320_000
ASKED_NS, CLAIMED_NS, CLAIMED_SIGMA_NS = 100_000, 98_000, 8_000
#: A sleep "cannot be shorter" where at most this share is: other work on the machine may always wake a thread.
RARE = 0.05
#: A claimed standard deviation is met within this factor, a claimed median within the smaller one.
SIGMA_WITHIN, MEDIAN_WITHIN = 1.5, 1.1
DIRECT = ("sleep", "sleep+slack1")
"""Patched so that time.Sleep itself calls clock_nanosleep."""
_P1 = (
    f"a sleep of an idle stock program lasts at least {asked(CLAIMED_LEAST_NS)}, with a standard deviation of "
    f"{asked(CLAIMED_LEAST_SIGMA_NS)}"
)
_P2 = (
    f"a program patched to call clock_nanosleep itself sleeps {asked(CLAIMED_NS)} where {asked(ASKED_NS)} are asked "
    f"for, ± {asked(CLAIMED_SIGMA_NS)}"
)
#: Of shares.
_FORM = ".1%"
_WHOSE = {samples.STOCK: "stock's", "floor": "the raw call's", "floor+slack1": "the raw call's"}


def shortest(data: pl.DataFrame) -> Verdict:
    """P1: whatever less is asked for, and σ where the claims ask for it, at 100 µs."""
    if data.filter(pl.col("arm") == samples.STOCK).is_empty():
        return Verdict("P1", _P1, "cannot be tested here", "no sleep of stock was measured")
    found = samples.sleeps(samples.chosen(data, samples.STEADY, samples.STOCK, ASKED_NS))
    below = {state: samples.shares_below(data, state, CLAIMED_LEAST_NS) for state in samples.states_there(data)}
    sooner = {state: samples.shares_below(data, state, samples.MILLISECOND_NS) for state in samples.states_there(data)}
    idle = {state: shares for state, shares in below.items() if state in samples.IDLE}
    parts: Parts = {
        f"no sleep of an idle program ends before {asked(CLAIMED_LEAST_NS)}": all_hold(
            share.within(0, RARE) for shares in idle.values() for share in shares.values()
        ),
        f"the standard deviation is near {asked(CLAIMED_LEAST_SIGMA_NS)}": None
        if found is None
        else found.sigma.over(CLAIMED_LEAST_SIGMA_NS).within(1 / SIGMA_WITHIN, SIGMA_WITHIN),
    }
    said = [
        f"asked for {asked(ASKED_NS)}, one sleep after the other: {_told(found)}",
        f"of an idle program's sleeps that ask for less than {asked(CLAIMED_LEAST_NS)} end before it: {_range(idle)}",
        f"beside the claim, of those that ask for less than {asked(samples.MILLISECOND_NS)} end before it "
        + _shares(sooner),
        tell_parts(parts),
    ]
    figures = {
        "parts": dict(parts),
        "below_claimed_by_state": _json(below),
        "below_1ms_by_state": _json(sooner),
        **_figures(found),
    }
    return Verdict("P1", _P1, outcome_of(parts.values()), "; ".join(said), figures)


def direct(data: pl.DataFrame) -> Verdict:
    """P2."""
    found = {
        arm: samples.sleeps(samples.chosen(data, samples.STEADY, arm, ASKED_NS)) for arm in samples.arms_there(data)
    }
    known = {arm: each for arm, each in found.items() if each is not None}
    own = [arm for arm in DIRECT if arm in known]
    if not own:
        nothing = f"no sleep of {asked(ASKED_NS)} of a program so patched was measured"
        return Verdict("P2", _P2, "cannot be tested here", nothing)
    too_short, count = samples.early(data, [arm for arm in known if arm not in (samples.STOCK, *samples.RAW)])
    parts: Parts = {
        "a sleep can end before the time asked for": samples.early(data, own)[0] > 0,
        f"the median is near {asked(CLAIMED_NS)}": any_holds(
            known[arm].p50.over(CLAIMED_NS).within(1 / MEDIAN_WITHIN, MEDIAN_WITHIN) for arm in own
        ),
        f"the standard deviation is at most some {asked(CLAIMED_SIGMA_NS)}": any_holds(
            known[arm].sigma.over(CLAIMED_SIGMA_NS).within(0, SIGMA_WITHIN) for arm in own
        ),
    }
    *centre, _ = parts.values()
    # Sleeps vary around a median: where that is another than claimed, how much they vary decides nothing.
    deciding = centre if set(centre) == {False} else list(parts.values())
    said = [
        f"{too_short:,} of {count:,} sleeps of patched programs ended before their time",
        *(f"{arm}: {_told(known[arm])}, its median {_over(data, arm, samples.STOCK, _raw(arm))}" for arm in own),
        *(f"{arm}: p50 {known[arm].p50}" for arm in ("netpoll", "netpoll+slack1", *samples.RAW) if arm in known),
        f"usleep, which patches the runtime's only nanosleep: its median {_over(data, 'usleep', samples.STOCK)}",
        tell_parts(parts),
    ]
    figures = {
        "parts": dict(parts),
        "too_short": too_short,
        "sleeps": count,
        "by_arm": {arm: _figures(each) for arm, each in known.items()},
    }
    return Verdict("P2", _P2, outcome_of(deciding), "; ".join(said), figures)


def _raw(arm: str) -> str:
    """The raw call at the timer slack of an arm."""
    return "floor+slack1" if arm.endswith("+slack1") else "floor"


def _over(data: pl.DataFrame, arm: str, *bases: str) -> str:
    """The median of an arm over those of others, or that there is none to compare."""
    ratios = {base: samples.median_over(data, arm, base, ASKED_NS) for base in bases}
    return ", ".join(
        f"not measured beside {_WHOSE[base]}" if ratio is None else f"{ratio} {_WHOSE[base]}"
        for base, ratio in ratios.items()
    )


def _told(found: samples.Sleeps | None) -> str:
    if found is None:
        return "not measured"
    return f"minimum {found.least}, p50 {found.p50}, σ {found.sigma} ({found.count:,} sleeps)"


def _range(by_state: Mapping[str, Mapping[int, Ratio]]) -> str:
    """The least and the greatest share, each with what was asked for, and where."""
    known = sorted(
        (share.value, f"{share.text('.1%')} ({asked(each)}, {state})")
        for state, shares in by_state.items()
        for each, share in shares.items()
    )
    ends = (known[0], known[-1])[: len(known)] if known else ()
    return " to ".join(text for _, text in ends) or "none was measured"


def _shares(by_state: Mapping[str, Mapping[int, Ratio]]) -> str:
    """The shares of each state, by what was asked for."""
    told_of = (
        f"{', '.join(f'{share.text(_FORM)} ({asked(each)})' for each, share in shares.items())} {state}"
        for state, shares in by_state.items()
        if shares
    )
    return "; ".join(told_of) or "none: none was measured"


def _json(by_state: Mapping[str, Mapping[int, Ratio]]) -> dict[str, object]:
    return {
        state: {asked(each): share.to_json() for each, share in shares.items()} for state, shares in by_state.items()
    }


def _figures(found: samples.Sleeps | None) -> dict[str, object]:
    if found is None:
        return {"sleeps": 0}
    made: dict[str, object] = {"sleeps": found.count, "least_ns": found.least.value_ns}
    for name in ("p1", "p50", "p99", "sigma"):
        figure: samples.Estimate = getattr(found, name)
        made[f"{name}_ns"], made[f"{name}_interval_ns"] = figure.value_ns, figure.interval_ns
    return made
