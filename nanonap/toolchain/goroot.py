"""The user's own GOROOT, read for a build whose runtime is another: what an edit rests on must be there exactly once.

Another release may mean something else by the same words. GOROOT itself is never written to.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from nanonap.toolchain.errors import CannotRebuild

NETPOLL = "src/runtime/netpoll_epoll.go"

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


@dataclass(frozen=True)
class Waiting:
    """``text``: of NETPOLL, its wait called ``epollPwait2(delay, …)``; ``old``: in the way of Go before 1.21.

    ``package``: the runtime's own package of raw system calls, which had three names.
    """

    text: str
    old: bool
    package: str


@dataclass(frozen=True)
class Goroot:
    """A release's source; ``release`` and ``mode`` are for messages. Every method raises CannotRebuild."""

    root: Path
    release: str
    mode: str

    def waiting(self) -> Waiting:
        """The file in which an idle scheduler waits, with its wait's name changed."""
        netpoll = self.read(NETPOLL)
        if known := _KNOWN.search(netpoll):
            raise CannotRebuild(
                f"Go {self.release}: {self.root / NETPOLL} has {known[0]} of its own, so there is nothing to add; "
                "measure that with GODEBUG=epollpwait2=1"
            )
        self.once(_DELAY, netpoll, NETPOLL)
        old = _OLD_WAIT.search(netpoll) is not None
        text = self.changed(_OLD_WAIT if old else _WAIT, "epollPwait2(delay, ", netpoll, NETPOLL)
        return Waiting(text, old, self._package())

    def changed(self, anchor: re.Pattern[str], into: str, text: str, name: str) -> str:
        """The text, of the file ``name``, with the one place that the anchor finds replaced (as ``re.sub`` does)."""
        self.once(anchor, text, name)
        return anchor.sub(into, text)

    def once(self, anchor: re.Pattern[str], text: str, name: str) -> None:
        """Refuse a text in which the anchor is not found exactly once."""
        found = len(anchor.findall(text))
        if found != 1:
            raise CannotRebuild(
                f"Go {self.release}: {self.root / name} was expected to have /{anchor.pattern}/ once, and has it "
                f"{found} times: mode {self.mode} does not know this release's {Path(name).name}; leave the mode out"
            )

    def _package(self) -> str:
        for package in _PACKAGES:
            source = self.root / "src" / package / "syscall_linux.go"
            if source.is_file() and _SYSCALL6.search(self.read(str(source.relative_to(self.root)))):
                return package
        raise CannotRebuild(
            f"Go {self.release}: {self.root}/src was expected to have /{_SYSCALL6.pattern}/ in syscall_linux.go of "
            f"{' or '.join(_PACKAGES)}, and has it in none: mode {self.mode} does not know this release's runtime; "
            "leave the mode out"
        )

    def read(self, name: str) -> str:
        """A file of GOROOT."""
        source = self.root / name
        try:
            return source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise CannotRebuild(
                f"Go {self.release}: {source} cannot be read ({reason}); mode {self.mode} needs the release's source: "
                "install it, or leave the mode out"
            ) from error
