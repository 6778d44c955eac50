"""Real groups in this machine's cgroup hierarchy: set, read back, entered, counted, removed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT
from nanonap.base.processes import identity
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.groups import remove_group
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.cgroup import CgroupBackend, CgroupGroup
from nanonap.lab.quota.choose import BACKEND_NAMES, choose
from nanonap.lab.quota.limits import Limits, Quota, parse_quota
from nanonap.lab.quota.none import NoBackend
from tests.patience import PATIENCE_S, wait_until

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}
HALF = Limits(parse_quota("50%"))
# On a machine that others load too, a group may not get half a CPU to begin with; a tenth it gets.
TENTH = Limits(parse_quota("10%"))
BURN = "while True: pass"
REST_AND_BURN = """import time
while True:
    time.sleep(0.3)
    end = time.thread_time() + 0.05
    while time.thread_time() < end: pass
"""


def used_until(group: Group, program: str, enough: Callable[[Throttling], bool]) -> Throttling:
    """What a Python program, running in the group, used of it until that was enough."""
    before = group.counters()
    assert before is not None
    used = [before.since(before)]

    def seen() -> bool:
        after = group.counters()
        assert after is not None
        used.append(after.since(before))
        return enough(used[-1])

    with subprocess.Popen(group.command([sys.executable, "-c", program])) as process:
        try:
            wait_until(seen, lambda: used[-1])
        finally:
            process.kill()
    return used[-1]


def own_groups(backend: Backend, pid: int) -> list[Path]:
    assert isinstance(backend, CgroupBackend)
    return list(backend.parent.glob(f"nanonap-{pid}-*"))


@pytest.mark.parametrize("text", ["50%", "50%/10ms", "150%", "1%", "100%/1ms", "1%/1s", "500m", "2cpu"])
def test_the_kernel_says_the_quota_that_was_asked_for(backend: Backend, text: str) -> None:
    with backend.open(Limits(parse_quota(text))) as group:
        assert group.effective.quota == parse_quota(text)


def test_burst_weight_and_memory_are_set_and_read_back(backend: Backend) -> None:
    asked = Limits(parse_quota("50%/20ms+burst=4ms"), weight=200, memory_bytes=64 << 20)
    with backend.open(asked) as group:
        assert group.effective == asked
        done = subprocess.run(group.command(["cat", "/proc/self/cgroup"]), check=True, capture_output=True, text=True)
        assert isinstance(group, CgroupGroup)
        inside = [line for line in done.stdout.splitlines() if group.folder.name in line]
        assert len(inside) == len(group.folders)


def test_memory_beyond_the_limit_ends_the_program(backend: Backend) -> None:
    hungry = "x = bytearray(256 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
    with backend.open(Limits(memory_bytes=32 << 20)) as group:
        done = subprocess.run(group.command([sys.executable, "-c", hungry]), check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL


def test_a_burst_is_used_and_counted(backend: Backend) -> None:
    # Idle periods leave quota over; the burner then runs longer than a period's quota before it is stopped.
    with backend.open(Limits(parse_quota("10%+burst=10ms"))) as group:
        counted = group.counters()
        if counted is not None and counted.nr_bursts is None:
            pytest.skip("needs a kernel that counts bursts (5.18 or later)")
        used = used_until(group, REST_AND_BURN, lambda used: bool(used.nr_bursts))
    assert used.burst_ns


def test_a_group_without_quota_is_without_limit(backend: Backend) -> None:
    with backend.open(Limits()) as group:
        assert not group.effective.quota.limited


def test_a_burner_in_the_group_is_throttled_and_counted(backend: Backend) -> None:
    with backend.open(TENTH) as group:
        used = used_until(group, BURN, lambda used: used.nr_throttled > 0 and used.throttled_ns > 0)
    assert used.nr_periods >= used.nr_throttled


def test_the_command_is_inside_from_its_first_instruction_and_keeps_its_arguments(backend: Backend) -> None:
    show = "import os, sys; print(open('/proc/self/cgroup').read()); print(sys.argv[1:], os.getpid())"
    with backend.open(HALF) as group:
        assert isinstance(group, CgroupGroup)
        arguments = ["a b", "$HOME", "'; exit 1; '", "*"]
        done = subprocess.run(
            group.command([sys.executable, "-c", show, *arguments]), check=True, capture_output=True, text=True
        )
        assert group.folder.name in done.stdout
        assert str(arguments) in done.stdout


def test_a_closed_group_is_gone_with_all_that_ran_in_it(backend: Backend) -> None:
    with backend.open(HALF) as group:
        left = subprocess.Popen(group.command(["sleep", "100"]))
        deep = subprocess.Popen(group.command(["sh", "-c", "sleep 100 & exec sleep 100"]))
        assert isinstance(group, CgroupGroup)
        inside = group.folder / "cgroup.procs"
        wait_until(lambda: len(inside.read_text().split()) == 3)
    assert left.wait(PATIENCE_S) == deep.wait(PATIENCE_S) == -signal.SIGKILL
    assert own_groups(backend, os.getpid()) == []
    group.close()


def test_groups_of_dead_processes_are_removed_and_those_of_living_ones_kept(backend: Backend) -> None:
    assert isinstance(backend, CgroupBackend)
    dead = subprocess.Popen(["sleep", "100"])
    stale = backend.parent / f"nanonap-{identity(dead.pid)}-1"
    dead.kill()
    dead.wait()
    alive = subprocess.Popen(["sleep", "100"])
    kept = backend.parent / f"nanonap-{identity(alive.pid)}-1"
    # A living process under the number of a dead one.
    pid, _, number = identity(alive.pid).partition("-")
    reused = backend.parent / f"nanonap-{pid}-{int(number) - 1}-1"
    other = backend.parent / "nanonap-keep-me"
    leftover = subprocess.Popen(["sleep", "100"])
    try:
        for folder in (stale, kept, reused, other):
            folder.mkdir()
        (stale / "below").mkdir()
        (stale / "below" / "cgroup.procs").write_text(str(leftover.pid))
        type(backend)().prepare()
        assert not stale.exists()
        assert not reused.exists()
        assert leftover.wait(PATIENCE_S) == -signal.SIGKILL
        assert kept.exists()
        assert other.exists()
    finally:
        for process in (alive, leftover):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        for folder in (stale, kept, reused, other):
            remove_group(folder)


def test_what_the_kernel_refuses_is_said_with_reason_and_remedy_and_leaves_nothing(backend: Backend) -> None:
    too_much = Limits(Quota(quota_ns=10**18, period_ns=100_000_000))
    with pytest.raises(QuotaUnavailable) as caught:
        backend.open(too_much)
    assert "was refused" in caught.value.reason
    assert caught.value.remedy
    assert own_groups(backend, os.getpid()) == []


def test_auto_says_which_backend_it_took_and_why(backend: Backend) -> None:
    choice = choose("auto")
    assert choice.backend.name == backend.name
    assert "read back" in choice.why
    assert choice.refusal(HALF) is None


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=", ".join(BACKEND_NAMES)):
        choose("nomad")


def test_without_a_backend_a_quota_is_refused_and_its_absence_is_not() -> None:
    with pytest.raises(QuotaUnavailable):
        NoBackend().open(HALF)
    with NoBackend().open(Limits()) as group:
        assert group.command(["true"]) == ["true"]
        assert group.counters() is None


READ_ONLY = """
set -e
for mount in $(awk '$(NF-2) ~ /^cgroup2?$/ {print $5}' /proc/self/mountinfo); do
    mount -o remount,bind,ro "$mount"
done
exec "$@"
"""


@pytest.fixture
def where_cgroups_are_read_only(backend: Backend) -> list[str]:
    """A command that runs its arguments where nobody can make a group, in a mount namespace of its own."""
    around = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", READ_ONLY, "sh"]
    done = subprocess.run([*around, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs root, to remount the cgroup file systems read-only in a namespace: {done.stderr.strip()}")
    return around


def test_where_no_group_can_be_made_auto_says_why_and_what_would_help(where_cgroups_are_read_only: list[str]) -> None:
    script = (
        "from nanonap.lab.quota.choose import choose; from nanonap.lab.quota.limits import Limits, parse_quota\n"
        "choice = choose(); print(choice.backend.name, choice.refusal(Limits(parse_quota('50%'))))"
    )
    command = [*where_cgroups_are_read_only, sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.startswith("none ")
    assert "Read-only file system" in done.stdout
    assert "remount" in done.stdout
