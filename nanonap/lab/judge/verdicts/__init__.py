"""What the data say to the questions a user has: computed from cells, in words, whichever way it comes out."""

from bench.cells import Cells
from bench.effects import Interval
from bench.verdicts.judging import Costs, Figure, Outcome, Verdict, judge
from bench.verdicts.many import many_sleepers, price, threads
from bench.verdicts.rivals import no_more_cpu_than_rebuilt, same_as_rebuilt, spinning
from bench.verdicts.sleeping import floor_gone, near_the_floor, tail_near_the_floor, usleep_changes_nothing

__all__ = ["Figure", "Interval", "Outcome", "Verdict", "all_verdicts", "judge"]


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
