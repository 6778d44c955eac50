"""systemd for real: SystemdBackend, as users get it, by requests to a guest that systemd runs."""

import subprocess

import pytest

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.backend import GuestSystemdBackend
from nanonap.lab.quota.limits import Limits, parse_quota
from tests.lab.guest.inside import KINDS, burn, groups, run
from tests.patience import PATIENCE_S

HALF = Limits(parse_quota("50%"))


def test_systemd_is_process_1(systemd_guest: GuestSystemdBackend) -> None:
    assert run(systemd_guest, "cat", "/proc/1/comm").stdout == "systemd\n"
    assert run(systemd_guest, "systemctl", "--failed", "--quiet", "--no-legend").stdout == ""


@pytest.mark.parametrize("name", KINDS)
def test_the_kernel_says_the_limits_that_were_asked_for(systemd_guest: GuestSystemdBackend, name: str) -> None:
    with systemd_guest.open(KINDS[name]) as group:
        assert KINDS[name].kept_by(group.effective)


def test_burst_is_refused_since_systemd_has_no_property_for_it(systemd_guest: GuestSystemdBackend) -> None:
    with pytest.raises(QuotaUnavailable, match="burst") as caught:
        systemd_guest.open(Limits(parse_quota("50%+burst=50ms")))
    assert "cgroup2" in caught.value.remedy


def test_a_burner_is_throttled_and_counted(systemd_guest: GuestSystemdBackend) -> None:
    with systemd_guest.open(HALF) as group:
        used = burn(group)
    assert used.nr_periods >= used.nr_throttled > 0
    assert used.throttled_ns > 0


def test_the_command_keeps_its_arguments_outputs_and_end(systemd_guest: GuestSystemdBackend) -> None:
    show = "import sys, os; os.write(1, bytes(range(256))); os.write(2, repr(sys.argv[1:]).encode()); sys.exit(3)"
    arguments = ["a b", "$HOME", "${HOME}", "%n", "'; exit 1; '", "*"]
    with systemd_guest.open(HALF) as group:
        done = subprocess.run(group.command(["python3", "-c", show, *arguments]), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, bytes(range(256)))
    assert done.stderr.decode() == repr(arguments)


def test_closed_groups_leave_no_unit_no_process_and_no_cgroup(systemd_guest: GuestSystemdBackend) -> None:
    with systemd_guest.open(HALF) as group:
        left = subprocess.Popen(group.command(["sh", "-c", "echo on; sleep 1234; true"]), stdout=subprocess.PIPE)
        assert left.stdout is not None
        assert left.stdout.readline() == b"on\n"
        assert groups(systemd_guest)
    assert left.wait(PATIENCE_S) != 0
    left.stdout.close()
    assert groups(systemd_guest) == []
    units = run(systemd_guest, "systemctl", "list-units", "--all", "--plain", "--no-legend", "nanonap*")
    assert [line for line in units.stdout.splitlines() if "nanonap-agent" not in line] == []
