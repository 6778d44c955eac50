"""What the tests of both guests do inside."""

import subprocess

from nanonap.lab.guest.backend import GuestBackend, GuestGroup, client
from nanonap.lab.quota.base import Throttling
from nanonap.lab.quota.limits import Limits, parse_quota
from tests.patience import wait_until

#: Every kind of limit that the kernel's cgroup v2 has.
KINDS = {
    "none": Limits(),
    "50%": Limits(parse_quota("50%")),
    "20%/10ms": Limits(parse_quota("20%/10ms")),
    "150%": Limits(parse_quota("150%")),
    "1ms of 1s": Limits(parse_quota("0.1%/1s")),
    "1ms of 1ms": Limits(parse_quota("100%/1ms")),
    "weight": Limits(weight=50),
    "memory": Limits(memory_bytes=64 << 20),
    "all": Limits(parse_quota("50%/50ms"), weight=200, memory_bytes=128 << 20),
}
BURN = "import time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"


def run(backend: GuestBackend, *argv: str) -> "subprocess.CompletedProcess[str]":
    """A command inside, in no group."""
    return subprocess.run([*client(backend.machine), "0", "--", *argv], capture_output=True, text=True, check=False)


def burn(group: GuestGroup) -> Throttling:
    """Half a second of it in the group; what the group counted meanwhile."""
    before = group.counters()
    subprocess.run(group.command(["python3", "-c", BURN]), check=True)
    after = group.counters()
    assert before is not None
    assert after is not None
    return after.since(before)


def groups(backend: GuestBackend) -> list[str]:
    """Folders of groups of ours, wherever they are in the guest's hierarchy."""
    found = run(backend, "find", "/sys/fs/cgroup", "-name", "nanonap[-_]*[0-9]*", "-type", "d")
    return found.stdout.split()


def wait_until_no_groups(backend: GuestBackend) -> None:
    """What is left in the end fails, with its name."""
    wait_until(lambda: not groups(backend), lambda: groups(backend))
