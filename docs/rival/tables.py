"""The tables and the picture of docs/cost.md, section "Against the runtime that upstream plans", from what is kept.

python docs/rival/tables.py                         # of both runs together; draws docs/rival.png anew
python docs/rival/tables.py docs/rival/first.parquet
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.rival import verdicts
from nanonap.lab.experiments.rival.picture import picture
from nanonap.lab.experiments.rival.verdicts import COUNTERPART, LOADS, MIXED, UPSTREAM, compared, middle, over

HERE = Path(__file__).parent
_BOTH = ("each_ns", "late_p50_ns")
QUANTA, DENSE = ("20 µs", "25 µs", "50 µs"), ("800 µs, dense", "900 µs, dense", "1000 µs, dense")


def pooled(files: list[Path]) -> pl.DataFrame:
    """Runs together; a block is one of its run."""
    runs = [pl.read_parquet(each) for each in files]
    return pl.concat([run.with_columns(pl.col("block") + 1000 * number) for number, run in enumerate(runs)])


def points(data: pl.DataFrame) -> Iterator[str]:
    """Each of upstream's points, and what ours is held against it."""
    places = "upstream's arm: CPU, late | setting of ours: CPU, late"
    yield f"| sleepers | {places} | CPU, ours over upstream's | late, ours over upstream's | ours costs |"
    yield "|---|---|---|---|---|---|"
    for load, title in LOADS.items():
        for arm in UPSTREAM:
            _, word, best = verdicts.judged(compared(data, load, arm))
            ours = f"`{best.ours}`" if best.ours.startswith("netpoll") else best.ours
            at = [f"{name}: {_place(data, load, each)}" for name, each in ((f"`{arm}`", arm), (ours, best.ours))]
            yield f"| {title} | {at[0]} | {at[1]} | {best.cpu} | {best.late} | {word} |"


def _place(data: pl.DataFrame, load: str, arm: str) -> str:
    return ", ".join(format_ns(middle(data, each, load, arm)[0]) for each in _BOTH)


def quanta(data: pl.DataFrame) -> Iterator[str]:
    """Short quanta beside upstream's arm of 1 ns."""
    yield "| sleepers | quantum | CPU, over `upstream+slack1` | late, over `upstream+slack1` |"
    yield "|---|---|---|---|"
    for load in ("sleepers:10", "sleepers:50", "sleepers:1000", MIXED):
        for each in QUANTA:
            ratios = " | ".join(
                str(over(data, column, load, each, UPSTREAM[1])) for column in ("each_ns", "late_p50_ns")
            )
            yield f"| {LOADS[load]} | {each} | {ratios} |"


def counterparts(data: pl.DataFrame) -> Iterator[str]:
    """The two at the same timer slack."""
    yield "| sleepers |  | CPU per sleep | late p50 | wake-ups/s |"
    yield "|---|---|---|---|---|"
    for load, title in LOADS.items():
        for arm, own in COUNTERPART.items():
            ratios = " | ".join(str(over(data, each, load, own, arm)) for each in ("each_ns", "late_p50_ns", "wakeups"))
            yield f"| {title} | `{own}` over `{arm}` | {ratios} |"


def dense(data: pl.DataFrame) -> Iterator[str]:
    """Beside stock, what is recommended."""
    for each in DENSE:
        ratios = [
            str(over(data, column, load, each, "stock"))
            for load in ("sleepers:50", "sleepers:1000", "sleepers:10")
            for column in _BOTH
        ]
        yield f"| {each} | {' | '.join(ratios)} |"


def main() -> None:
    """Print all; draw where both runs are taken."""
    files = [Path(each) for each in sys.argv[1:]]
    data = pooled(files or [HERE / "first.parquet", HERE / "second.parquet"])
    if [each.name for each in files] != ["second.parquet"]:
        verdicts.NAMED.clear()  # what the first run named is for the second alone
    if not files:
        picture(data).savefig(HERE.with_suffix(".png"), dpi=110)
    for table in (points, quanta, counterparts, dense):
        print(*table(data), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
