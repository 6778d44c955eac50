"""A runtime whose netpoll waits with epoll_pwait2, for exactly as long as the scheduler asks.

https://go.dev/issue/53824 asks for it. The user's own GOROOT gives the source; two files are laid over it for one
build (``go build -overlay``): its src/runtime/netpoll_epoll.go with the wait's name changed, and a file of ours that
holds the new wait. GOROOT itself is read only.
"""

from pathlib import Path

from nanonap.toolchain.goroot import NETPOLL, Goroot

ADDED = "src/runtime/nanonap_pwait2_linux.go"

# 441 is epoll_pwait2 on every architecture, and its time limit two 64-bit numbers (linux/include/uapi/asm-generic/
# unistd.h, linux/time_types.h). 38 and 1 are ENOSYS and EPERM: kernels before 5.11, and filters of containers.
# Not inlined, so that a profile, a traceback and the patcher see by name that this runtime is precise.
_HEAD = """package runtime

import (
	kernel "{package}"
	"unsafe"
)

// nanonapRefused: the kernel is too old, or a filter stands before it.
func nanonapRefused(errno uintptr) bool {{ return errno == 38 || errno == 1 }}

"""
_NEW = """// epollPwait2 waits as stock does, but for a positive delay to the nanosecond.
//
//go:noinline
func epollPwait2(delay int64, epfd int32, events []kernel.EpollEvent, maxev, waitms int32) (int32, uintptr) {
	if delay > 0 {
		limit := [2]int64{delay / 1e9, delay % 1e9}
		n, _, errno := kernel.Syscall6(441, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])),
			uintptr(maxev), uintptr(unsafe.Pointer(&limit)), 0, 0)
		if !nanonapRefused(errno) {
			return int32(n), errno
		}
	}
	return kernel.EpollWait(epfd, events, maxev, waitms)
}
"""
_OLD = """// epollPwait2 waits as stock does, but for a positive delay to the nanosecond.
//
//go:noinline
func epollPwait2(delay int64, epfd int32, events *epollevent, maxev, waitms int32) int32 {
	if delay > 0 {
		limit := [2]int64{delay / 1e9, delay % 1e9}
		n, _, errno := kernel.Syscall6(441, uintptr(epfd), uintptr(unsafe.Pointer(events)),
			uintptr(maxev), uintptr(unsafe.Pointer(&limit)), 0, 0)
		if errno == 0 {
			return int32(n)
		}
		if !nanonapRefused(errno) {
			return -int32(errno)
		}
	}
	return epollwait(epfd, events, maxev, waitms)
}
"""


def rebuilt_files(goroot: Path, release: str) -> dict[str, str]:
    """What to lay over GOROOT: path within it → content. ``release`` is for messages.

    Raises CannotRebuild, which names what was expected, where, and what was found.
    """
    waiting = Goroot(goroot, release, "rebuilt").waiting()
    added = _HEAD.format(package=waiting.package) + (_OLD if waiting.old else _NEW)
    return {NETPOLL: waiting.text, ADDED: added}
