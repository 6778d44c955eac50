"""What strace and perf trace print, as calls. Each on its own clock; both ask the program to name its sleeps."""

import re

from nanonap.lab.experiments.path.calls import FOREVER, Call, Log
from nanonap.lab.experiments.path.recorder import WAITS

MARK = "gettid"
TRACED = ",".join((*WAITS, MARK))
#: strace(1): -ttt has the moment in seconds since the epoch, -T how long the call took, -f follows threads.
STRACE = ("strace", "-f", "-ttt", "-T", "-e", f"trace={TRACED}", "-o")
#: perf-trace(1): -T has the moment on perf's clock, in ms.
PERF = ("perf", "trace", "-T", "-e", TRACED, "-o")

_STRACE = re.compile(r"(\d+)\s+(\d+)\.(\d+) (?:<\.\.\. )?(\w+)(?:\((.*)| resumed>(.*))")
_TOOK = re.compile(r".*= .*<(\d+)\.(\d+)>$")
_UNFINISHED = "<unfinished ...>"
_MILLISECONDS = re.compile(r", \d+, (-?\d+), ")
_TIMESPEC = re.compile(r"\{tv_sec=(\d+), tv_nsec=(\d+)\}")
_NO_TIMESPEC = re.compile(r", \d+, NULL, ")
_PERF = re.compile(
    r"\s*(\d+)\.(\d+) \(\s*(?:(\d+)\.(\d+) ms)?\s*\): .*?/(\d+)\s+(?:\.\.\. \[continued\]: )?(\w+)\((.*)"
)
_PERF_TIMEOUT = re.compile(r"timeout: (-?\w+)")
_NO_LIMIT = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, -1)


def read_strace(text: str) -> Log:
    """Of STRACE's file. A call that did not end is left out."""
    log = Log([], [])
    begun: dict[int, tuple[int, str]] = {}
    for line in text.splitlines():
        match = _STRACE.match(line)
        if match is None:
            continue
        tid, ns, name = int(match[1]), int(match[2]) * 1_000_000_000 + int(match[3].ljust(9, "0")), match[4]
        said = match[5] if match[5] is not None else match[6]
        if said.endswith(_UNFINISHED):
            begun[tid] = (ns, said.removesuffix(_UNFINISHED))
            continue
        if match[6] is not None:
            ns, before = begun.pop(tid, (ns, ""))
            said = before + said
        took = _TOOK.match(said)
        if took is not None:
            _add(log, tid, name, ns, int(took[1]) * 1_000_000_000 + int(took[2].ljust(9, "0")), _asked(name, said))
    return log


def read_perf(text: str) -> Log:
    """Of PERF's file. It shows addresses of the structures that hold nanoseconds, so those limits are not known."""
    log = Log([], [])
    begun: dict[int, str] = {}
    for line in text.splitlines():
        match = _PERF.match(line)
        if match is None:
            continue
        tid, name = int(match[5]), match[6]
        if match[3] is None:
            begun[tid] = match[7]
            continue
        said = begun.pop(tid, "") if "[continued]" in line else match[7]
        ns = int(match[1]) * 1_000_000 + int(match[2].ljust(6, "0"))
        _add(log, tid, name, ns, int(match[3]) * 1_000_000 + int(match[4].ljust(6, "0")), _shown(name, said))
    return log


def _add(log: Log, tid: int, name: str, ns: int, took_ns: int, timeout_ns: int | None) -> None:
    if name == MARK:
        log.marks.append((tid, ns, ns + took_ns))
    elif name in WAITS:
        log.calls.append(Call(tid, name, ns, ns + took_ns, timeout_ns))


def _asked(name: str, said: str) -> int | None:
    if name == "epoll_pwait":
        match = _MILLISECONDS.search(said)
        return None if match is None else milliseconds(int(match[1]))
    match = _TIMESPEC.search(said)
    if match is not None:
        return int(match[1]) * 1_000_000_000 + int(match[2])
    return FOREVER if name == "epoll_pwait2" and _NO_TIMESPEC.search(said) else None


def _shown(name: str, said: str) -> int | None:
    if name != "epoll_pwait":
        return None
    match = _PERF_TIMEOUT.search(said)
    return milliseconds(int(match[1], 0)) if match is not None else 0  # it leaves out what is zero


def milliseconds(timeout: int) -> int:
    """epoll_pwait's time limit in ns."""
    return FOREVER if timeout in _NO_LIMIT else timeout * 1_000_000
