"""The checks themselves. Each gives its findings, one line each: an empty list where all is as it should be.

All raise Unsound where a program does not even come so far.
"""

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nanonap.trials.unwinding.asleep import SLEEPERS, Ended, quit_asleep, quit_in_usleep
from nanonap.trials.unwinding.profiles import Sample, profile_of
from nanonap.trials.unwinding.survivors import DIES, Survivor
from nanonap.trials.unwinding.tracebacks import (
    durations_told,
    in_system_calls,
    is_whole_sleeper,
    read_goroutines,
    read_threads,
    signs_of_breakage,
    sleepers,
)
from nanonap.trials.unwinding.whole_stacks import (
    USLEEP,
    USLEEP_CALLERS,
    broken_above_netpoll,
    broken_above_sleep,
)

_SCHEDULER = ("runtime.netpoll", "runtime.findRunnable", "runtime.schedule")
_EXTERNAL = "runtime._ExternalCode"  # what the profiler calls code outside every Go function (runtime/proc.go, sigprof)


def quit_findings(ended: Ended, variant: str, stock: Ended) -> list[str]:
    """SIGQUIT while all sleep: every sleeper is shown, frame by frame and with its duration, as stock shows it."""
    findings = signs_of_breakage(ended.traceback)
    if ended.status != DIES:
        findings.append(f"SIGQUIT: exit status {ended.status}, expected {DIES}")
    expected = sleepers(read_goroutines(stock.traceback))
    if expected.total() != SLEEPERS + 1 or {state for state, _ in expected} != {"sleep"}:
        findings.append(f"SIGQUIT: stock itself shows {dict(expected)}")
    expected = in_system_calls(expected) if variant == "sleep" else expected
    if (found := sleepers(read_goroutines(ended.traceback))) != expected:
        findings.append(f"SIGQUIT: sleepers {dict(found)}, expected {dict(expected)}")
    if (told := durations_told(ended.traceback)) != durations_told(stock.traceback):
        findings.append(f"SIGQUIT: durations {dict(told)}, expected {dict(durations_told(stock.traceback))}")
    return findings


def crash_findings(survivor: Survivor, variant: str) -> list[str]:
    """GOTRACEBACK=crash, for which every thread tells its stack: those in the new code tell it whole."""
    if variant == "usleep":
        return _usleep_crash_findings(survivor)
    return crash_told(survivor, variant, quit_asleep(survivor, variant, GOTRACEBACK="crash"))


def crash_told(survivor: Survivor, variant: str, ended: Ended) -> list[str]:
    """The same of one that has ended, of any variant but usleep."""
    findings = _crash_signs(ended)
    met = [each.first for each in read_threads(ended.traceback) if survivor.in_stub(ended.code.linked(each.pc))]
    least = SLEEPERS + 1 if variant == "sleep" else 1 if variant.startswith("netpoll") else 0
    if len(met) < least:
        findings.append(f"crash: {len(met)} threads in the new code, expected at least {least}")
    # Where netpoll is inlined, some of its instructions count as the caller's own.
    inlined = _SCHEDULER[1] in survivor.holders
    for each in met:
        waits = _SCHEDULER if not inlined or each.frames[:1] == _SCHEDULER[:1] else _SCHEDULER[1:]
        scheduler = each.number == 0 and each.frames[: len(waits)] == waits
        whole = is_whole_sleeper(each) if variant == "sleep" else scheduler
        if not whole:
            findings.append(f"crash: a thread in the new code shows {each}")
    return findings


def _usleep_crash_findings(survivor: Survivor) -> list[str]:
    """The monitor's thread waits in the stub. It has no goroutine and is not asked; the sleepers must be whole."""
    ended = quit_in_usleep(survivor, GOTRACEBACK="crash")
    # On a busy machine all may be due, and runnable; they still stand in time.Sleep.
    asleep = [each for each in read_goroutines(ended.traceback) if "time.Sleep" in each.frames]
    broken = [each for each in asleep if "runtime.goexit" not in each.frames]
    findings = _crash_signs(ended) + [f"crash: a sleeper shows {each}" for each in broken]
    return findings if asleep else [*findings, "crash: no sleeper is shown"]


def _crash_signs(ended: Ended) -> list[str]:
    findings = signs_of_breakage(ended.traceback)
    if ended.status != -signal.SIGABRT:
        findings.append(f"crash: exit status {ended.status}, expected SIGABRT")
    return findings


@dataclass(frozen=True)
class Profiled:
    """How many samples of a profile lie in the new code, and what is wrong with them."""

    met: int
    findings: list[str]


def profiled(survivor: Survivor, variant: str, folder: Path, length: str) -> Profiled:
    """A CPU profile of sleepers and the collector, written to ``folder``.

    Samples in the new code must lead to whoever called it. That there is one is chance: none is no finding.
    """
    # With more Ps than processors, thieves find work that another P is about to run, and usleep before they take it.
    environment = {"GOMAXPROCS": "8"} if variant == "usleep" else {}
    return profile_told(survivor, variant, profile_of(survivor, folder, length, **environment))


def profile_told(survivor: Survivor, variant: str, samples: list[Sample]) -> Profiled:
    """The same of a profile that was taken."""
    met = [each for each in samples if survivor.in_stub(each.pc)]
    if variant == "usleep":
        return _profiled_usleep(met)
    findings = [
        f"profile: {each.functions} in the new code" for each in met if each.functions[0] not in survivor.holders
    ]
    broken = broken_above_sleep(met) if variant == "sleep" else broken_above_netpoll(met)
    findings += [f"profile: {count} times a stack that leads nowhere: {stack}" for stack, count in broken.items()]
    return Profiled(_total(met), findings)


def _profiled_usleep(met: list[Sample]) -> Profiled:
    inside = [each for each in met if each.functions[0] == USLEEP]
    findings = [
        f"profile: usleep called by {each.functions}"
        for each in inside
        if len(each.functions) < 2 or each.functions[1] not in USLEEP_CALLERS
    ]
    # A dozen instructions beside the system call lie outside every function.
    outside = _total(each for each in met if each.functions[0] == _EXTERNAL)
    if inside and outside > _total(inside):
        findings.append(f"profile: {outside} samples outside every function, {_total(inside)} in usleep")
    return Profiled(_total(inside), findings)


def _total(samples: Iterable[Sample]) -> int:
    return sum(each.count for each in samples)
