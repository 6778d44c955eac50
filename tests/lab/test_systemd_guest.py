"""The systemd backends, inside a guest that a real systemd runs; and what a machine without it is told."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.backend import GuestSystemdBackend, client
from nanonap.lab.quota.limits import Limits, Quota
from nanonap.lab.quota.manager import properties, quota_properties, slice_name
from nanonap.lab.quota.systemd import SystemdBackend, SystemdUserBackend

INSIDE = Path(__file__).parent / "systemd_inside.py"
AS_USER = ["setpriv", "--reuid=1000", "--regid=1000", "--init-groups"]
HIS_MANAGER = ["env", "XDG_RUNTIME_DIR=/run/user/1000"]
NOT_DELEGATED = "[Service]\nDelegate=\nDelegate=pids memory\n"


class Guest:
    """A booted guest in which commands run as root."""

    def __init__(self, backend: GuestSystemdBackend) -> None:
        self._client = [*client(backend.machine), "0", "--"]

    def run(self, *argv: str) -> str:
        done = subprocess.run([*self._client, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answer(self, function: str, name: str, *around: str) -> Any:
        """What a function of systemd_inside.py says about a backend, as root or in the command ``around``."""
        return json.loads(self.run(*around, str(INSIDE), function, name))


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    backend = GuestSystemdBackend()
    try:
        backend.prepare()
    except QuotaUnavailable as refusal:
        pytest.skip(f"needs a guest: {refusal}")
    booted = Guest(backend)
    try:
        booted.run("systemctl", "start", "user@1000.service")
        yield booted
    finally:
        backend.close()


Ask = Callable[[str], Any]


@pytest.fixture
def ask_root(guest: Guest) -> Ask:
    """Asks the system's manager alone, for what does not depend on whose it is."""
    return lambda function: guest.answer(function, "systemd")


@pytest.fixture(params=["systemd", "systemd-user"])
def ask(request: pytest.FixtureRequest, guest: Guest) -> Ask:
    """Asks the backend: root the system's manager, the user his own."""
    around = [] if request.param == "systemd" else [*AS_USER, *HIS_MANAGER]
    return lambda function: guest.answer(function, request.param, *around)


def test_the_cgroup_says_the_limits_that_were_asked_for(ask: Ask) -> None:
    told = ask("reads_back")
    assert len(told) == 5
    assert all(asked == effective for asked, effective in told.items()), told


def test_a_command_runs_in_the_slice_and_is_throttled_and_counted(ask: Ask) -> None:
    told = ask("runs")
    assert told["inside"]
    assert told["used"]["nr_periods"] >= told["used"]["nr_throttled"] > 0
    assert told["used"]["throttled_ns"] > 0
    assert told["used"]["usage_ns"] > 0
    assert told["out"] == "a\r\n\0a b|$HOME|%n||-x|"
    assert told["status"] == [77, -signal.SIGSEGV]


def test_the_quota_of_an_open_group_can_be_changed_and_leaves_no_file(ask_root: Ask) -> None:
    told = ask_root("changes")
    assert told["told"] == ["10%/20ms, cpu.weight 300", "none, cpu.weight 300", "70%, cpu.weight 300"]
    assert "no property for burst" in told["refusal"]
    assert told["left"] == []


def test_what_cannot_be_set_is_refused_and_leaves_nothing(ask_root: Ask) -> None:
    told = ask_root("refuses")
    burst, too_much = told["said"]
    assert re.search("systemd has no property for burst; use --backend cgroup2", burst)
    assert re.search("asked for .*, the slice's cgroup says", too_much)
    assert told["left"] == []


def test_a_closed_group_is_gone_with_all_that_ran_in_it_however_stubborn(ask: Ask) -> None:
    told = ask("ends")
    assert told["status"] == -signal.SIGKILL
    assert told["left"] == []
    assert "cannot be read" in told["after"]


def test_cgroup2_works_in_a_delegated_scope_and_puts_its_processes_back(ask: Ask) -> None:
    told = ask("delegated")
    # The system's manager marks what it delegates; without a mark nothing is moved, the slice around is used.
    assert told.pop("parent") == told.pop("moved") == told.pop("marked")
    assert told == {
        **{"type": "domain", "status": 124, "throttled": True},
        **{"back": True, "left": [], "given": ""},
    }


