"""What a stack that the profiler unwound through the new code must look like."""

import re
from collections import Counter
from collections.abc import Iterable

from nanonap.trials.unwinding.profiles import Sample

NETPOLL, SLEEP, USLEEP = "runtime.netpoll", "time.Sleep", "runtime.usleep"
# With a profile runqgrab is inlined into its caller.
USLEEP_CALLERS = frozenset({"runtime.runqgrab", "runtime.runqsteal", "runtime.sysmon", "runtime.osyield"})

# Who calls netpoll (runtime/proc.go), and where the stacks of threads and goroutines begin.
_NETPOLL_CALLERS = {"runtime.findRunnable", "runtime.pollWork", "runtime.startTheWorldWithSema", "runtime.sysmon"}
_THREAD_BEGINS = {"runtime.mcall", "runtime.morestack", "runtime.mstart"}
_GOROUTINE_BEGINS = re.compile(r"runtime\.(main|gcBgMarkWorker|bgsweep|bgscavenge)|main\..*\.func\d+|.*profileWriter")

# Every call of time.Sleep in the program, and the one in runtime/pprof.
_SLEEP_CALLERS = {
    ("main.(*crew).sleep", "main.sleepHolding", "main.collectDuring.func1", "main.(*crew).start.func1"),
    ("main.(*crew).finish", "main.collectDuring", "main.profile", "main.main", "runtime.main"),
    ("runtime/pprof.profileWriter",),
}

Stacks = Counter[tuple[str, ...]]


def broken_above_netpoll(samples: Iterable[Sample]) -> Stacks:
    """The stacks, counted, that do not lead from netpoll, or from what it is inlined in, to a beginning."""
    return _count(each for each in samples if not _is_whole_above_netpoll(_callers(each, NETPOLL) or each.functions))


def broken_above_sleep(samples: Iterable[Sample]) -> Stacks:
    """The stacks, counted, that do not lead from time.Sleep through the program to a goroutine's beginning."""
    return _count(each for each in samples if _callers(each, SLEEP) not in _SLEEP_CALLERS)


def _callers(sample: Sample, function: str) -> tuple[str, ...]:
    """What stands above ``function``; nothing where it is not on the stack."""
    if function not in sample.functions:
        return ()
    return sample.functions[sample.functions.index(function) + 1 :]


def _is_whole_above_netpoll(callers: tuple[str, ...]) -> bool:
    if not callers or callers[0] not in _NETPOLL_CALLERS:
        return False
    if "runtime.systemstack" in callers:  # the stack goes on to that of the goroutine
        return _GOROUTINE_BEGINS.fullmatch(callers[-1]) is not None
    return callers[-1] in _THREAD_BEGINS


def _count(samples: Iterable[Sample]) -> Stacks:
    counted: Stacks = Counter()
    for each in samples:
        counted[each.functions] += each.count
    return counted
