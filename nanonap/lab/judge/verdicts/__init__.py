"""What the data say to the questions a user has: computed from cells, in words, whichever way it comes out."""

from dataclasses import replace

from nanonap.lab.judge.verdicts.judging import Costs, Figure, Outcome, Verdict, judge
from nanonap.lab.judge.verdicts.many import many_sleepers, price, threads
from nanonap.lab.judge.verdicts.rivals import no_more_cpu_than_rebuilt, same_as_rebuilt, spinning
from nanonap.lab.judge.verdicts.sleeping import floor_gone, near_the_floor, tail_near_the_floor, usleep_changes_nothing
from nanonap.lab.quota.above import LimitsAbove
from nanonap.lab.quota.above_limit import label
from nanonap.lab.stats.cells import Cells
from nanonap.lab.stats.effects import Interval

__all__ = ["Figure", "Interval", "Outcome", "Verdict", "all_verdicts", "judge", "within"]


def all_verdicts(cells: Cells, costs: Costs) -> list[Verdict]:
    """Every verdict, in the order a reader wants them."""
    return [
        floor_gone(cells),
        near_the_floor(cells),
        tail_near_the_floor(cells),
        same_as_rebuilt(cells),
        no_more_cpu_than_rebuilt(costs),
        usleep_changes_nothing(cells),
        price(costs),
        many_sleepers(cells, costs),
        threads(costs),
        spinning(cells, costs),
    ]


def within(verdicts: list[Verdict], above: LimitsAbove | None) -> list[Verdict]:
    """The same of runs inside a limit, which none of them asks about: each that was measured says so."""
    where = label(above)
    if where is None:
        return verdicts
    return [
        each if each.outcome == "not measured" else replace(each, sentence=f"{each.sentence}; measured {where}")
        for each in verdicts
    ]