def test_cgroup2_killed_in_a_delegated_scope_kills_nothing_else_there_and_leaves_no_group(ask: Ask) -> None:
    assert ask("delegated_killed") == {"left": [], "back": True}


def test_a_second_close_is_nothing_and_a_slice_that_ended_is_said_to_have_no_path(ask_root: Ask) -> None:
    assert "without a path" in ask_root("no_path")


def test_slices_of_dead_processes_are_stopped_and_others_kept(ask_root: Ask) -> None:
    told = ask_root("stale")
    assert sorted(told["before"]) == ["alive", "dead", "nobody"]
    assert sorted(told["after"]) == ["alive", "nobody"]


def test_a_bench_killed_by_sigkill_leaves_no_slice(ask: Ask) -> None:
    assert ask("killed") == {"before": 1, "left": [], "lives": False}


def test_a_user_is_told_who_may_use_the_system_manager_and_how_to_have_his_own(guest: Guest) -> None:
    assert "run as root, or use --backend systemd-user" in guest.answer("works", "systemd", *AS_USER)
    nowhere = guest.answer("works", "systemd-user", *AS_USER, "env", "-u", "XDG_RUNTIME_DIR")
    assert "XDG_RUNTIME_DIR is not set" in nowhere
    assert "loginctl enable-linger 1000" in nowhere


def test_a_user_whose_manager_lacks_the_controller_is_told_how_it_is_delegated(guest: Guest) -> None:
    folder = "/run/systemd/system/user@65534.service.d"
    write = f'mkdir -p {folder} && printf %s "$1" > {folder}/test.conf && systemctl daemon-reload'
    guest.run("sh", "-c", f"{write} && systemctl start user@65534.service", "sh", NOT_DELEGATED)
    around = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "XDG_RUNTIME_DIR=/run/user/65534"]
    told = guest.answer("works", "systemd-user", *around)
    assert "the cpu controller is not there" in told
    assert "Delegate=cpu" in told


def test_the_probe_of_a_backend_finds_it_working(ask: Ask) -> None:
    assert ask("works") in ("systemd", "systemd-user")


@pytest.mark.parametrize("kind", [SystemdBackend, SystemdUserBackend])
def test_a_machine_without_systemd_is_told_so(kind: type[SystemdBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("needs a machine that was not booted with systemd")
    with pytest.raises(QuotaUnavailable, match=r"not booted with systemd; use --backend .*guest-systemd"):
        kind().prepare()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(QuotaUnavailable, match=r"no systemd-run, no systemctl, no busctl command.*install systemd"):
        kind().prepare()


@pytest.mark.parametrize(
    ("quota_us", "period_us"),
    [(50_000, 100_000), (1_001, 3_000), (2_000, 7_000), (333_333, 999_999), (1_000, 1_000_000), (7_001, 1_237)],
)
def test_systemds_own_arithmetic_gives_exactly_the_quota(quota_us: int, period_us: int) -> None:
    quota = Quota(quota_us * 1_000, period_us * 1_000)
    given = {name: int(value) for name, _, value in quota_properties(quota)}
    # cgroup_cpu_adjust_period and cgroup_apply_unified_cpu_quota in systemd's src/core/cgroup.c
    given_us = given["CPUQuotaPerSecUSec"] * given["CPUQuotaPeriodUSec"] // 1_000_000
    assert (given_us, given["CPUQuotaPeriodUSec"]) == (quota_us, period_us)


def test_only_what_is_asked_for_becomes_a_property() -> None:
    assert properties(Limits()) == []
    assert properties(Limits(weight=7, memory_bytes=4096)) == [("CPUWeight", "t", "7"), ("MemoryMax", "t", "4096")]
    assert quota_properties(Quota()) == [("CPUQuotaPerSecUSec", "t", str(2**64 - 1))]


def test_a_slice_is_at_the_top_whatever_its_name() -> None:
    assert slice_name("nanonap-12-345-6") == "nanonap_12_345_6.slice"
