"""What the runs of an A/B say: every figure of every arm against stock's, block by block."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

from msgspec import Struct
from scipy import stats

from nanonap.base.durations import format_ns
from nanonap.lab.ab.store import STOCK, About, Run
from nanonap.lab.judge.agreement import ENOUGH_RUNS
from nanonap.lab.judge.verdicts import Outcome, judge
from nanonap.lab.judge.verdicts.sleeping import SAME_WITHIN
from nanonap.lab.plan.arms import CONTROL
from nanonap.lab.stats.paired import LEAST_PAIRS, Paired, paired

FALSE_FINDS = 0.05
"""Of what is said to differ, the share that may be noise (Benjamini and Hochberg 1995); all of it where nothing does:
so an A/B of stock and stock finds something in at most one of twenty."""
LOAD_TIME, SYSTEM_CALLS = "load time", "system calls"
COUNT, NS, BYTES = "", "ns", "bytes"
Kind = Literal["load", "service"]
Figures = Mapping[str, float | None]


class Row(Struct, frozen=True, kw_only=True):
    """A figure of an arm against stock's. ``median`` and ``stock_median`` are over runs, in ``unit``.

    ``effect``: None from too few blocks; ``q``: its p, corrected for all that was compared. ``outcome``: whether it
    differs; no means that it differs by less than SAME_WITHIN.
    """

    figure: str
    kind: Kind
    unit: str
    arm: str
    median: float
    stock_median: float
    blocks: int
    effect: Paired | None
    q: float | None
    outcome: Outcome
    sentence: str


class Judged(Struct, frozen=True, kw_only=True):
    """An A/B with its answers."""

    schema: int = 1
    about: About
    rows: list[Row]
    warnings: list[str]


def units(about: About, runs: Sequence[Run]) -> dict[str, tuple[Kind, str]]:
    """Every figure's kind and unit, the load's first."""
    found: dict[str, tuple[Kind, str]] = {}
    for name in runs[0].metrics if runs else ():
        found[name] = ("load", NS if name in about.times else COUNT)
    found[LOAD_TIME] = ("load", NS)
    per = _per(about.per)
    found |= {f"CPU time{per}": ("service", NS), f"wake-ups{per}": ("service", COUNT)}
    found |= {"threads": ("service", COUNT), "memory": ("service", BYTES)}
    return found | ({f"{SYSTEM_CALLS}{per}": ("service", COUNT)} if any(run.counted for run in runs) else {})


def figures(run: Run, per: str | None) -> Figures:
    """A run's figures by name; of a counted one its system calls alone, for counting slows it."""
    cost, share = run.cost, run.metrics[per] if per else 1.0
    if isinstance(run.syscalls, int):
        return {f"{SYSTEM_CALLS}{_per(per)}": run.syscalls / share if share else None}
    spent = [None if each is None or not share else each / share for each in (cost.cpu_ns, cost.wakeups)]
    own = (float(run.load_ns), *spent, cost.threads, cost.rss_bytes)
    names = (LOAD_TIME, f"CPU time{_per(per)}", f"wake-ups{_per(per)}", "threads", "memory")
    return {**run.metrics, **dict(zip(names, own, strict=True))}


def _per(metric: str | None) -> str:
    return f" / {metric}" if metric else ""


