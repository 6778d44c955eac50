"""A private instance of the kernel's event tracing (Documentation/trace/ftrace.rst, "Instances"), in tracefs alone.

Nothing but files is needed: no BPF, no perf, no package; standard library only, so that it runs in a guest too.

What is recorded, on every CPU:

- ``sched_switch`` of all tasks: whether a CPU was busy with others while a thread waited for it can be told in no other
  way;
- ``sched_waking``, ``sched_wakeup``, ``sched_wakeup_new``, ``sched_migrate_task`` and ``sched_process_fork`` of the
  measured program alone, by its name, which its threads inherit. (``set_event_pid`` would lose the switches between
  others, and the program's number would have to be known before it starts.)
- ``sched_process_exec`` of all: a fork by the program that begins a program of its own is no thread of it;
- what ends a CPU's idleness, and the ticks (interrupts have events on x86 alone): some kernels do not record the
  switches that certain tasks do, among them idle tasks (seen: Linux 6.18 in a virtual machine, on all but the first
  CPU), and these events tell when a CPU came to run another task (``nanonap.lab.attribution.events``);
- ``throttle_cfs_rq`` and ``unthrottle_cfs_rq`` of all groups, where the kernel has kprobe events.

The clock is ``mono``, which is CLOCK_MONOTONIC, printed in whole microseconds.
"""

import contextlib
import ctypes
import os
import re
from pathlib import Path

from nanonap.base.processes import identity, is_alive
from nanonap.lab.attribution.errors import TracingUnavailable

KPROBES, TRACEPOINTS = "tracepoints+kprobes", "tracepoints"
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x00020000, 0x4000, 1 << 18  # linux/sched.h, linux/mount.h
_PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug"))
_INSTANCE = re.compile(r"nanonap-([0-9]+-[0-9]+)")
_GROUP = re.compile(r"[pr][0-9]*:nanonap_([0-9]+)_([0-9]+)/(\w+) ")
_OF_THE_PROGRAM = {
    "sched_waking": "comm",
    "sched_wakeup": "comm",
    "sched_wakeup_new": "comm",
    "sched_migrate_task": "comm",
    "sched_process_fork": "parent_comm",
}
_AWAKENING = {
    "irq_vectors/reschedule_entry": "common_pid == 0",
    "irq_vectors/call_function_single_entry": "common_pid == 0",
    "irq_vectors/local_timer_entry": None,
    "sched/sched_wake_idle_without_ipi": None,
}
_PROBES = {"throttle": "throttle_cfs_rq", "unthrottle": "unthrottle_cfs_rq"}
COMM_LENGTH = 15  # TASK_COMM_LEN less the terminating zero
_MOST_BYTES, _LEAST_BYTES = 128 << 20, 1 << 20
_PROBE_FILES = ("kprobe_events", "uprobe_events")


class Instance:
    """An instance that records from ``start`` to ``stop``; ``close`` leaves nothing of it. ``method`` says how well."""

    most_bytes = _MOST_BYTES

    def __init__(self, program: str) -> None:
        """Make it, for ``program`` (the name of its file). Raises TracingUnavailable; nothing is left then."""
        self.root = find_tracefs()
        remove_stale(self.root)
        self.folder = self.root / "instances" / f"nanonap-{identity()}"
        self.group = f"nanonap_{identity().replace('-', '_')}"
        self.method = TRACEPOINTS
        try:
            self.folder.mkdir()
            self._prepare(program)
        except OSError as error:
            self.close()
            reason = f"{error.filename or self.folder}: {error.strerror}"
            raise TracingUnavailable(reason, "run as root, on a kernel with CONFIG_FTRACE") from error
        except BaseException:  # a signal's handler that ends the recorder: nobody has it yet who would close it
            self.close()
            raise

    def _prepare(self, program: str) -> None:
        write(self.folder / "tracing_on", "0")
        write(self.folder / "trace_clock", "mono")
        # What comes after the buffer is full is dropped and counted: the record is whole up to a known moment.
        write(self.folder / "options/overwrite", "0")
        write(self.folder / "options/irq-info", "1")
        write(self.folder / "buffer_size_kb", str(_buffer_bytes(self.most_bytes) >> 10))
        self._enable_all(program)

    def _enable_all(self, program: str) -> None:
        """The events that are recorded; OSError where one is not there. Recorders of others have their own."""
        for event in ("sched_switch", "sched_process_exec"):
            self._enable(f"sched/{event}")
        comm = program[:COMM_LENGTH]
        for event, field in _OF_THE_PROGRAM.items():
            # Other names cannot be written in a filter; all are recorded then.
            self._enable(f"sched/{event}", f'{field} == "{comm}"' if re.fullmatch(r"[\w.+-]+", comm) else None)
        for event, condition in _AWAKENING.items():
            if (self.folder / "events" / event).exists():
                self._enable(event, condition)
        if (self.root / "kprobe_events").exists():
            with contextlib.suppress(OSError):  # a function may be inlined; then throttling is told in another way
                for name, function in _PROBES.items():
                    append(self.root / "kprobe_events", f"p:{self.group}/{name} {function} cfs_rq=$arg1:x64")
                write(self.folder / "events" / self.group / "enable", "1")
                self.method = KPROBES

    def _enable(self, event: str, condition: str | None = None) -> None:
        place = self.folder / "events" / event
        if condition is not None:
            write(place / "filter", condition)
        write(place / "enable", "1")

    def start(self) -> None:
        """Record."""
        write(self.folder / "tracing_on", "1")

    def stop(self) -> bytes:
        """End recording; returns the kernel's text, and before it ``@lost CPU COUNT`` for CPUs that dropped events."""
        write(self.folder / "tracing_on", "0")
        lost = []
        for place in sorted((self.folder / "per_cpu").iterdir()):
            fields = dict(line.split(": ") for line in (place / "stats").read_text(encoding="ascii").splitlines())
            if int(fields["dropped events"]):
                lost.append(f"@lost {place.name.removeprefix('cpu')} {int(fields['dropped events'])}\n")
        return "".join(lost).encode() + (self.folder / "trace").read_bytes()

    def close(self) -> None:
        """Remove it and its probes. Safe to call twice."""
        _remove(self.root, self.folder, self.group)


