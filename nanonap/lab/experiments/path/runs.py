"""The runs of the experiment ``path``: each arm's sleeps under the kernel's tracepoints and runtime/trace together."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.dice import seeded
from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.attribution.events import KernelTrace, parse_kernel_trace
from nanonap.lab.attribution.recording import Recording
from nanonap.lab.attribution.threads import Threads, threads_of
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.path.calls import Call, Row, call_rows, sleep_row
from nanonap.lab.experiments.path.data import MANY, RUNTIME, SHOWN_NS, STRACED, TRACEPOINTS
from nanonap.lab.experiments.path.kernel import read_calls
from nanonap.lab.experiments.path.programs import FILE, Program, Ran, linked, run
from nanonap.lab.experiments.path.shown import Shown, median, span_rows, whole
from nanonap.lab.experiments.path.told import TELLERS, told_rows
from nanonap.lab.experiments.path.trace import Trace, parse_trace, sleeper, state_row
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO

_US = 1_000
#: With one that stock's whole milliseconds reach: 1 ms.
_SHORT = (50 * _US, SHOWN_NS, 500 * _US, 1_000 * _US, 1_500 * _US, 2_500 * _US, 5_000 * _US)
_LONG = 100_000 * _US
_SEED = 1
_MANY_PLAN = ((2_000 * _US, 5),)
_BUILD_S, _PARSE_S = 600.0, 60.0
_RECORDER = "nanonap.lab.experiments.path.recorder"
NAME, KNOWN = "timerproc", "findRunnable"


@dataclass(frozen=True)
class Plan:
    """How much: sleeps of each short duration in a run; blocks; runs under strace; under perf trace, of stock more.

    ``shown`` are those of the duration that is drawn: of few, beside other work, none may be whole.
    """

    short: int
    shown: int
    blocks: int
    straced: int
    perf_stock: int
    perf_others: int

    @property
    def durations(self) -> tuple[tuple[int, int], ...]:
        """(requested_ns, how often) of one run."""
        return (*((each, self.shown if each == SHOWN_NS else self.short) for each in _SHORT), (_LONG, 1))


@dataclass(frozen=True)
class _Work:
    """Where temporary files go, what parses traces, who may stop it."""

    folder: Path
    tracer: str
    stop: Stop


QUICK = Plan(2, 10, 3, 1, 3, 1)
FULL = Plan(5, 5, 8, 3, 8, 3)


def rows(setting: Setting, plan: Plan) -> Iterator[Row]:
    """All rows; leaves a trace an arm in the setting's folder. Raises RunFailed, RecordingFailed, Interrupted."""
    files = {"stock": setting.program, **setting.patched}
    yield from (_names(arm, path) for arm, path in files.items())
    with guarded_folder() as folder:
        programs = [linked(folder, arm, path) for arm, path in files.items()]
        work = _Work(folder, _tracer(setting.stop), setting.stop)
        shown: dict[str, list[Shown]] = {}
        dice = seeded(_SEED)
        for block in range(plan.blocks):
            setting.say(f"block {block + 1} of {plan.blocks}: tracepoints and runtime/trace")
            dice.shuffle(programs)
            yield from _block(work, plan, block, programs, shown)
        for teller in TELLERS:
            setting.say(f"the same under {teller.source}")
            runs = {each.arm: plan.straced if teller.source == STRACED else plan.perf_others for each in programs}
            if teller.source != STRACED:
                runs["stock"] = plan.perf_stock
            chosen = [(each, runs[each.arm]) for each in programs]
            yield from told_rows(teller, chosen, plan.durations, folder, setting.stop)
        for arm in files:
            kept = folder / f"{arm}-0.out"
            if arm in shown:
                best = median(shown[arm])
                yield from span_rows(best, arm)
                kept = best.file
            shutil.copyfile(kept, setting.folder / f"trace-{arm}.out")


def _names(arm: str, path: Path) -> Row:
    """The table of functions (pclntab) holds every name as text, in a stripped program too."""
    content = path.read_bytes()
    counted = {"timerproc": content.count(f"runtime.{NAME}".encode()), "known": content.count(KNOWN.encode())}
    return {"kind": "run", "source": "file", "arm": arm, **counted}


