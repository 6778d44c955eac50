"""The door of the A/B: measure, keep, judge; or judge again what was kept."""

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape

from nanonap import __version__
from nanonap.base.dice import seeded
from nanonap.base.durations import parse_duration_ns
from nanonap.base.errors import NanonapError, UsageError
from nanonap.base.paths import RESULTS
from nanonap.base.terminal import command, messages
from nanonap.lab.ab.arms import Subject, chosen_arms, file_arms, process_arms
from nanonap.lab.ab.campaign import Campaign
from nanonap.lab.ab.judged import Judged, judge_runs
from nanonap.lab.ab.metrics import parse_metrics
from nanonap.lab.ab.service import parse_ready, words
from nanonap.lab.ab.store import About, Writer, read
from nanonap.lab.ground import host
from nanonap.lab.ground.hosts import host_of
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.above import above_process
from nanonap.lab.quota.above_limit import bites, label
from nanonap.lab.stats.paired import LEAST_PAIRS
from nanonap.lab.store.write import check_folder
from patcher.wait import PRECISE, Wait

_MOST_RUNS = 1000


@dataclass(frozen=True)
class Asked:
    """The options of ``invoke ab``; durations as texts with units."""

    load: str
    binary: Path | None = None
    run: str | None = None
    pid: int | None = None
    ready: str | None = None
    metrics: Sequence[str] = ()
    per: str | None = None
    runs: int = 10
    arms: str | None = None
    strategy: str | None = None
    slack_ns: int | None = None
    wait: Wait = PRECISE
    guard: str = "1s"
    within: str = "30s"
    limit: str = "600s"
    seed: int | None = None
    out: Path | None = None


def run_ab(asked: Asked, results: Path = RESULTS / "ab") -> Path:
    """Measure, and keep all runs in a folder, which is returned. What was measured before an error is kept, too.

    Raises NanonapError: UsageError, what patching or injecting raises, the errors of ``nanonap.lab.ab.errors``,
    Interrupted, OutputExists, OutputNotWritable, DiskFull.
    """
    if (asked.pid is None) == (asked.binary is None) or (asked.binary is None) != (asked.run is None):
        raise UsageError("name either --binary FILE with --run 'COMMAND {binary}', or --pid PID; and --load")
    if asked.pid is not None and asked.ready is not None:
        raise UsageError("--ready goes with --binary: a running process is ready")
    if not LEAST_PAIRS <= asked.runs <= _MOST_RUNS:
        raise UsageError(f"--runs {asked.runs}: between {LEAST_PAIRS} and {_MOST_RUNS}")
    arms = chosen_arms(asked.arms, asked.strategy, asked.slack_ns, asked.wait)
    metrics, load, ready = parse_metrics(asked.metrics), words("load", asked.load), parse_ready(asked.ready)
    if asked.per is not None and asked.per not in {each.name for each in metrics}:
        raise UsageError(f"--per {asked.per}: no metric of that name; define it by --metric")
    guard_s, within_s, limit_s = (parse_duration_ns(each) / 1e9 for each in (asked.guard, asked.within, asked.limit))
    if asked.out is not None:
        check_folder(asked.out)
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    stop = Stop()
    subject: AbstractContextManager[Subject]
    if asked.pid is not None:
        subject = process_arms(asked.pid, arms, guard_s, stop)
    else:
        subject = file_arms(Path(asked.binary or ""), asked.run or "", arms, ready, within_s, stop)
    with stop.listening(), messages().status("A/B: patching") as status:

        def say(text: str) -> None:
            status.update(f"A/B: {escape(text)}")

        with subject as made:
            writer = Writer(results, asked.out, _about(asked, list(arms), made, seed))
            dice = seeded(seed)
            order = [dice.sample(list(arms), len(arms)) for _ in range(asked.runs)]
            try:
                Campaign(made, load, metrics, limit_s, stop, say).measure(writer, order)
            except NanonapError as error:
                _keep(writer, error)
        writer.about.partial = False
        writer.save()
    return writer.folder


def _keep(writer: Writer, error: NanonapError) -> None:
    """Raise what cut it short, and say what is left of it."""
    if not writer.runs:
        writer.discard()
        raise error
    writer.about.notes.append(f"ended early: {error}")
    writer.save()
    again = command("ab", "--folder", writer.folder)
    raise type(error)(f"{error}; runs kept: {len(writer.runs)}, shown by `{again}`") from error


def _about(asked: Asked, arms: list[str], subject: Subject, seed: int) -> About:
    program = f"process {asked.pid}" if asked.binary is None else asked.binary.name
    limits = above_process().told()
    return About(
        tool=__version__,
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        command=_command(asked, seed),
        program=program,
        go=subject.go,
        arms=arms,
        binaries=subject.hashes,
        runs=asked.runs,
        seed=seed,
        per=asked.per,
        host=host_of(host.facts(), {}),
        notes=[f"measured {label(limits)}"] if bites(limits) else [],
    )


def _command(asked: Asked, seed: int) -> str:
    given = {
        "binary": asked.binary, "run": asked.run, "pid": asked.pid, "load": asked.load, "ready": asked.ready,
        "per": asked.per, "runs": asked.runs, "arms": asked.arms, "strategy": asked.strategy,
        "slack-ns": asked.slack_ns, "quantum": asked.wait.quantum_ns, "dense": asked.wait.dense_ns,
        "spin": asked.wait.spin_ns, "guard": asked.guard, "seed": seed,
    }  # fmt: skip
    options = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    return command("ab", *options, *(word for each in asked.metrics for word in ("--metric", each)))


def judged(folder: Path) -> Judged:
    """What a kept A/B says; draws its plot and page anew. Raises BadResult, OutputNotWritable, DiskFull."""
    from nanonap.lab.ab.show import draw  # noqa: PLC0415 - takes a second: errors first

    made = judge_runs(*read(folder))
    draw(made, folder)
    return made
