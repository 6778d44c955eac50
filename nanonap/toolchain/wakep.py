"""Runtimes that wait as ``rebuilt`` does, and wake a second thread for a timer only where there is something for it.

A thread that comes back from its wait looks for work as a *spinning* one. Once it has found the timer's goroutine it
stops spinning (``resetspinning``), and wakes another thread by futex, before the goroutine runs. The two runtimes here
ask first. They are controls for what that second thread costs, and no way to build programs:

- ``wakep-queued`` wakes it where a queue holds a goroutine, or the collector is at work;
- ``wakep-needed`` also where nobody waits in netpoll and there is something to wait for: another timer, or a socket.

**Why no goroutine is lost.** Who makes work puts it into a queue, and then wakes a thread unless one spins; so as long
as one spins, work may be queued and nobody is woken. The last one that stops spinning must make up for that. It takes
the count of spinning threads down, and then looks at the queues; who makes work writes the queue, and then looks at the
count. Both have a full barrier in between, so one of the two sees what the other wrote (Dekker): either the count is 0
and who made the work wakes a thread, or the work is seen here. The idle path's own re-checks in findRunnable rest on
the same order, and the same places are read here: the global queue, the queues of processors that are not idle, the
collector, timers. The list of processors is stable, since whoever is here holds one.

**What is lost with wakep-queued.** The thread that came back was the one that waited for all timers and sockets. With
``wakep`` the second thread finds nothing to run and takes that wait over. Without it, nobody waits as long as the
goroutine runs: the next timer is late by all that time, up to the 10 ms after which sysmon polls and preempts.
"""

import re
from pathlib import Path

from nanonap.toolchain.goroot import Goroot
from nanonap.toolchain.rebuilt import rebuilt_files

ADDED = "src/runtime/nanonap_wakep.go"
PROC = "src/runtime/proc.go"
#: The first release with all that is read below (the heap of timers that says when it is due next).
SINCE = (1, 23)

_LAST_CALL = re.compile(r"^(func resetspinning\(\) \{\n(?:(?!\}).*\n)*?)\twakep\(\)\n\}$", re.MULTILINE)
_QUEUED = """package runtime

// nanonapQueued: whether a queue holds a goroutine, or the collector has work for idle processors.
func nanonapQueued() bool {
	if !sched.runq.empty() {
		return true
	}
	for id, pp := range allp {
		if !idlepMask.read(uint32(id)) && !runqempty(pp) {
			return true
		}
	}
	return gcBlackenEnabled != 0
}

// nanonapUnwatched: whether nobody waits in netpoll for what there is to wait for.
func nanonapUnwatched() bool {
	if !netpollinited() || sched.lastpoll.Load() == 0 {
		return false
	}
	if netpollWaiters.Load() > 0 {
		return true
	}
	for id, pp := range allp {
		if timerpMask.read(uint32(id)) && pp.timers.wakeTime() != 0 {
			return true
		}
	}
	return false
}
"""


def queued_files(goroot: Path, release: str) -> dict[str, str]:
    """What to lay over GOROOT for ``wakep-queued``; as ``rebuilt_files``."""
    return _files(goroot, release, "wakep-queued", "nanonapQueued()")


def needed_files(goroot: Path, release: str) -> dict[str, str]:
    """What to lay over GOROOT for ``wakep-needed``; as ``rebuilt_files``."""
    return _files(goroot, release, "wakep-needed", "nanonapQueued() || nanonapUnwatched()")


def _files(goroot: Path, release: str, mode: str, asks: str) -> dict[str, str]:
    source = Goroot(goroot, release, mode)
    into = rf"\1\tif {asks} {{\n\t\twakep()\n\t}}\n}}"
    proc = source.changed(_LAST_CALL, into, source.read(PROC), PROC)
    return {**rebuilt_files(goroot, release), PROC: proc, ADDED: _QUEUED}
