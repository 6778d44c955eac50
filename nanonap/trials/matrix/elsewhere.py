"""A cell of another processor: patched here, run in a guest of the lab's, the jobs of all its arms in two boots.

In the first, how long sleeps last is exact, if no real processor's: instructions are the guest's clock. The second is
for strain, at a third of the cost.
"""

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nanonap.lab.ground.host import DEFAULT_TIMER_SLACK_NS
from nanonap.lab.guest.jobs import EXACT, FAST, Job, Outcome
from nanonap.lab.guest.other import OtherBackend
from nanonap.toolchain.patched import Variant
from nanonap.trials.corpus.counting import TRACED, waits_told
from nanonap.trials.matrix.inside import ended, figures_of, medians, none_early, quit_job, stdout_of
from nanonap.trials.matrix.result import Arm, State
from nanonap.trials.matrix.steps import PLAN, ArmRun, Failed, Programs, hold
from nanonap.trials.unwinding.asleep import Ended
from nanonap.trials.unwinding.checks import crash_told, profile_told, quit_findings
from nanonap.trials.unwinding.places import CodeMap
from nanonap.trials.unwinding.profiles import read_profile
from nanonap.trials.unwinding.survivors import STOCK
from patcher.isa.table import ISAS
from patcher.strategies.table import STRATEGIES

US = 1_000
#: The runtime's monitor is awake at first, and takes the CPU for a part of the first hundred sleeps.
_PRECISE = ("-plan", "50us*41,100us*41,200us*41,500us*41,1ms*41", "-warmup", "100", "-gomaxprocs", "1")
_MOST_ABOVE_FLOOR_NS = 10 * US
_LEAST_GAIN = 6
_SLEPT = ("-plan", PLAN, "-sleepers", "2", "-warmup", "2", "-gomaxprocs", "1")
_BURNT = ("-plan", "2ms*10", "-burn", "1", "-warmup", "2", "-gomaxprocs", "1")
_TICKS = ("-mode", "ticks", "-for", "1s", "-requested", "200us", "-sleepers", "20")
_STRAINS = ("signals", "grow", "exec", "io")
_REFUSALS = (errno.ENOSYS, errno.EPERM)
#: Of the system calls that patched programs newly make, the first argument of those that alone are to be refused.
_REFUSED_WITH = {"prctl": "/29"}  # PR_SET_TIMERSLACK (linux/prctl.h)


class Guest:
    """Where cells run, and the program that refuses system calls there."""

    def __init__(self, backend: OtherBackend, refuse: Path) -> None:
        """The backend is prepared; ``refuse`` is built for its target."""
        self._backend, self.refuse = backend, refuse
        self.isa = next(each for each in ISAS.values() if each.name == backend.target.name)

    def run(self, jobs: Mapping[str, Job], shift: int) -> dict[str, Outcome]:
        """All of them in one boot. Raises QuotaUnavailable."""
        return dict(zip(jobs, self._backend.run(list(jobs.values()), shift), strict=True))


