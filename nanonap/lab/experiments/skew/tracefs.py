"""The events of a timer's wake-up in a private instance of tracefs: what is recorded where there is no bpftrace.

Standard library only, so that it runs in a guest too. The kernel's text has whole microseconds.
"""

from pathlib import Path

from nanonap.lab.attribution.tracefs import COMM_LENGTH, Instance

#: What a wait begins and ends with; of timerfd_settime and read for a program that waits so (``skew_probe``).
BEGINS = ("epoll_pwait", "epoll_pwait2", "clock_nanosleep", "timerfd_settime")
ENDS = ("epoll_pwait", "epoll_pwait2", "clock_nanosleep", "read")
STAT = "sched_stat_sleep"
#: 0 or 1: whether the scheduler counts for sched_stat_* (Documentation/admin-guide/sysctl/kernel.rst).
SWITCH = Path("/proc/sys/kernel/sched_schedstats")
#: The first stage of a guest of ours, on no host (nanonap/lab/guest/recipe/recipe.sh).
OURS = Path("/usr/lib/nanonap/boot.py")


def switched_on(switch: Path = SWITCH, ours: Path = OURS) -> str | None:
    """See that the scheduler counts for sched_stat_*; why it does not, or None.

    It is switched on in a guest of ours alone, which ends with its user: a host keeps the settings that it has.
    """
    try:
        if switch.read_text(encoding="ascii").strip() == "1":
            return None
        if not ours.exists():
            return f"{switch} is 0, and no experiment changes that on a machine in use"
        switch.write_text("1", encoding="ascii")
    except (OSError, ValueError) as error:
        return f"{switch} cannot be switched on ({error})"
    return None


class Wakeups(Instance):
    """Timers, wake-ups, switches to the program's threads, their waiting calls, and sched_stat_sleep where it is."""

    #: Why sched_stat_sleep cannot be had; None if it is recorded.
    lacking: str | None = None

    def _enable_all(self, program: str) -> None:
        comm = f'comm == "{program[:COMM_LENGTH]}"'
        self._enable("sched/sched_switch", f"next_{comm}")
        self._enable("sched/sched_wakeup", comm)
        self._enable("timer/hrtimer_start", comm)
        self._enable("timer/hrtimer_expire_entry")  # it comes in another's context, and names a timer only
        for name in BEGINS:
            self._enable(f"syscalls/sys_enter_{name}", comm)
        for name in ENDS:
            self._enable(f"syscalls/sys_exit_{name}", comm)
        if not (self.folder / "events/sched" / STAT).exists():
            self.lacking = f"there is no tracepoint sched:{STAT}: this kernel is built without CONFIG_SCHEDSTATS"
        else:
            self.lacking = switched_on()
        if self.lacking is None:
            self._enable(f"sched/{STAT}", comm)
