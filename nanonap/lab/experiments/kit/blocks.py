"""Shuffled blocks: in each, all that is compared is run once, in another order; and what a run's row has."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from nanonap.base.dice import seeded
from nanonap.lab.experiments.kit.base import Row, Setting
from nanonap.lab.run.runner import Output
from nanonap.lab.stats.resampling import quantile

_SEED = 1
_T = TypeVar("_T")


def shuffled(setting: Setting, blocks: int, due: Sequence[_T], tell: Callable[[_T], str]) -> Iterator[tuple[int, _T]]:
    """(block, what to run next), of one block after the other; says before each how far it is, and what is run."""
    dice = seeded(_SEED)
    for block in range(blocks):
        for number, each in enumerate(dice.sample(due, len(due)), start=1):
            setting.say(f"block {block + 1} of {blocks}, run {number} of {len(due)}: {tell(each)}")
            yield block, each


def paced(output: Output) -> Row:
    """Of a run the columns on what it took, ``wall_ns`` and ``cpu_ns``, and on how late its sleeps ended."""
    late = np.sort(output.samples[1] - output.samples[0])
    return {
        "wall_ns": output.header.wall_ns,
        "cpu_ns": output.header.cpu_ns,
        "late_p50_ns": quantile(late, 0.5),
        "late_p99_ns": quantile(late, 0.99),
    }
