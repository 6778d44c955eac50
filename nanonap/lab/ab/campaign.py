"""The runs of an A/B: shuffled blocks in which every arm comes once, each driven by the same load."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from nanonap.base.errors import Interrupted, NanonapError
from nanonap.lab.ab.arms import Subject
from nanonap.lab.ab.cost import read
from nanonap.lab.ab.metrics import Metric, read_metrics
from nanonap.lab.ab.service import drive
from nanonap.lab.ab.store import STOCK, Run, Writer
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.run.syscalls import ALL, REMEDY, find_counter

COUNTED_BLOCKS = 5
_TRIAL = -1


@dataclass(frozen=True)
class Campaign:
    """What is done over and over. ``load``: the command's words, and ``limit_s`` its time; ``say`` shows progress."""

    subject: Subject
    load: Sequence[str]
    metrics: Sequence[Metric]
    limit_s: float
    stop: Stop
    say: Callable[[str], None]

    def measure(self, writer: Writer, order: Sequence[Sequence[str]]) -> None:
        """A trial of stock, of which nothing is kept, then the blocks, then blocks of counted runs.

        Raises what goes wrong with the service or its load, Interrupted, DiskFull, OutputNotWritable.
        """
        about = writer.about
        self.say("trial run, not counted")
        _, about.times[:] = self._run(_TRIAL, STOCK)
        writer.save()
        for block, arms in enumerate(order):
            for number, arm in enumerate(arms, 1):
                self.say(f"block {block + 1} of {len(order)}, run {number} of {len(arms)}: {arm}")
                writer.add(self._run(block, arm)[0])
        try:
            self._count(writer, order[:COUNTED_BLOCKS], len(order))
        except Interrupted:
            raise
        except (NanonapError, OSError, KeyError) as error:  # what was to be compared is whole without it
            about.notes.append(f"system calls are not counted: {error}")

    def _count(self, writer: Writer, order: Sequence[Sequence[str]], first: int) -> None:
        counter = find_counter()
        if counter is None or counter.name != "perf":  # strace cannot count in one process while another runs
            writer.about.notes.append(f"system calls are not counted: {REMEDY.partition(', or')[0]}")
            return
        for block, arms in enumerate(order, first):
            for arm in arms:
                self.say(f"counting system calls, in runs apart: {arm}")
                with tempfile.TemporaryDirectory(prefix="nanonap-") as folder:
                    out = Path(folder, "counts")
                    run, _ = self._run(block, arm, counter.around(out))
                    calls = counter.read(out.read_text("utf-8"))[ALL]
                writer.add(replace(run, syscalls=calls))

    def _run(self, block: int, arm: str, counting: Sequence[str] = ()) -> tuple[Run, list[str]]:
        """(the run, the metrics that are times). ``counting``: perf's words, to count in the service meanwhile."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self.subject.arm(arm) as target:
            before = read(target.pids())
            around = _inside(counting, target.pids()) if counting else []
            took_ns, stdout, stderr = drive([*around, *self.load], target.ends, self.limit_s, self.stop)
            cost = read(target.pids()).since(before)
        values, times = read_metrics(self.metrics, stdout, stderr)
        run = Run(
            block=block, arm=arm, started_utc=started, load_ns=took_ns, metrics=values, cost=cost, live=target.changes
        )
        return run, sorted(times)


def _inside(around: Sequence[str], pids: Sequence[int]) -> list[str]:
    """perf's words with the processes that it is to count in, while the command behind it runs (perf-stat(1))."""
    return [*around[:-1], "-p", ",".join(map(str, pids)), around[-1]]
