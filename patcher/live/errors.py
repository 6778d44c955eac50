"""What can stand in the way of changing a running process. Exit statuses 60 … 79; README lists them all."""

from nanonap.base.errors import NanonapError


class NoSuchProcess(NanonapError):
    """No process of that number, or it ended meanwhile."""

    exit_code = 60


class NotPermitted(NanonapError):
    """This user may not look into the process; the message says why not and who may."""

    exit_code = 61


class Traced(NanonapError):
    """A debugger or strace has hold of the process."""

    exit_code = 62


class KernelTooOld(NanonapError):
    """The kernel has no epoll_pwait2 (before 5.11)."""

    exit_code = 63


class SeccompKills(NanonapError):
    """A system call filter would kill the process, or trap, at a system call that it would newly make."""

    exit_code = 64


class SeccompUnreadable(NanonapError):
    """The process has a system call filter that this user may not read."""

    exit_code = 65


class Frozen(NanonapError):
    """The process stands in a frozen cgroup, where no thread can be stopped."""

    exit_code = 66


class BreakpointSet(NanonapError):
    """A breakpoint or a uprobe lies in the code that would change."""

    exit_code = 67


class CannotStop(NanonapError):
    """The threads could not all be held where they can be moved, however often it was tried."""

    exit_code = 68


class CannotStage(NanonapError):
    """The code crosses a page and there is no way to rewrite it without a moment in which it is torn."""

    exit_code = 69


class MemoryUnknown(NanonapError):
    """The code in memory is neither the file's nor one that this version puts there."""

    exit_code = 70


class NotInjected(NanonapError):
    """There is nothing to take out."""

    exit_code = 71


class NotWritable(NanonapError):
    """The kernel does not let the memory of another process be written."""

    exit_code = 72


class ProcessChanged(NanonapError):
    """The process ran another program, or its code changed, while this was prepared."""

    exit_code = 73


class AgentFailed(NanonapError):
    """The process that holds the target ended early; the target is whole, ``status`` names its state."""

    exit_code = 74


class SomeFailed(NanonapError):
    """Of several processes, one at least was not changed."""

    exit_code = 75
