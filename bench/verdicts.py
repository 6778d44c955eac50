"""What the data say to the questions a user has: computed from cells, in words, whichever way it comes out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench.arms import PRECISE, floor_of, in_order
from bench.cells import Cell, Cells, Cost, Key
from bench.resampling import interval
from bench.tables import asked
from nanonap.durations import format_ns

Outcome = Literal["yes", "no", "unsettled", "not measured"]
Interval = list[float] | None
QUIET = ("none", "quiet")
COST = ("none", "sleepers:50")
LEAST_RATIO = 6.0
MOST_ABOVE_FLOOR_NS = 25_000
SAME_WITHIN = 0.05
_GONE_AT_NS = 100_000
_FLOOR_RANGE_NS = (50_000, 5_000_000)
_WHY_NO_CHANGE = (
    "time.Sleep enters no nanosleep: it arms a timer, and the idle scheduler waits for it in epoll; "
    "runtime.usleep, which does enter nanosleep, serves sysmon, spinning and back-off"
)


@dataclass(frozen=True)
class Figure:
    """A number behind a verdict: a ratio, or a time in ns, with its 95 % interval (None from fewer than two runs)."""

    what: str
    arm: str
    requested_ns: int
    value: float
    interval: Interval
    outcome: Outcome | None = None
    threads_peak: int | None = None

    @property
    def times(self) -> str:
        """A ratio for a person."""
        bounds = f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]" if self.interval else ""
        return f"{self.value:.2f} ×{bounds}"

    @property
    def duration(self) -> str:
        """A time for a person."""
        bounds = f" [{format_ns(self.interval[0])}, {format_ns(self.interval[1])}]" if self.interval else ""
        return f"{format_ns(self.value)}{bounds}"


@dataclass(frozen=True)
class Verdict:
    """An answer: ``sentence`` for a person, ``figures`` for a program; ``expected`` is what the lab predicts."""

    name: str
    question: str
    outcome: Outcome
    sentence: str
    expected: Outcome
    figures: list[Figure] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For summary.json."""
        return asdict(self)


def judge(low_high: Interval, *, least: float, most: float) -> Outcome:
    """Whether a value lies in [least, most]: yes or no if its whole interval says so, else unsettled."""
    if low_high is None:
        return "unsettled"
    low, high = low_high
    if least <= low and high <= most:
        return "yes"
    return "no" if high < least or low > most else "unsettled"


def ratio_of(cell: Cell, base: Cell) -> tuple[float, Interval]:
    """p50 over the base's p50, and its interval."""
    above, below = cell.p50_distribution, base.p50_distribution
    return cell.p50_ns / base.p50_ns, None if above is None or below is None else interval(above / below)


def difference_of(cell: Cell, base: Cell) -> tuple[int, Interval]:
    """p50 minus the base's p50 in ns, and its interval."""
    above, below = cell.p50_distribution, base.p50_distribution
    return cell.p50_ns - base.p50_ns, None if above is None or below is None else interval(above - below)


def all_verdicts(cells: Cells, costs: dict[tuple[str, str, str], Cost]) -> list[Verdict]:
    """Every verdict, in the order a reader wants them."""
    return [floor_gone(cells), near_the_floor(cells), usleep_changes_nothing(cells), price(costs)]


def floor_gone(cells: Cells) -> Verdict:
    """Whether stock's sleep of 100 µs lasts at least 6 × that of netpoll with 1 ns slack."""
    name, question = "floor-gone", f"Is stock's sleep floor gone at {asked(_GONE_AT_NS)}?"
    stock, precise = (cells.get(Key(arm, *QUIET, _GONE_AT_NS)) for arm in ("stock", PRECISE))
    if stock is None or precise is None:
        return _not_measured(name, question, f"stock and {PRECISE}, quiet, without quota, at 100us", "yes")
    ratio, low_high = ratio_of(stock, precise)
    outcome = judge(low_high, least=LEAST_RATIO, most=float("inf"))
    figure = Figure("stock_over_netpoll_slack1", PRECISE, _GONE_AT_NS, ratio, low_high, outcome)
    sentence = (
        f"{_say(outcome)}: a sleep of {asked(_GONE_AT_NS)} takes {format_ns(precise.p50_ns)} with {PRECISE}; "
        f"in stock {format_ns(stock.p50_ns)}, {figure.times} as long (asked for: at least {LEAST_RATIO:g} ×)"
    )
    return Verdict(name, question, outcome, sentence, "yes", [figure])