class ArmElsewhere(ArmRun):
    """One arm: what is done here before and after the guest, what it wants to run there, and what must come of it."""

    def __init__(self, variant: Variant, sleepbench: Path, survive: Path, folder: Path) -> None:
        """``sleepbench`` and ``survive``: the stock programs."""
        # How stock ends is told by the guest, among the controls.
        super().__init__(variant, Programs(sleepbench, survive, Ended(0, "", CodeMap(survive, 0, 0))), folder)
        self.outcomes: dict[str, Outcome] = {}
        self.controls: dict[str, Outcome] = {}

    def begin(self) -> bool:
        """The steps before the guest; whether all are well."""
        before = (("inspect", self._inspect), ("patch", self._patch), ("verify", self._verify))
        return all(self.take(name, step) for name, step in before)

    def exact(self) -> dict[str, Job]:
        """Jobs for the boot whose times count."""
        sleepbench = str(self.sleepbench)
        return {"sleep": Job((sleepbench, *_SLEPT)), "precise": Job((sleepbench, *_PRECISE))}

    def strain(self, guest: Guest) -> dict[str, Job]:
        """Jobs for the other boot."""
        sleepbench, survive, own = str(self.sleepbench), str(self.survivor.path), self.survivor.manifest
        jobs = {"preempt": Job((sleepbench, *_BURNT))}
        for name in own.new_syscalls if own else ():
            for refusal in _REFUSALS:
                call = f"{guest.isa.system_calls[name]}{_REFUSED_WITH.get(name, '')}"
                words = (str(guest.refuse), call, str(refusal), sleepbench, *_SLEPT)
                jobs[f"refused {name} {refusal}"] = Job(words)
        if STRATEGIES[self.variant.strategy].waits:
            jobs["count"] = Job(("strace", "-qq", "-ff", *TRACED, "-o", "waits", sleepbench, *_SLEPT))
        clobber = {"GOGC": "1", "GODEBUG": "clobberfree=1,invalidptr=1"}
        jobs["collect"] = Job((survive, "-mode", "gc", "-for", "400ms", "-sleepers", "100"), clobber)
        for strain in _STRAINS:
            jobs[f"strain {strain}"] = Job((survive, "-mode", strain, "-for", "200ms", "-sleepers", "20"))
        if STRATEGIES[self.variant.strategy].unwound:
            # Beside the collector one CPU is never idle, and no sample would meet the wait.
            jobs["profile"] = Job((survive, *_TICKS, "-profile", "cpu.pprof"))
        return jobs | {
            "quit": quit_job(guest.isa, survive, self.variant.name),
            "crash": quit_job(guest.isa, survive, self.variant.name, "crash"),
        }

    def end(self, outcomes: Mapping[str, Outcome], controls: Mapping[str, Outcome]) -> Arm:
        """Judge what the guest gave, up to the first that does not hold; what was patched is reverted in any case."""
        self.outcomes, self.controls = dict(outcomes), dict(controls)
        if self.steps[-1].state is State.OK:
            all(self.take(name, step) for name, step in self._inside())
        if self.survivor.path.exists():
            self.take("revert", self._revert)
        return Arm(self.variant.name, tuple(self.steps))

    def _inside(self) -> list[tuple[str, Callable[[], str]]]:
        strategy = STRATEGIES[self.variant.strategy]
        return [
            ("sleep", lambda: self._slept(stdout_of(self.outcomes["sleep"]), DEFAULT_TIMER_SLACK_NS)),
            ("precise", self._precise),
            *([("count", self._counted)] if strategy.waits else []),
            ("refuse", self._refused),
            ("preempt", self._preempted),
            ("collect", self._collected),
            ("strain", self._strained),
            *([("profile", self._profile_told)] if strategy.unwound else []),
            ("quit", self._quit_told),
            ("crash", self._crash_told),
        ]

    def _precise(self) -> str:
        own, stock = medians(self.outcomes["precise"]), medians(self.controls["stock"])
        floor = medians(self.controls["floor+slack1" if self.variant.slack_ns else "floor"])
        above = max(own[each] - floor[each] for each in own)
        gain = stock[100 * US] / own[100 * US]
        said = f"at most {above / US:.1f} µs above the floor, stock takes {gain:.1f} × as long at 100 µs"
        if not STRATEGIES[self.variant.strategy].waits:
            return f"as stock waits: {said}"
        if above > _MOST_ABOVE_FLOOR_NS or (self.variant.slack_ns and gain < _LEAST_GAIN):
            raise Failed(said)
        return said

    def _counted(self) -> str:
        outcome = self.outcomes["count"]
        stdout_of(outcome)
        made = waits_told([data.decode(errors="replace") for data in outcome.files.values()])
        if made.milliseconds or not made.precise:
            raise Failed(f"{made.milliseconds} waits in whole milliseconds are left, {made.precise} are precise")
        return f"{made.precise} waits, none in whole milliseconds"

    def _refused(self) -> str:
        refused = {name: each for name, each in self.outcomes.items() if name.startswith("refused")}
        for name, outcome in refused.items():
            slack_ns = DEFAULT_TIMER_SLACK_NS if "prctl" in name else self.variant.slack_ns or DEFAULT_TIMER_SLACK_NS
            stdout = stdout_of(outcome)
            told = json.loads(stdout.partition(b"\n")[0])["timer_slack_ns"]
            if told != slack_ns:
                raise Failed(f"{name}: timer slack {told} ns, expected {slack_ns} ns")
            none_early(stdout)
        return f"{len(refused)} refusals, each leaves what stock does"

    def _preempted(self) -> str:
        return f"{none_early(stdout_of(self.outcomes['preempt']))} sleeps beside a goroutine that never yields"

    def _collected(self) -> str:
        figures = figures_of(self.outcomes["collect"], "-mode", "gc")
        return f"{figures['gcs']} collections, {figures['sleeps']} sleeps"

    def _strained(self) -> str:
        slept = [figures_of(self.outcomes[f"strain {each}"], "-mode", each)["sleeps"] for each in _STRAINS]
        return f"{', '.join(_STRAINS)}: {sum(slept)} sleeps"

    def _profile_told(self) -> str:
        outcome = self.outcomes["profile"]
        stdout_of(outcome)
        path = self.folder / "cpu.pprof"
        path.write_bytes(outcome.files["cpu.pprof"])
        seen = profile_told(self.survivor, self.variant.name, read_profile(path, self.survivor.path))
        hold(seen.findings)
        if not seen.met:
            raise Failed("no sample met the new code")
        return f"{seen.met} samples in the new code, all unwound"

    def _quit_told(self) -> str:
        stock = ended(self.controls["quit"], self.programs.survive)
        hold(quit_findings(ended(self.outcomes["quit"], self.survivor.path), self.variant.name, stock))
        return "every sleeper shown as in stock"

    def _crash_told(self) -> str:
        hold(crash_told(self.survivor, self.variant.name, ended(self.outcomes["crash"], self.survivor.path)))
        return "every thread told its stack"


def run_elsewhere(
    variants: Sequence[Variant], sleepbench: Path, survive: Path, folder: Path, guest: Guest
) -> tuple[Arm, ...]:
    """Every arm through its steps. Raises QuotaUnavailable where the guest fails."""
    arms = [ArmElsewhere(each, sleepbench, survive, folder) for each in variants]
    ready = [each for each in arms if each.begin()]
    controls = {
        "stock": Job((str(sleepbench), *_PRECISE)),
        "floor": Job((str(sleepbench), "-method", "floor", *_PRECISE)),
    }
    for each in ready:
        if each.variant.slack_ns:
            controls["floor+slack1"] = Job((str(each.sleepbench), "-method", "floor", *_PRECISE))
    exact = guest.run(controls | _named({each: each.exact() for each in ready}), EXACT)
    quit_stock = {"quit": quit_job(guest.isa, str(survive), STOCK)}
    outcomes = exact | guest.run(quit_stock | _named({each: each.strain(guest) for each in ready}), FAST)
    return tuple(each.end(_of(each, outcomes), outcomes) for each in arms)


def _named(jobs: Mapping[ArmElsewhere, dict[str, Job]]) -> dict[str, Job]:
    return {f"{arm.variant.name}: {name}": job for arm, own in jobs.items() for name, job in own.items()}


def _of(arm: ArmElsewhere, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    prefix = f"{arm.variant.name}: "
    return {name.removeprefix(prefix): each for name, each in outcomes.items() if name.startswith(prefix)}
