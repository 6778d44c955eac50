"""A process from outside: which it is, whether it may be looked into, and what would stand in the way."""

import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.processes import started
from nanonap.base.terminal import command
from patcher.live.errors import Frozen, KernelTooOld, NoSuchProcess, NotPermitted, Traced
from patcher.live.stopping import status_of, traced_by

_AT_ENTRY = 9  # elf.h: where the program's entry lies in memory
_NEEDS_KERNEL = (5, 11)  # epoll_pwait2(2)
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_CGROUPS = Path("/sys/fs/cgroup")
_PTRACE, _NICE = 19, 23  # linux/capability.h: CAP_SYS_PTRACE, CAP_SYS_NICE


@dataclass(frozen=True)
class Target:
    """A process: its number, and when it started, which no later one of that number shares."""

    pid: int
    started: int

    @property
    def program(self) -> Path:
        """The file that it runs: the kernel's own way there, whatever became of its name (proc_pid_exe(5))."""
        return Path(f"/proc/{self.pid}/exe")

    @property
    def name(self) -> str:
        """The file by its name, where that can be read, else the command's."""
        try:
            return str(self.program.readlink())
        except OSError:
            return status_of(self.pid).get("Name", "?")


def target_of(pid: int) -> Target:
    """The process of that number. Raises NoSuchProcess."""
    begun = started(pid) if pid > 0 else None
    leader = status_of(pid).get("Tgid")
    if begun is not None and leader not in (None, str(pid)):
        raise NoSuchProcess(f"process {pid}: that is a thread of process {leader}: name the process")
    if begun is None:
        raise NoSuchProcess(f"process {pid}: there is none; `{command('status')}` lists those that run Go programs")
    return Target(pid, begun)


def entry_of(pid: int) -> int:
    """Where the kernel has put the program's entry (proc_pid_auxv(5)): what its load bias is told by."""
    try:
        with open(f"/proc/{pid}/auxv", "rb", buffering=0) as stream:  # noqa: PTH123 - asked while the process stands still
            data = stream.read()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcess(f"process {pid}: ended") from error
    values = dict(struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]))
    if _AT_ENTRY not in values:
        raise NoSuchProcess(f"process {pid}: ended, or a kernel thread: it runs no program")
    return int(values[_AT_ENTRY])


def check_kernel(release: str | None = None) -> None:
    """Raises KernelTooOld. ``release``: as uname(2) gives it."""
    text = platform.release() if release is None else release
    found = re.match(r"(\d+)\.(\d+)", text)
    if found and (int(found[1]), int(found[2])) < _NEEDS_KERNEL:
        raise KernelTooOld(
            f"Linux {text}: has no epoll_pwait2 (5.11 has it): a patch would change nothing; run a newer kernel"
        )


def check_reachable(target: Target) -> None:
    """Raises Traced, Frozen, NotPermitted or NoSuchProcess where the process cannot be held, saying why."""
    tracer = int(status_of(target.pid).get("TracerPid", "0"))
    if tracer:
        raise Traced(traced_by(target.pid, tracer))
    if place := frozen_at(target.pid):
        raise Frozen(
            f"process {target.pid}: its cgroup is frozen ({place}), and no thread there can be stopped: thaw it "
            "(docker unpause, or 0 into its cgroup.freeze), then try again"
        )
    try:
        with Path(f"/proc/{target.pid}/mem").open("rb"), target.program.open("rb"):
            pass
    except (PermissionError, FileNotFoundError, ProcessLookupError) as error:
        if started(target.pid) != target.started or status_of(target.pid).get("State", "Z")[:1] in "ZX":
            raise NoSuchProcess(f"process {target.pid}: ended") from error
        raise NotPermitted(why_not(target.pid)) from error


def frozen_at(pid: int) -> str | None:
    """The frozen cgroup that a process stands in, cgroup v2 or v1; None where it can run."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            events = _CGROUPS / path.lstrip("/") / "cgroup.events"
            if "frozen 1" in _read(events).splitlines():
                return path
        elif "freezer" in controllers.split(","):
            state = _CGROUPS / "freezer" / path.lstrip("/") / "freezer.state"
            if _read(state).strip() in ("FROZEN", "FREEZING"):
                return path
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def may(capability: int, pid: int | str = "self") -> bool:
    """Whether a process has a capability in effect (capabilities(7)), by its number."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", text, re.MULTILINE)
    return bool(found and int(found[1], 16) >> capability & 1)


def why_not(pid: int) -> str:
    """Which of the kernel's rules keeps this user out of a process (ptrace(2), access mode checking), and who may."""
    return f"process {pid}: may not be traced by this user: {_reason(pid)}"


def _reason(pid: int) -> str:  # noqa: PLR0911 - a rule of the kernel's each
    if may(_PTRACE):
        if _namespace(pid) != _namespace("self"):
            return "it stands in another user namespace, where this one's capabilities do not count; run as root there"
        return (
            "the kernel refuses though CAP_SYS_PTRACE is there: a security module or a seccomp filter of this process "
            "forbids ptrace (a container may need the capability SYS_PTRACE and a profile that allows it)"
        )
    if os.getuid() == 0:
        return (
            "root has no CAP_SYS_PTRACE here, as in a container: give that one the capability SYS_PTRACE, or run on "
            "the host"
        )
    ids, own = status_of(pid).get("Uid", "0 0 0 0").split(), str(os.getuid())
    if len(set(ids)) > 1:
        return f"it runs set-user-ID (user IDs {' '.join(dict.fromkeys(ids))}); run as root"
    if ids[0] != own:
        return f"it is another user's (user ID {ids[0]}, this is {own}); run as that user, or as root"
    if re.search(r"[1-9a-f]", status_of(pid).get("CapPrm", "")):
        return "its program has file capabilities, which this user has not; run as root"
    scope = _read(_YAMA).strip()
    if scope == "3":
        return "Yama forbids it to everybody (kernel.yama.ptrace_scope is 3, until the next boot); patch the file"
    if _undumpable(pid):
        return "it is undumpable (prctl PR_SET_DUMPABLE, or a program that may not be read); run as root"
    if scope in ("1", "2"):
        whom = "a parent" if scope == "1" else "root"
        return f"Yama allows it to {whom} alone (kernel.yama.ptrace_scope is {scope}); run as root"
    return "the kernel refuses (another namespace, or a security module); run as root, in its own PID namespace"


def _namespace(pid: int | str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/user")  # noqa: PTH115 - a magic link's text
    except OSError:
        return ""


def _undumpable(pid: int) -> bool:
    """The files of /proc/PID are root's then (proc(5))."""
    try:
        return os.stat(f"/proc/{pid}/environ").st_uid != os.getuid()  # noqa: PTH116 - a process's file
    except OSError:
        return False
