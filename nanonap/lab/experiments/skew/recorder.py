"""The process that records wake-ups: a recorder for ``Recording`` (nanonap.lab.attribution.recording), of other events.

Options, standard input and output as of ``nanonap.lab.attribution.recorder``; standard library only. Mode ``auto`` is
bpftrace where it runs, else tracefs, mode ``trace`` tracefs, and mode ``bpftrace`` bpftrace or nothing. The record
begins with ``@stat REASON`` where sched_stat_sleep cannot be had, and is then the script's output
(``wakeups.bt``), or the kernel's text.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.attribution.recorder import begin
from nanonap.lab.attribution.tracefs import COMM_LENGTH
from nanonap.lab.experiments.skew.tracefs import Wakeups

SCRIPT = Path(__file__).parent / "wakeups.bt"
BPFTRACE, TRACEFS, NOTHING = "bpftrace", "tracefs", "none"
MODES = ("auto", "trace", "bpftrace")
#: It looks for events below debugfs or tracefs, by version; this mount namespace ends with it.
_MOUNT = (
    "[ -d /sys/kernel/debug/tracing/events ] || mount -t debugfs none /sys/kernel/debug; "
    '[ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing; exec "$@"'
)
_PRIVATE = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _MOUNT, "sh"]
# It goes with this process, whatever ends that (PR_SET_PDEATHSIG, which execve(2) keeps).
_WITH_ME = ["setpriv", "--pdeathsig", "KILL"]
#: What it takes, and the Debian package of each.
_TOOLS = {"bpftrace": "bpftrace", "setpriv": "util-linux", "unshare": "util-linux"}
_AS_ROOT = "run as root, on a kernel with BPF and FTRACE"
_READY = b"ready"
_START_S = 90.0
_STOP_S, _ASK_S = 100.0, 5.0
_TAIL = 300


class Bpftrace:
    """bpftrace with the script, from its making to ``stop``; ``close`` ends it in any case."""

    def __init__(self, program: str) -> None:
        """Returns when it records. Raises TracingUnavailable."""
        for tool, package in _TOOLS.items():
            if shutil.which(tool) is None:
                raise TracingUnavailable(f"there is no {tool}", f"install it (Debian: apt-get install {package})")
        command = ["bpftrace", "-B", "line", str(SCRIPT), program[:COMM_LENGTH]]
        # Files without a name (memfd_create(2)): a pipe would fill while nobody reads it.
        self._output, self._errors = os.memfd_create("output"), os.memfd_create("errors")
        try:
            self._process = subprocess.Popen(
                [*_WITH_ME, *_PRIVATE, *command], stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._errors
            )
        except OSError as error:
            self._forget()
            raise TracingUnavailable(f"{_WITH_ME[0]} cannot be started ({error.strerror})", _AS_ROOT) from error
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        # The first line is that of the attached probes, the second the script's.
        while _READY not in _text(self._output):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = " ".join(_text(self._errors).decode(errors="replace").split())[-_TAIL:] or "without a word"
                what = "ended" if ended else f"did not start in {_START_S:.0f} s"
                raise TracingUnavailable(f"bpftrace {what} ({said})", _AS_ROOT)
            time.sleep(0.005)

    def stop(self) -> bytes:
        """End it; returns what it wrote, its losses included. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + _STOP_S
        while True:  # releases that print while they are asked to end do not hear it
            self._process.send_signal(signal.SIGINT)  # it writes out what it has, and ends
            try:
                self._process.wait(_ASK_S)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > until:
                    raise
        # ``Lost N events`` goes to either stream, by version.
        return _text(self._output) + b"\n" + _text(self._errors)

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        os.close(self._output)
        os.close(self._errors)


def _text(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def main() -> int:
    """Record until standard input says stop, or ends."""
    options = begin(MODES)
    refusals: list[TracingUnavailable] = []
    with contextlib.ExitStack() as ends:
        source = _begin(options.program, options.mode, refusals, ends)
        method = NOTHING if source is None else BPFTRACE if isinstance(source, Bpftrace) else TRACEFS
        why = refusals[-1] if refusals else None
        reason, remedy = (why.reason, why.remedy) if why else (None, None)
        print(json.dumps({"method": method, "reason": reason, "remedy": remedy}), flush=True)
        if source is None or sys.stdin.readline() != "stop\n":
            return 0
        lacking = source.lacking if isinstance(source, Wakeups) else None
        text = source.stop()
    sys.stdout.buffer.write((f"@stat {lacking}\n".encode() if lacking else b"") + text)
    return 0


def _begin(
    program: str, mode: str, refusals: list[TracingUnavailable], ends: contextlib.ExitStack
) -> Bpftrace | Wakeups | None:
    """The best source that works here; ``ends`` closes it."""
    if mode != "trace":
        try:
            bpftrace = Bpftrace(program)
        except TracingUnavailable as error:
            refusals.append(error)
        else:
            ends.callback(bpftrace.close)
            return bpftrace
    if mode != "bpftrace":
        try:
            instance = Wakeups(program)
        except TracingUnavailable as error:
            refusals.append(error)
        else:
            ends.callback(instance.close)
            instance.start()
            return instance
    return None


if __name__ == "__main__":
    raise SystemExit(main())
