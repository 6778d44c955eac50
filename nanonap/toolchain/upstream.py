"""The runtime that Go's own developers plan: the rival at equal lateness and at equal CPU time.

https://go.dev/cl/787700 (golang/go pull 79872) lets an idle scheduler wait with epoll_pwait2, and rounds what is left
until the next timer up into buckets so that near timers may share a wake-up. This is the algorithm, in words of our
own and over the user's own GOROOT, as ``rebuilt`` is made:

- a wait below 1 ms is rounded up to 10 µs, one below 10 ms to 100 µs, a longer one to 1 ms; 10^15 ns is the longest;
- 0 polls as before, and a negative wait is one without a limit;
- after a signal only a wait with a limit ends;
- whether the call is there is asked once, before the first wait: a call on no descriptor answers EBADF where it is
  known and permitted (Linux 5.11 and later). What is refused later ends the program, as any failed wait does.

Upstream asks for GODEBUG=epollpwait2=1 and looks at the kernel's version first; here it is always on, and the answer
alone decides.
"""

import re
from pathlib import Path

from nanonap.toolchain.goroot import NETPOLL, Goroot

ADDED = "src/runtime/nanonap_upstream_linux.go"

_START = re.compile(r"^func netpollinit\(\) \{$", re.MULTILINE)
_INTERRUPTED = re.compile(r"\bif waitms > 0 \{")

# 441 is epoll_pwait2 and its time limit two 64-bit numbers; 9 is EBADF (linux/include/uapi/asm-generic/unistd.h,
# errno-base.h, linux/time_types.h).
_HEAD = """package runtime

import (
	kernel "{package}"
	"unsafe"
)

var nanonapKnown bool

// nanonapProbe: of no descriptor, a kernel that knows the call says EBADF.
func nanonapProbe() {{
	var event [2]uint64
	var limit [2]int64
	_, _, errno := kernel.Syscall6(441, ^uintptr(0), uintptr(unsafe.Pointer(&event)), 1,
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	nanonapKnown = errno == 9
}}

// nanonapRounded: up, in coarser steps the longer the wait is.
func nanonapRounded(delay int64) int64 {{
	switch {{
	case delay < 1e6:
		return (delay + 1e4 - 1) / 1e4 * 1e4
	case delay < 1e7:
		return (delay + 1e5 - 1) / 1e5 * 1e5
	case delay < 1e15:
		return (delay + 1e6 - 1) / 1e6 * 1e6
	}}
	return 1e15
}}

// nanonapWait: how many events there are, or an error number.
func nanonapWait(delay int64, epfd int32, events unsafe.Pointer, maxev int32) (uintptr, uintptr) {{
	var limit [2]int64
	var timeout unsafe.Pointer
	if delay > 0 {{
		delay = nanonapRounded(delay)
		limit[0], limit[1] = delay/1e9, delay%1e9
		timeout = unsafe.Pointer(&limit)
	}}
	n, _, errno := kernel.Syscall6(441, uintptr(epfd), uintptr(events), uintptr(maxev), uintptr(timeout), 0, 0)
	return n, errno
}}

"""
_NEW = """//go:noinline
func epollPwait2(delay int64, epfd int32, events []kernel.EpollEvent, maxev, waitms int32) (int32, uintptr) {
	if delay == 0 || !nanonapKnown {
		return kernel.EpollWait(epfd, events, maxev, waitms)
	}
	n, errno := nanonapWait(delay, epfd, unsafe.Pointer(&events[0]), maxev)
	return int32(n), errno
}
"""
_OLD = """//go:noinline
func epollPwait2(delay int64, epfd int32, events *epollevent, maxev, waitms int32) int32 {
	if delay == 0 || !nanonapKnown {
		return epollwait(epfd, events, maxev, waitms)
	}
	n, errno := nanonapWait(delay, epfd, unsafe.Pointer(events), maxev)
	if errno != 0 {
		return -int32(errno)
	}
	return int32(n)
}
"""


def upstream_files(goroot: Path, release: str) -> dict[str, str]:
    """What to lay over GOROOT: path within it → content. As ``rebuilt_files``."""
    source = Goroot(goroot, release, "upstream")
    waiting = source.waiting()
    text = source.changed(_START, "func netpollinit() {\n\tnanonapProbe()", waiting.text, NETPOLL)
    text = source.changed(_INTERRUPTED, "if delay > 0 {", text, NETPOLL)
    added = _HEAD.format(package=waiting.package) + (_OLD if waiting.old else _NEW)
    return {NETPOLL: text, ADDED: added}
