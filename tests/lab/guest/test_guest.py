"""cgroup v2 for real: Cgroup2Backend, as users get it, in a booted guest; and what runs in there."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from nanonap.lab.experiments.kit.groups_above import GroupsAbove
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.agent import FILES
from nanonap.lab.guest.backend import GuestBackend
from nanonap.lab.guest.client import FAILED
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import QUIET, Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Limits, Quota, parse_quota
from nanonap.lab.run.runner import measure
from tests.conftest import BuildProgram
from tests.lab.guest.inside import BURN, KINDS, burn, groups, run, wait_until_no_groups
from tests.lab.made import GO
from tests.patience import PATIENCE_S, wait_until

# Emulated, a program's start alone takes long at less than this.
HALF = Limits(parse_quota("50%"))
MS = 1_000_000


@pytest.mark.parametrize("name", [*KINDS, "burst"])
def test_the_kernel_says_the_limits_that_were_asked_for(guest: GuestBackend, name: str) -> None:
    limits = {**KINDS, "burst": Limits(parse_quota("50%+burst=50ms"))}[name]
    with guest.open(limits) as group:
        assert limits.kept_by(group.effective)
        folder = Path(group.place.cpu_stat or "").parent
        kernel = run(guest, "head", "-v", *(f"{folder}/{name}" for name in ("cpu.max", "cpu.max.burst", "cpu.weight")))
    words = kernel.stdout.split()
    assert words[3:5] == [
        "max" if limits.quota.quota_ns is None else str(limits.quota.quota_ns // 1000),
        str(limits.quota.period_ns // 1000),
    ]
    assert words[8] == str(limits.quota.burst_ns // 1000)
    assert words[12] == str(limits.weight or 100)


@pytest.mark.parametrize(
    "quota",
    [
        Quota(MS - 1000, 100 * MS),
        Quota(MS, MS - 1000),
        Quota(MS, 1000 * MS + 1000),
        Quota(10 * MS, 100 * MS, 10 * MS + 1000),
        Quota(10**18, 100 * MS),
    ],
    ids=["quota below 1 ms", "period below 1 ms", "period above 1 s", "burst above quota", "more than fits"],
)
def test_what_the_kernel_refuses_is_said_with_a_remedy_and_leaves_nothing(guest: GuestBackend, quota: Quota) -> None:
    with pytest.raises(QuotaUnavailable, match="was refused") as caught:
        guest.open(Limits(quota))
    assert caught.value.remedy
    assert groups(guest) == []


def test_a_burner_is_throttled_and_counted_and_one_without_quota_is_not(guest: GuestBackend) -> None:
    with guest.open(HALF) as group:
        used = burn(group)
    assert used.nr_periods >= used.nr_throttled > 0
    assert used.throttled_ns > 0
    assert used.usage_ns
    with guest.open(Limits()) as group:
        used = burn(group)
    assert used.nr_throttled == used.throttled_ns == 0


TELL_ABOVE = (
    "import json; from dataclasses import asdict; from nanonap.lab.quota.above import above_process; "
    "print(json.dumps(asdict(above_process().told())))"
)


@pytest.mark.parametrize("around", [[], ["unshare", "--cgroup"]], ids=["as it is", "in a cgroup namespace"])
def test_a_process_in_a_limited_group_names_it_and_its_stops(guest: GuestBackend, around: list[str]) -> None:
    with guest.open(Limits(parse_quota("50%+burst=10ms"))) as group:
        argv = group.command([*around, "python3", "-c", f"{BURN}\n{TELL_ABOVE}"])
        above = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        folder = Path(group.place.cpu_stat or "").parent
    [found] = above["groups"]
    assert found["group"] == f"/{folder.relative_to('/sys/fs/cgroup')}"
    assert (found["version"], found["quota_ns"], found["burst_ns"]) == (2, 50_000_000, 10_000_000)
    assert found["nr_periods"] >= found["nr_throttled"] > 0
    assert found["throttled_ns"] > 0
    assert above["unseen"] is None


def test_the_root_of_a_namespace_shows_its_own_limit_and_that_there_is_more_above(guest: GuestBackend) -> None:
    fresh = "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/v2 && mount -t cgroup2 none /sys/fs/cgroup/v2"
    around = [
        "unshare",
        "--cgroup",
        "--mount",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        f'{fresh} && exec "$@"',
        "sh",
    ]
    with guest.open(HALF) as group:
        argv = group.command([*around, "python3", "-c", TELL_ABOVE])
        above = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    assert [(each["group"], each["quota_ns"]) for each in above["groups"]] == [("/", 50_000_000)]
    assert "the groups above /" in above["unseen"]


def test_burst_lends_time_that_was_left_over(guest: GuestBackend) -> None:
    # One CPU works 60 ms of 100 at most once, so that a later period has what an earlier one left.
    work = "import time\nfor _ in range(3):\n    time.sleep(0.35)\n    end = time.thread_time() + 0.06\n"
    work += "    while time.thread_time() < end: pass"
    with guest.open(Limits(parse_quota("40%+burst=40ms"))) as group:
        subprocess.run(group.command(["python3", "-c", work]), check=True)
        counters = group.counters()
    assert counters is not None
    assert counters.nr_bursts
    assert counters.burst_ns


def test_memory_above_its_limit_ends_the_program(guest: GuestBackend) -> None:
    with guest.open(Limits(memory_bytes=32 << 20)) as group:
        done = subprocess.run(group.command(["python3", "-c", "bytearray(100 << 20)"]), check=False)
        assert done.returncode == -signal.SIGKILL
        assert subprocess.run(group.command(["/bin/true"]), check=False).returncode == 0


def test_a_closed_group_is_gone_with_all_that_ran_in_it(guest: GuestBackend) -> None:
    with guest.open(HALF) as group:
        left = subprocess.Popen(
            group.command(["sh", "-c", "setsid sleep 1234 & echo on; wait"]), stdout=subprocess.PIPE
        )
        assert left.stdout is not None
        assert left.stdout.readline() == b"on\n"
    assert left.wait(PATIENCE_S) == -signal.SIGKILL
    left.stdout.close()
    assert groups(guest) == []
    assert "1234" not in run(guest, "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
    group.close()


def test_a_stale_group_of_a_dead_process_is_removed_at_the_next_start(guest: GuestBackend) -> None:
    namespace = run(guest, "stat", "-L", "-c", "%i", "/proc/self/ns/pid").stdout.strip()
    stale = f"/sys/fs/cgroup/nanonap-99999-{namespace}000000000001-1"  # as nanonap.base.processes.identity has it
    make = f"mkdir {stale}; setsid sleep 1000 & echo $! > {stale}/cgroup.procs"
    run(guest, "sh", "-c", f"({make}) > /dev/null 2>&1")
    assert groups(guest) == [stale]
    guest.prepare()
    assert groups(guest) == []


def test_the_watchdog_removes_the_group_of_a_killed_process(guest: GuestBackend) -> None:
    killed = """