def _block(
    work: _Work, plan: Plan, block: int, programs: Sequence[Program], shown: dict[str, list[Shown]]
) -> Iterator[Row]:
    """Each arm once with runtime/trace, under one recording of the kernel's where it can be had; then many sleepers."""

    def traced() -> list[tuple[Ran, Path]]:
        files = [work.folder / f"{each.arm}-{block}.out" for each in programs]
        return [
            (run(each, plan.durations, block, work.stop, "-trace", str(file)), file)
            for each, file in zip(programs, files, strict=True)
        ]

    trace, calls = None, []
    try:
        with Recording(FILE, None, "trace", _RECORDER) as recording:
            done = traced()
            text = recording.stop()
        trace, calls = parse_kernel_trace(text), read_calls(text)
    except TracingUnavailable as error:
        if block == 0:
            yield {"kind": "missing", "source": TRACEPOINTS, "missing": str(error)}
        done = traced()
    for ran, file in done:
        kernel = None if trace is None else _seen(trace, calls, ran)
        if isinstance(kernel, str):
            about = {"source": TRACEPOINTS, "arm": ran.program.arm, "block": block}
            yield {"kind": "missing", **about, "missing": kernel}
            kernel = None
        yield from _joined(block, ran, file, _parsed(work.tracer, file, work.stop), kernel, shown)
    for each in programs:
        many = run(each, _MANY_PLAN, block, work.stop, "-sleepers", str(MANY))
        about = {"source": FILE, "arm": each.arm, "block": block, "sleepers": MANY}
        yield {"kind": "run", **about, "threads": many.header.threads_peak}


@dataclass(frozen=True)
class _Kernel:
    """What the kernel recorded of one run."""

    threads: Threads
    calls: list[Call]


def _seen(trace: KernelTrace, calls: Sequence[Call], ran: Ran) -> _Kernel | str:
    """The run in the trace, or why it is not there."""
    threads = threads_of(trace, int(ran.header.pid))
    own = [call for call in calls if call.tid in threads.own]
    if not own:
        return "the trace has no call of the program's: its number is of another PID namespace"
    if trace.complete_until_ns < max(sleep.end_ns for sleep in ran.sleeps):
        return f"the trace had no room for {trace.lost} events: free some memory"
    return _Kernel(threads, own)


def _joined(
    block: int, ran: Ran, file: Path, trace: Trace, kernel: _Kernel | None, shown: dict[str, list[Shown]]
) -> Iterator[Row]:
    arm, spans = ran.program.arm, sleeper(trace, ran.sleeps)
    about = {"source": RUNTIME if kernel is None else TRACEPOINTS, "arm": arm, "block": block}
    for sleep in ran.sleeps:
        key = {**about, "index": sleep.index, "requested_ns": sleep.requested_ns}
        row = {"kind": "sleep", **key, "actual_ns": sleep.end_ns - sleep.start_ns, **state_row(spans, sleep)}
        if kernel is None:
            yield row
            continue
        monitor = kernel.threads.sysmon
        yield {**row, **sleep_row(sleep, kernel.calls, monitor)}
        yield from ({"kind": "call", **key, **each} for each in call_rows(sleep, kernel.calls, monitor))
        if sleep.requested_ns == SHOWN_NS:
            found = whole(sleep, kernel.calls, monitor, spans, kernel.threads, file, block)
            if found is not None:
                shown.setdefault(arm, []).append(found)
    counted = {"traced_threads": len(trace.threads), "processors": len(trace.processors), "timerproc": trace.named}
    yield {"kind": "run", **about, "sleepers": 1, "threads": ran.header.threads_peak, **counted}


def _tracer(stop: Stop) -> str:
    """The file of ``go tool trace``, which go builds from its own source where that was not done yet.

    ``go tool -n`` says what it would run, and running that is quicker. Raises RunFailed.
    """
    done = stop.run(release_toolchain(DEFAULT_GO).command("tool", "-n", "trace"), _BUILD_S)
    if done.status != 0:
        raise RunFailed(f"`go tool -n trace`: exit status {done.status}; its stderr: {done.stderr[-300:]}")
    return done.stdout.decode().strip()


def _parsed(tracer: str, file: Path, stop: Stop) -> Trace:
    """A trace by its own toolchain. Raises RunFailed."""
    done = stop.run([tracer, "-d=parsed", str(file)], _PARSE_S)
    try:
        if done.status != 0:
            raise ValueError(f"exit status {done.status}; its stderr: {done.stderr[-300:]}")
        return parse_trace(done.stdout.decode(errors="replace"), NAME)
    except ValueError as error:
        raise RunFailed(f"`go tool trace -d=parsed` of a trace of sleepbench: {error}") from error