def judge_runs(about: About, runs: Sequence[Run]) -> Judged:
    """Compare. Blocks count that have both, the arm and stock."""
    by_arm = {arm: {run.block: figures(run, about.per) for run in runs if run.arm == arm} for arm in about.arms}
    compared = []
    for name, kind_unit in units(about, runs).items():
        for arm in about.arms[1:]:
            blocks = [(by_arm[arm][each].get(name), by_arm[STOCK][each].get(name)) for each in _common(by_arm, arm)]
            pairs = [(own, base) for own, base in blocks if own is not None and base is not None]
            if pairs:
                own, base = zip(*pairs, strict=True)
                compared.append((name, *kind_unit, arm, own, base, paired(own, base)))
    known = [effect.p for *_, effect in compared if effect is not None]
    corrected = iter(stats.false_discovery_control(known).tolist() if known else [])
    rows = []
    for name, kind, unit, arm, own, base, effect in compared:
        q = None if effect is None else float(next(corrected))
        outcome, sentence = _answer(effect, q, unit, median(base), len(known))
        rows.append(
            Row(
                figure=name,
                kind=kind,
                unit=unit,
                arm=arm,
                median=median(own),
                stock_median=median(base),
                blocks=len(own),
                effect=effect,
                q=q,
                outcome=outcome,
                sentence=sentence,
            )
        )
    return Judged(about=about, rows=rows, warnings=_warnings(about, runs, rows))


def _common(by_arm: Mapping[str, Mapping[int, Figures]], arm: str) -> list[int]:
    return sorted(by_arm[arm].keys() & by_arm[STOCK].keys())


def _answer(effect: Paired | None, q: float | None, unit: str, base: float, tests: int) -> tuple[Outcome, str]:
    if effect is None or q is None:
        return "not measured", f"too few blocks; {LEAST_PAIRS} are needed"
    none = 1.0 if effect.relative else 0.0
    margin = SAME_WITHIN * (1.0 if effect.relative else abs(base))
    outcome: Outcome = "not settled"
    if q <= FALSE_FINDS:
        outcome = "yes"
        said = f"{'higher' if effect.value > none else 'lower'} than stock's, beyond noise"
    elif judge(effect.interval, least=none - margin, most=none + margin) == "yes":
        outcome, said = "no", f"within {SAME_WITHIN:.0%} of stock's"
    else:
        alone = effect.interval[0] > none or effect.interval[1] < none
        said = "not told from noise" + (f" (of {tests} intervals some leave stock out by chance)" if alone else "")
        if not effect.least:
            return outcome, f"{tell(effect, unit)}: the same in each of {effect.pairs} runs, which are too few to tell"
        least, half = (seen(effect, unit, each) for each in (effect.least, effect.least / 2))
        said += f"; {effect.pairs} runs show {least}, {effect.for_half} show {half}"
    return outcome, f"{tell(effect, unit)}: {said}"


def seen(effect: Paired, unit: str, value: float) -> str:
    """A difference that so many runs show, for a person."""
    return f"{value:.1%}" if effect.relative else shown(value, unit)


def tell(effect: Paired | None, unit: str) -> str:
    """Value and interval for a person: ``0.42 × [0.40, 0.45]``; a difference where there is no ratio."""
    if effect is None:
        return "–"
    if effect.relative:
        digits = 3 if effect.interval[1] < 1.1 * effect.interval[0] else 2
        value, low, high = (f"{each:.{digits}f}" for each in (effect.value, *effect.interval))
        return f"{value} × [{low}, {high}]"
    value, low, high = (shown(each, unit) for each in (effect.value, *effect.interval))
    return f"{value} more [{low}, {high}]"


def shown(value: float, unit: str) -> str:
    """A figure for a person."""
    if unit == NS:
        return format_ns(value)
    if unit == BYTES:
        return f"{value / 2**20:.1f} MiB"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _warnings(about: About, runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    found = list(about.notes)
    least = min((row.blocks for row in rows if row.figure == LOAD_TIME), default=0)
    if least < ENOUGH_RUNS:
        found.append(f"fewer than {ENOUGH_RUNS} runs of an arm ({least}): small differences cannot be seen")
    if about.partial:
        made = sum(not run.counted for run in runs)
        found.append(f"cut short: {made} of {about.runs * len(about.arms)} runs were made")
    if wrong := [row.figure for row in rows if row.arm == CONTROL and row.outcome == "yes"]:
        found.append(f"stock differs from itself in {', '.join(wrong)}: trust no difference there")
    return found
