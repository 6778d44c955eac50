"""A runtime whose netpoll waits with epoll_pwait2: the rival that Go's own developers would ship.

https://go.dev/issue/53824 asks for it. The user's own GOROOT gives the source; two files are laid over it for one
build (``go build -overlay``): its src/runtime/netpoll_epoll.go with the wait's name changed, and a file of ours that
holds the new wait. GOROOT itself is read only. Each thing that the edit rests on must be there exactly once: another
release may mean something else by it.
"""

import re
from pathlib import Path

from nanonap.toolchain.errors import CannotRebuild

NETPOLL = "src/runtime/netpoll_epoll.go"
ADDED = "src/runtime/nanonap_pwait2_linux.go"

_KNOWN = re.compile(r"epoll_?pwait2", re.IGNORECASE)
_DELAY = re.compile(r"\bfunc netpoll\(delay int64\)")
#: Go 1.21 and later: the runtime's package of system calls has the wait, which takes a slice.
_WAIT = re.compile(r"\b(?:syscall|linux)\.EpollWait\((?=epfd, events\[:\], int32\(len\(events\)\), waitms\))")
#: Before: assembly in the runtime itself, which takes a pointer and gives a negative error number.
_OLD_WAIT = re.compile(r"\bepollwait\((?=epfd, &events\[0\], int32\(len\(events\)\), waitms\))")
_SYSCALL6 = re.compile(
    r"^func Syscall6\(num, a1, a2, a3, a4, a5, a6 uintptr\) \(r1, r2, errno uintptr\)$", re.MULTILINE
)
_PACKAGES = ("internal/runtime/syscall/linux", "internal/runtime/syscall", "runtime/internal/syscall")

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
    netpoll = _read(goroot / NETPOLL, release)
    if known := _KNOWN.search(netpoll):
        raise CannotRebuild(
            f"Go {release}: {goroot / NETPOLL} has {known[0]} of its own, so there is nothing to add; "
            "measure that with GODEBUG=epollpwait2=1"
        )
    _once(_DELAY, netpoll, goroot, release)
    old = _OLD_WAIT.search(netpoll) is not None
    wait = _OLD_WAIT if old else _WAIT
    _once(wait, netpoll, goroot, release)
    added = _HEAD.format(package=_package(goroot, release)) + (_OLD if old else _NEW)
    return {NETPOLL: wait.sub("epollPwait2(delay, ", netpoll), ADDED: added}


def _once(anchor: re.Pattern[str], text: str, goroot: Path, release: str) -> None:
    found = len(anchor.findall(text))
    if found != 1:
        raise CannotRebuild(
            f"Go {release}: {goroot / NETPOLL} was expected to have /{anchor.pattern}/ once, and has it {found} times: "
            "mode rebuilt does not know this release's netpoll; leave the mode out"
        )


def _package(goroot: Path, release: str) -> str:
    """The runtime's own package of raw system calls, which had three names."""
    for package in _PACKAGES:
        source = goroot / "src" / package / "syscall_linux.go"
        if source.is_file() and _SYSCALL6.search(_read(source, release)):
            return package
    raise CannotRebuild(
        f"Go {release}: {goroot}/src was expected to have /{_SYSCALL6.pattern}/ in syscall_linux.go of "
        f"{' or '.join(_PACKAGES)}, and has it in none: mode rebuilt does not know this release's runtime; "
        "leave the mode out"
    )


def _read(source: Path, release: str) -> str:
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CannotRebuild(
            f"Go {release}: {source} cannot be read ({reason}); mode rebuilt needs the release's source: "
            "install it, or leave the mode out"
        ) from error
