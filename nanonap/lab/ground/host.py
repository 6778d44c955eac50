"""Facts about the machine that a latency cannot be read without. No names of hosts or users."""

import hashlib
import os
import platform
import resource
from pathlib import Path

from nanonap import __version__

DEFAULT_TIMER_SLACK_NS = 50_000
"""What the kernel gives a process under a fair-class policy (PR_SET_TIMERSLACK in prctl(2))."""
_POLICIES = {
    os.SCHED_OTHER: "SCHED_OTHER",
    os.SCHED_FIFO: "SCHED_FIFO",
    os.SCHED_RR: "SCHED_RR",
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
}
_CPU = Path("/sys/devices/system/cpu")
#: By their names, which are those of the fields of nanonap.lab.ground.hosts.Host.
Facts = dict[str, str | int | list[float] | None]


def facts() -> Facts:
    """The facts as recorded with every run; None where the machine does not say. Times in ns, memory in bytes."""
    return {
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpu_model": _cpuinfo("model name"),
        "cpus_online": os.sysconf("SC_NPROCESSORS_ONLN"),
        "cpus_allowed": cpus_allowed(),
        "hypervisor": "hypervisor" in (_cpuinfo("flags") or "").split(),
        "clocksource": _line(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        "governor": _line(_CPU / "cpu0/cpufreq/scaling_governor"),
        "idle_driver": _line(_CPU / "cpuidle/current_driver"),
        "timer_slack_ns": _number(_line(Path("/proc/self/timerslack_ns"))),
        "scheduler_policy": _POLICIES.get(os.sched_getscheduler(0), "other"),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "cgroup": _cgroup_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "python": platform.python_version(),
        "tool": __version__,
        "boot": _boot(),
    }


class Busy:
    """What the machine's CPUs did beside us from this moment on."""

    def __init__(self) -> None:
        """Begin to count."""
        self._before = _cpu_times()

    def since(self) -> dict[str, int | None]:
        """CPU time in ns since then: ``steal_ns`` that the hypervisor took, ``others_cpu_ns`` of other processes.

        Of /proc/stat (proc_stat(5)), which counts in ticks (10 ms as a rule) over all CPUs; our own time, and that of
        our children that have ended, is getrusage(2)'s. None where /proc/stat cannot be read.
        """
        now = _cpu_times()
        if now is None or self._before is None:
            return {"steal_ns": None, "others_cpu_ns": None}
        steal, busy, own = (new - old for new, old in zip(now, self._before, strict=True))
        return {"steal_ns": steal, "others_cpu_ns": max(0, busy - own)}


def _cpu_times() -> tuple[int, int, int] | None:
    """(stolen, used by anyone, used by us and our ended children), ns; None where /proc/stat cannot be read."""
    try:
        with Path("/proc/stat").open(encoding="ascii") as stream:
            fields = [int(word) for word in stream.readline().split()[1:]]
    except (OSError, ValueError):
        return None
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_ns = int(sum(each.ru_utime + each.ru_stime for each in used) * 1e9)
    return steal * tick_ns, (user + nice + system + irq + softirq) * tick_ns, own_ns


def cpus_allowed() -> int:
    """The CPUs this process may run on (sched_getaffinity(2)): what GOMAXPROCS is set to, as Go itself would."""
    return len(os.sched_getaffinity(0))


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None else None


def _cpuinfo(key: str) -> str | None:
    for line in (_line(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _cgroup_version() -> str | None:
    lines = (_line(Path("/proc/self/cgroup")) or "").splitlines()
    unified = any(line.startswith("0::") for line in lines)
    legacy = any(not line.startswith("0::") for line in lines)
    return {(True, False): "v2", (False, True): "v1", (True, True): "hybrid"}.get((unified, legacy))


def _boot() -> str | None:
    # Tells whether two results share a boot, without giving away the machine's own identifier.
    text = _line(Path("/proc/sys/kernel/random/boot_id"))
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else None
