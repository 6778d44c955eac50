"""Runtimes that wait as ``rebuilt`` does and bound their wake-ups by what happened before: one word outlasts the wait.

They are controls for what a patch could do, and no way to build programs:

- ``counted-N``: precise as long as timers need at most N wake-ups a second, of which those of 100 ms may be saved up.
  Beyond, a wait lasts until the next wake-up is allowed. Each wait that its time limit ended counts; the clock is read.
- ``saved-N``: only waits shorter than 32,768 ns count, and last 800 µs where nothing is saved up, as with ``--quantum
  800000 --dense 32768``. Longer waits save up what they ask for: 1/N of a second for each short one, 20 ms at most. So
  the waits' own lengths are the clock, and where all waits are short, none is precise.

A plain word is enough: one thread waits at a time. It takes ``sched.lastpoll`` by an atomic exchange, and gives it
back after the wait (findRunnable in runtime/proc.go).
"""

import re
from pathlib import Path

from nanonap.toolchain.goroot import NETPOLL, Goroot
from nanonap.toolchain.rebuilt import rebuilt_files

ADDED = "src/runtime/nanonap_bounded_linux.go"
#: The first release whose wait takes a slice, and that has the built-in functions min and max.
SINCE = (1, 21)
DENSE_NS, QUANTUM_NS, SAVED_NS = 32_768, 800_000, 20_000_000
_COUNTED_NS = 100_000_000

_CALL = re.compile(r"\bepollPwait2\(delay, ")
_WAIT = """package runtime

import kernel "{package}"

// nanonapWord: of this clock, when all wake-ups are paid for; or what is saved up, in ns.
var nanonapWord int64

func nanonapWait(delay int64, epfd int32, events []kernel.EpollEvent, maxev, waitms int32) (int32, uintptr) {{
	if delay <= 0 {{
		return epollPwait2(delay, epfd, events, maxev, waitms)
	}}
{rule}
}}
"""
_COUNTED = """	now := nanotime()
	nanonapWord = max(nanonapWord, now-{saved})
	n, errno := epollPwait2(max(delay, nanonapWord-now), epfd, events, maxev, waitms)
	if n == 0 && errno == 0 {{
		nanonapWord += {share}
	}}
	return n, errno"""
_SAVED = """	if delay >= {dense} {{
		nanonapWord = min(nanonapWord+min(delay, {saved}), {saved})
	}} else if nanonapWord >= {share} {{
		nanonapWord -= {share}
	}} else {{
		delay = {quantum}
	}}
	return epollPwait2(delay, epfd, events, maxev, waitms)"""


def counted_files(wakeups: int, goroot: Path, release: str) -> dict[str, str]:
    """What to lay over GOROOT for ``counted-N``; as ``rebuilt_files``."""
    rule = _COUNTED.format(share=10**9 // wakeups, saved=_COUNTED_NS)
    return _files(goroot, release, f"counted-{wakeups}", rule)


def saved_files(wakeups: int, goroot: Path, release: str) -> dict[str, str]:
    """What to lay over GOROOT for ``saved-N``; as ``rebuilt_files``."""
    rule = _SAVED.format(share=10**9 // wakeups, saved=SAVED_NS, dense=DENSE_NS, quantum=QUANTUM_NS)
    return _files(goroot, release, f"saved-{wakeups}", rule)


def _files(goroot: Path, release: str, mode: str, rule: str) -> dict[str, str]:
    source = Goroot(goroot, release, mode)
    files = rebuilt_files(goroot, release)
    netpoll = source.changed(_CALL, "nanonapWait(delay, ", files[NETPOLL], NETPOLL)
    added = _WAIT.format(package=source.waiting().package, rule=rule)
    return {**files, NETPOLL: netpoll, ADDED: added}
