"""Where the time goes between a timer's deadline and the thread that slept on it: stage by stage, in the kernel."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from bench.errors import QuotaUnavailable
from bench.experiments.base import Experiment, Setting, Verdict
from bench.experiments.skew_picture import picture
from bench.experiments.skew_rows import SCHEMA
from bench.experiments.skew_runs import ARMS, rows
from bench.experiments.skew_tables import tables
from bench.experiments.skew_verdicts import verdict
from bench.guest.backend import GuestBackend
from bench.tables import Table


class Skew(Experiment):
    """Claim E2."""

    name = "skew"
    limits = False
    arms = tuple(arm for arm in ARMS if arm != "stock")
    question = "How long does it take from a timer's deadline until the thread that sleeps on it runs again?"
    expects = (
        "from expiry to running some ten microseconds on an idle machine, a few of them for the wake-up and the rest "
        "for the switch: alike for every arm, since all end in the same wake-up. From the deadline it is longer by the "
        "timer slack, 50 µs, of which 1 ns is left where it is patched away; stock adds up to a millisecond before "
        "that, by asking the kernel for whole milliseconds. No Go sleep calls timerfd_settime"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """Interleaved runs, recorded and not; a block by another way of recording, then waits on a timerfd.

        Raises QuotaUnavailable for containers, whose runs would be recorded on this machine, not in one.
        """
        backend = setting.backend
        if backend.elsewhere and not isinstance(backend, GuestBackend):
            raise QuotaUnavailable(backend.name, "this machine's kernel is traced", "take --backend none, or guest")
        return pl.DataFrame(list(rows(setting)), schema=SCHEMA, orient="row")

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """Shares of wake-ups by their length beside the claimed ones, in two readings."""
        return [verdict(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """The shares, then the stages, then what was counted and what is missing."""
        return tables(data)

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """Of each arm the distribution of each stage, and the shares as bars."""
        return picture(data)
