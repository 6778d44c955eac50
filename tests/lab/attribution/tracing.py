"""What of tracing is left on this machine, and whether it can be had."""

import functools
import subprocess

import pytest

from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.attribution.recording import Recording

_LOOK = """
[ -d /sys/kernel/tracing/instances ] || mount -t tracefs tracefs /sys/kernel/tracing
ls /sys/kernel/tracing/instances
cat /sys/kernel/tracing/kprobe_events /sys/kernel/tracing/uprobe_events 2> /dev/null || true
"""


@functools.cache
def refusal() -> TracingUnavailable | None:
    """Why the kernel's tracepoints cannot be recorded here; None if they can."""
    with Recording("nothing") as recording:
        return recording.refusal


def needs_tracing() -> None:
    """Skip the test where the kernel's tracepoints cannot be recorded."""
    reason = refusal()
    if reason is not None:
        pytest.skip(f"needs the kernel's tracepoints: {reason.reason}; {reason.remedy} (as in: sudo ./lab test)")


def left() -> str:
    """The names of all instances and the text of all probes that the kernel has now."""
    command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c", _LOOK]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
