"""Docker by systemd on cgroup v2 for real: DockerBackend, as users get it, in a guest of its own kind.

All that is claimed of this environment is tried by the experiment ``engines`` there, in a quarter of an hour.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from nanonap.lab.experiments.engines.experiment import ARMS
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.kit.copies import patched_copies
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.backend import GuestDockerBackend
from nanonap.lab.plan.conditions import Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.run.runner import measure
from tests.conftest import BuildProgram
from tests.lab.guest.inside import KINDS, run

HALF = Limits(parse_quota("50%"))


#: The image is the largest, and every boot of it starts systemd and Docker.
pytestmark = pytest.mark.campaign


@pytest.fixture
def setting(docker_guest: GuestDockerBackend, build_program: BuildProgram, tmp_path: Path) -> Setting:
    return Setting(True, docker_guest, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)


def containers(guest: GuestDockerBackend) -> list[str]:
    return run(guest, "docker", "ps", "--all", "--format={{.Names}}").stdout.split()


def test_the_engine_makes_its_groups_by_systemd_on_cgroup_v2(docker_guest: GuestDockerBackend) -> None:
    told = json.loads(run(docker_guest, "docker", "info", "--format={{json .}}").stdout)
    assert (told["CgroupDriver"], told["CgroupVersion"], told["Driver"]) == ("systemd", "2", "overlay2")
    assert any("seccomp" in each for each in told["SecurityOptions"])
    assert run(docker_guest, "cat", "/proc/1/comm").stdout == "systemd\n"
    assert run(docker_guest, "systemctl", "--failed", "--quiet", "--no-legend").stdout == ""


def test_the_kernel_says_the_limits_that_were_asked_for(docker_guest: GuestDockerBackend) -> None:
    with docker_guest.open(KINDS["all"]) as group:  # making a container takes half a minute there
        assert KINDS["all"].kept_by(group.effective)
        folder = Path(group.place.cpu_stat or "").parent
        assert folder.parent.name == "system.slice"
        assert folder.name.startswith("docker-") and folder.name.endswith(".scope")
    assert containers(docker_guest) == []


def test_burst_is_refused_since_docker_has_no_option_for_it(docker_guest: GuestDockerBackend) -> None:
    with pytest.raises(QuotaUnavailable, match="docker has no option for burst") as caught:
        docker_guest.open(Limits(parse_quota("50%+burst=50ms")))
    assert "cgroup2" in caught.value.remedy


def test_the_command_keeps_its_arguments_variables_outputs_and_end(
    docker_guest: GuestDockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOTHERE", "x y")
    show = "import sys, os; os.write(1, bytes(range(256))); print(sys.argv[1:], os.environ['GOTHERE'], file=sys.stderr)"
    arguments = ["a b", "$HOME", "'; exit 1; '", "*"]
    with docker_guest.open(Limits()) as group:
        argv = group.command(["python3", "-c", f"{show}; sys.exit(3)", *arguments])
        done = subprocess.run(argv, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (3, bytes(range(256)))
        assert done.stderr.decode() == f"{arguments} x y\n"
        monkeypatch.delenv("GOTHERE")
        assert b"KeyError" in subprocess.run(argv, capture_output=True, check=False).stderr
    assert "GOTHERE" not in os.environ


def test_stock_and_patched_programs_are_measured_in_containers(
    docker_guest: GuestDockerBackend, setting: Setting
) -> None:
    with patched_copies(setting, ARMS) as arms:
        for arm in arms.values():
            condition = Condition(HALF.quota, parse_load("burn:1"))
            measured = measure(Run(0, arm, condition, ((1_000_000, 1000),), 1_000_000_000, 7), 2, docker_guest, Stop())
            requested, actual, _, _ = measured.output.samples
            assert (actual >= requested).all()
            assert measured.effective.quota == HALF.quota
            assert measured.throttling is not None
            assert measured.throttling.nr_throttled > 0
    assert containers(docker_guest) == []