def near_the_floor(cells: Cells) -> Verdict:
    """Whether netpoll with 1 ns slack is at most 25 µs above the raw system call at the same slack, 50 µs to 5 ms."""
    floor, limit = floor_of(PRECISE), asked(MOST_ABOVE_FLOOR_NS)
    name, question = "near-the-floor", f"Is {PRECISE} within {limit} of what the kernel can do ({floor})?"
    low_ns, high_ns = _FLOOR_RANGE_NS
    figures = []
    for key, cell, base in _pairs(cells, PRECISE, floor):
        if low_ns <= key.requested_ns <= high_ns:
            above_ns, low_high = difference_of(cell, base)
            outcome = judge(low_high, least=float("-inf"), most=MOST_ABOVE_FLOOR_NS)
            figures.append(Figure("above_floor_ns", PRECISE, key.requested_ns, above_ns, low_high, outcome))
    if not figures:
        return _not_measured(name, question, f"{PRECISE} and {floor}, quiet, without quota, 50us to 5ms", "yes")
    outcome = _weakest(figures)
    each = ", ".join(f"{figure.duration} at {asked(figure.requested_ns)}" for figure in figures)
    sentence = f"{_say(outcome)}: the median is above the floor by {each}"
    return Verdict(name, question, outcome, sentence, "yes", figures)


def usleep_changes_nothing(cells: Cells) -> Verdict:
    """Whether time.Sleep lasts as long with the usleep strategy as without (within 5 %)."""
    name, question = "usleep-no-change", "Does patching runtime.usleep change time.Sleep?"
    figures = []
    for key, cell, stock in _pairs(cells, "usleep", "stock"):
        ratio, low_high = ratio_of(cell, stock)
        same = judge(low_high, least=1 - SAME_WITHIN, most=1 + SAME_WITHIN)
        figures.append(Figure("usleep_over_stock", "usleep", key.requested_ns, ratio, low_high, same))
    if not figures:
        return _not_measured(name, question, "stock and usleep, quiet, without quota", "no")
    furthest = max(figures, key=lambda figure: abs(figure.value - 1))
    where = f"the furthest from stock's median is {furthest.times} at {asked(furthest.requested_ns)}"
    outcomes: dict[Outcome, Outcome] = {"yes": "no", "no": "yes"}
    outcome = outcomes.get(_weakest(figures), "unsettled")
    expectation = "" if outcome == "no" else "; no change is expected"
    sentence = f"{_say(outcome)}: {where} (no change is within 5 %){expectation}: {_WHY_NO_CHANGE}"
    return Verdict(name, question, outcome, sentence, "no", figures)


def price(costs: dict[tuple[str, str, str], Cost]) -> Verdict:
    """Whether precision costs CPU time, and how much: per sleep, against stock, 50 sleepers on absolute schedules."""
    name, question = "price", "Does precision cost CPU time, with 50 sleepers of 1 ms on absolute schedules?"
    stock = costs.get(("stock", *COST))
    base = stock.cpu_ns_per_sleep if stock is not None else None
    figures, parts = [], []
    for (arm, *condition), cost in sorted(costs.items(), key=lambda pair: in_order(pair[0][0])):
        each = cost.cpu_ns_per_sleep
        if tuple(condition) != COST or arm == "stock" or each is None or stock is None or not base:
            continue
        above, below = cost.distribution, stock.distribution
        low_high = None if above is None or below is None else interval(above / below)
        threads = cost.counter("threads_peak")
        figure = Figure(
            what="cpu_over_stock",
            arm=arm,
            requested_ns=1_000_000,
            value=each / base,
            interval=low_high,
            outcome=judge(low_high, least=1.0, most=float("inf")),
            threads_peak=max(threads) if threads else None,
        )
        figures.append(figure)
        held = f", {figure.threads_peak} threads" if arm == "sleep" and figure.threads_peak else ""
        parts.append(f"{arm} {format_ns(each)}, {figure.times}{held}")
    precise = next((figure for figure in figures if figure.arm == PRECISE), None)
    if precise is None or precise.outcome is None:
        return _not_measured(name, question, f"stock and {PRECISE} under sleepers:50, without quota", "yes")
    sentence = f"{_say(precise.outcome)}: a sleep takes {format_ns(base or 0)} of CPU in stock; {'; '.join(parts)}"
    return Verdict(name, question, precise.outcome, sentence, "yes", figures)


def _pairs(cells: Cells, arm: str, base: str) -> Iterator[tuple[Key, Cell, Cell]]:
    """An arm's cells of the quiet condition without quota, each with its base's."""
    for key, cell in cells.items():
        other = cells.get(key._replace(arm=base))
        if key.arm == arm and key.condition == QUIET and other is not None:
            yield key, cell, other


def _weakest(figures: Sequence[Figure]) -> Outcome:
    outcomes = {figure.outcome for figure in figures}
    return "no" if "no" in outcomes else "unsettled" if "unsettled" in outcomes else "yes"


def _say(outcome: Outcome) -> str:
    return {"yes": "Yes", "no": "No"}.get(outcome, "Not settled by these runs")


def _not_measured(name: str, question: str, what: str, expected: Outcome) -> Verdict:
    return Verdict(name, question, "not measured", f"Not measured: it takes {what}", expected)
