"""Where the time goes between a timer's deadline and the thread that slept on it: stage by stage, in the kernel."""

from collections.abc import Iterator

from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.skew.picture import picture
from nanonap.lab.experiments.skew.rows import SCHEMA
from nanonap.lab.experiments.skew.runs import ARMS, rows
from nanonap.lab.experiments.skew.tables import count_table, share_table, stage_table
from nanonap.lab.experiments.skew.verdicts import verdict
from nanonap.lab.ground.errors import QuotaUnavailable


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
    verdicts = (verdict,)
    shown = (share_table, stage_table, count_table)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Interleaved runs, recorded and not; a block by another way of recording, then waits on a timerfd.

        Raises QuotaUnavailable for containers, whose runs would be recorded on this machine, not in one.
        """
        backend = setting.backend
        if backend.elsewhere and not backend.own_kernel:
            raise QuotaUnavailable(backend.name, "this machine's kernel is traced", "use --backend none or guest")
        return rows(setting)

    draw = staticmethod(picture)