def remove_stale(root: Path) -> None:
    """Remove the instances and probes of dead recorders (one that was killed leaves them)."""
    for folder in (root / "instances").glob("nanonap-*"):
        match = _INSTANCE.fullmatch(folder.name)
        if match is not None and not is_alive(match[1]):
            _remove(root, folder, f"nanonap_{match[1].replace('-', '_')}")
    for file, match in _probes(root):
        if not is_alive(f"{match[1]}-{match[2]}"):
            with contextlib.suppress(OSError):
                append(file, f"-:nanonap_{match[1]}_{match[2]}/{match[3]}")


def _remove(root: Path, folder: Path, group: str) -> None:
    # An event in use cannot be removed, and the instance's use of it ends with the instance. One step that fails is no
    # reason to leave the next undone: what is left is removed by the next recorder.
    for switch in ("tracing_on", f"events/{group}/enable"):
        with contextlib.suppress(OSError):
            write(folder / switch, "0")
    with contextlib.suppress(OSError):
        folder.rmdir()
    for file, match in _probes(root):
        if f"nanonap_{match[1]}_{match[2]}" == group:
            with contextlib.suppress(OSError):
                append(file, f"-:{group}/{match[3]}")


def _probes(root: Path) -> list[tuple[Path, re.Match[str]]]:
    """Probes of recorders like this, and the file that lists each."""
    found = []
    for file in (root / each for each in _PROBE_FILES):
        with contextlib.suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [(file, match) for match in map(_GROUP.match, lines) if match is not None]
    return found


def find_tracefs() -> Path:
    """tracefs where it is mounted and may be written, else mounted in a mount namespace of this process's own.

    That mount ends with the process, and nobody else sees it. Raises TracingUnavailable.
    """
    if os.access(_PLACES[0] / "instances", os.W_OK):
        return _PLACES[0]
    place = next((each for each in _PLACES if each.is_dir()), None)
    if place is None or "\ttracefs\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        raise TracingUnavailable("this kernel has no tracefs", "use a kernel with CONFIG_FTRACE")
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.unshare(_CLONE_NEWNS) != 0
        or libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None) != 0
        or libc.mount(b"tracefs", os.fsencode(place), b"tracefs", ctypes.c_ulong(0), None) != 0
    ):
        reason = f"tracefs cannot be mounted ({os.strerror(ctypes.get_errno())})"
        raise TracingUnavailable(reason, "run as root (in a container: with CAP_SYS_ADMIN)")
    return place


def _buffer_bytes(most: int) -> int:
    """Per CPU: an equal part of so many bytes, or of an eighth of the free memory if that is less."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), most)
    return max(min(most, available // 8) // (os.cpu_count() or 1), _LEAST_BYTES)


def write(path: Path, text: str) -> None:
    """Write a file of tracefs."""
    path.write_text(text, encoding="ascii")


def append(path: Path, text: str) -> None:
    """Add a line to a list of probes."""
    # Truncated, the file forgets everybody's probes (Documentation/trace/kprobetrace.rst), and it cannot be sought
    # in, which Path.open("a") would do.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, text.encode() + b"\n")
    finally:
        os.close(descriptor)