import os, signal
from nanonap.lab.quota.cgroup2 import Cgroup2Backend
from nanonap.lab.quota.limits import Limits

backend = Cgroup2Backend()
backend.prepare()
print(backend.open(Limits()).folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(guest, "python3", "-c", killed)
    assert done.stdout.startswith("/sys/fs/cgroup/nanonap-")
    wait_until_no_groups(guest)


def test_controllers_that_were_given_are_taken_back(guest: GuestBackend) -> None:
    guest.open(Limits(memory_bytes=64 << 20)).close()
    control = "/sys/fs/cgroup/cgroup.subtree_control"
    assert set(run(guest, "cat", control).stdout.split()) == {"cpu", "memory"}
    guest.machine.ask({"do": "reset"})
    try:
        assert run(guest, "cat", control).stdout.split() == []
    finally:
        guest.prepare()


def test_the_command_keeps_its_arguments_outputs_and_end(guest: GuestBackend) -> None:
    show = "import sys, os; os.write(1, bytes(range(256))); os.write(2, repr(sys.argv[1:]).encode()); sys.exit(3)"
    arguments = ["a b", "$HOME", "'; exit 1; '", "*", "ä"]
    with guest.open(HALF) as group:
        done = subprocess.run(group.command(["python3", "-c", show, *arguments]), capture_output=True, check=False)
        assert done.returncode == 3
        assert done.stdout == bytes(range(256))
        assert done.stderr.decode() == repr(arguments)
        killed = subprocess.run(group.command(["sh", "-c", "kill -SEGV $$"]), check=False)
        assert killed.returncode == -signal.SIGSEGV
        missing = subprocess.run(group.command(["no-such-program"]), capture_output=True, text=True, check=False)
        assert missing.returncode == 127
        assert "no-such-program" in missing.stderr


def test_a_program_of_the_host_is_measured_inside_and_sent_in_once(
    guest: GuestBackend, build_program: BuildProgram
) -> None:
    arm = Arm("stock", build_program("sleepbench", GO), "sleep", "stock", None, GO, "")
    condition = Condition(HALF.quota, parse_load("burn:1"))
    planned = Run(0, arm, condition, ((1 * MS, 1000),), 400 * MS, seed=7)
    measured = measure(planned, 2, guest, Stop())
    requested, actual, _, _ = measured.output.samples
    assert (actual >= requested).all()
    assert measured.effective.quota == HALF.quota
    assert measured.throttling is not None
    assert measured.throttling.nr_throttled > 0
    before = run(guest, "stat", "-c", "%i %y", *_sent(guest)).stdout
    unlimited = measure(Run(0, arm, Condition(Quota(), QUIET), ((1 * MS, 5),), 0, seed=7), 2, guest, Stop())
    assert unlimited.throttling is not None  # in the guest all the same
    assert run(guest, "stat", "-c", "%i %y", *_sent(guest)).stdout == before


def _sent(guest: GuestBackend) -> list[str]:
    found = run(guest, "find", str(FILES), "-name", "sleepbench").stdout.split()
    assert len(found) == 1
    return found


def test_killing_the_client_ends_the_run_inside(guest: GuestBackend) -> None:
    with guest.open(HALF) as group:
        argv = group.command(["sh", "-c", "echo on; sleep 4321; true"])
        client = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
        assert client.stdout is not None
        assert client.stdout.readline() == b"on\n"
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
        client.stdout.close()
        folder = Path(group.place.cpu_stat or "").parent
        wait_until(lambda: run(guest, "cat", f"{folder}/cgroup.procs").stdout == "")


def test_facts_are_the_guests(guest: GuestBackend) -> None:
    facts = guest.facts()
    assert facts["kernel"] == run(guest, "uname", "-r").stdout.strip()
    assert facts["cgroup"] == "v2"
    assert facts["accelerator"] in {"tcg", "kvm"}
    assert (guest.mark is None) == (facts["accelerator"] == "kvm")
    assert json.dumps(facts)


def test_the_counters_above_a_group_are_the_guests(guest: GuestBackend) -> None:
    """What one reads who looks into the wrong cpu.stat; a guest's root has none of throttling."""
    above_groups = GroupsAbove(guest)
    above, top = above_groups.throttled_ns()
    assert isinstance(above, int)
    assert above_groups.since((above, top))[0] is not None


def test_functions_of_the_project_can_be_called_inside(guest: GuestBackend) -> None:
    assert guest.call("os:getcwd", Stop(), 60) == str(FILES.parent)
    with pytest.raises(RunFailed, match="FileNotFoundError"):
        guest.call("os:listdir", Stop(), 60, path="/no-such-folder")
    with pytest.raises(QuotaUnavailable, match="no cgroup v1 hierarchy") as caught:
        guest.call("nanonap.lab.quota.choose:choose", Stop(), 60, name="cgroup1")
    assert caught.value.backend == "guest"


def test_kprobes_of_throttling_can_be_set(guest: GuestBackend) -> None:
    probe = "cd /sys/kernel/tracing; echo p:nanonap/throttle throttle_cfs_rq >> kprobe_events && cat kprobe_events; "
    done = run(guest, "sh", "-c", probe + "echo -:nanonap/throttle >> kprobe_events")
    assert done.stdout.strip() == "p:nanonap/throttle throttle_cfs_rq"
    assert done.returncode == 0


def test_a_guest_that_is_gone_is_said_and_closing_its_groups_is_fine(guest: GuestBackend, tmp_path: Path) -> None:
    with guest.open(HALF) as group:
        argv = group.command(["/bin/true"])
        here = str(guest.machine.address)
        gone = [str(tmp_path / "agent") if word == here else word for word in argv]
        done = subprocess.run(gone, capture_output=True, text=True, check=False)
    assert done.returncode == FAILED
    assert "the guest ended" in done.stderr
