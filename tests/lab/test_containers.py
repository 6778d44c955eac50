"""Quotas by real container engines: set, read back, entered, counted, removed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.base.processes import identity
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.choose import working
from nanonap.lab.quota.docker import ContainerBackend, ContainerGroup, DockerBackend, PodmanBackend
from nanonap.lab.quota.engine import OWNER_LABEL
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.shares import linear_weight, quadratic_weight, shares_for
from nanonap.lab.run.runner import measure
from tests.lab import engines
from tests.lab.made import GO
from tests.patience import wait_until

KINDS: dict[str, type[ContainerBackend]] = {"docker": DockerBackend, "podman": PodmanBackend}
TENTH = Limits(parse_quota("10%"))
BURN = ["timeout", "0.5", "sh", "-c", "while :; do :; done"]


@pytest.fixture(scope="module", params=list(KINDS))
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The command of an engine that is reached by this process's environment."""
    with engines.reached(request.param) as command:
        yield command


@pytest.fixture
def containers(engine: str) -> ContainerBackend:
    backend = KINDS[engine]()
    backend.prepare()
    return backend


@pytest.fixture
def docker_command(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("docker") is None:
        pytest.skip("needs docker: apt-get install --no-install-recommends docker.io")
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)


@pytest.mark.parametrize("text", ["50%", "20%/10ms", "150%", "100%/1s"])
def test_the_cgroup_says_the_quota_that_was_asked_for(containers: ContainerBackend, text: str) -> None:
    with containers.open(Limits(parse_quota(text))) as group:
        assert group.effective.quota == parse_quota(text)


def test_weight_and_memory_are_set_and_read_back(containers: ContainerBackend) -> None:
    asked = Limits(parse_quota("50%"), weight=200, memory_bytes=64 << 20)
    with containers.open(asked) as group:
        assert group.effective == asked


def test_without_limits_there_is_a_container_too_and_nothing_is_set(containers: ContainerBackend) -> None:
    assert containers.elsewhere
    with containers.open(Limits()) as group:
        assert not group.effective.quota.limited
        assert group.effective.memory_bytes is None
        assert isinstance(group, ContainerGroup)
        assert group.name in engines.containers(containers.name)


def test_a_burner_in_the_container_is_throttled_and_counted(containers: ContainerBackend) -> None:
    with containers.open(TENTH) as group:
        before = group.counters()
        subprocess.run(group.command(BURN), check=False)
        after = group.counters()
        assert group.stat_files is not None
        assert "nr_throttled" in group.stat_files.cpu_stat.read_text()
    assert before is not None
    assert after is not None
    used = after.since(before)
    assert used.nr_periods >= used.nr_throttled > 0
    assert used.throttled_ns > 0
    assert used.usage_ns


def test_arguments_output_and_status_pass_unchanged(containers: ContainerBackend) -> None:
    octal = "".join(f"\\{byte:03o}" for byte in range(256))
    script = f"printf '{octal}'; printf '%s|' \"$@\" >&2; exit 77"
    arguments = ["a b", "$HOME", "'; exit 1; '", "*", "--", "-x", ""]
    with containers.open(Limits()) as group:
        done = subprocess.run(group.command(["sh", "-c", script, "sh", *arguments]), capture_output=True, check=False)
        killed = subprocess.run(group.command(["sh", "-c", "kill -SEGV $$"]), capture_output=True, check=False)
    assert done.stdout == bytes(range(256))
    assert done.stderr.decode() == "|".join(arguments) + "|"
    assert done.returncode == 77
    assert killed.returncode == 128 + signal.SIGSEGV


def test_a_program_from_elsewhere_is_there_under_its_own_path(containers: ContainerBackend, tmp_path: Path) -> None:
    program, link = tmp_path / "a program", tmp_path / "link"
    program.write_text('#!/bin/sh\necho "$0 $GOTHERE"; test ! -e /home && test -x /usr/bin/env\n')
    program.chmod(0o755)
    link.symlink_to(program)
    with containers.open(Limits()) as group, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOTHERE", "x y")
        for path in (program, link):
            for _ in range(2):
                done = subprocess.run(group.command([str(path)]), check=True, capture_output=True, text=True)
                assert done.stdout == f"{path} x y\n"


def test_sleepbench_under_quota_is_measured_in_it(
    containers: ContainerBackend, build_program: Callable[..., Path]
) -> None:
    arm = Arm("stock", build_program("sleepbench", GO), "sleep", None, None, GO, "")
    condition = Condition(TENTH.quota, parse_load("burn:1"))
    run = Run(0, arm, condition, ((1_000_000, 1000),), 400_000_000, seed=7)
    measured = measure(run, 2, containers, Stop())
    assert measured.effective.quota == TENTH.quota
    assert measured.throttling is not None
    assert measured.throttling.nr_throttled > 0
    assert measured.output.header.n == measured.output.samples.shape[1] > 0
    assert engines.containers(containers.name) == []


def test_a_probe_of_the_backend_finds_it_working(engine: str) -> None:
    assert working(engine).name == engine


def test_a_closed_group_is_gone_with_all_that_ran_in_it(containers: ContainerBackend) -> None:
    with containers.open(Limits()) as group:
        client = subprocess.Popen(group.command(["sh", "-c", "sleep 1000 & wait"]), stderr=subprocess.DEVNULL)
        assert group.stat_files is not None
        processes = group.stat_files.cpu_stat.parent / "cgroup.procs"
        wait_until(lambda: len(processes.read_text().split()) == 3)
        inside = [int(pid) for pid in processes.read_text().split()]
        # A client that is killed does not end what it started.
        client.kill()
        client.wait()
    assert engines.containers(containers.name) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)
    group.close()
    with pytest.raises(QuotaUnavailable, match=r"counters cannot be read"):
        group.counters()


OPEN_AND_WAIT = """
import json, sys, time
from nanonap.lab.quota.choose import make_backend
from nanonap.lab.quota.limits import Limits
backend = make_backend(sys.argv[1])
backend.prepare()
group = backend.open(Limits())
print(group.name, flush=True)
time.sleep(1000)
"""


def test_a_bench_killed_by_sigkill_leaves_no_container(engine: str) -> None:
    command = [sys.executable, "-c", OPEN_AND_WAIT, engine]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as bench:
        assert bench.stdout is not None
        name = bench.stdout.readline().strip()
        assert name in engines.containers(engine)
        bench.kill()
    wait_until(lambda: name not in engines.containers(engine))


def test_containers_of_dead_owners_are_removed_and_others_kept(containers: ContainerBackend) -> None:
    dead = subprocess.Popen(["sleep", "100"])
    stale = f"nanonap-{identity(dead.pid)}-1"
    dead.kill()
    dead.wait()
    alive = subprocess.Popen(["sleep", "100"])
    kept = [f"nanonap-{identity(alive.pid)}-1", "nanonap-keep-me"]
    try:
        for name in (stale, *kept):
            options = [f"--name={name}", f"--label={OWNER_LABEL}={name}", "--network=none", "--pull=never"]
            image = containers.engine.make_image()
            containers.engine.must("making one", "create", *options, image, "/bin/true")
        type(containers)().prepare()
        assert sorted(engines.containers(containers.name)) == sorted(kept)
    finally:
        alive.kill()
        alive.wait()
        for name in (stale, *kept):
            containers.engine.remove(name)


def test_burst_is_refused_before_anything_is_started(containers: ContainerBackend) -> None:
    with pytest.raises(QuotaUnavailable, match=r"no option for burst.*cgroup2"):
        containers.open(Limits(parse_quota("50%+burst=10ms")))
    assert engines.containers(containers.name) == []


def test_what_the_engine_refuses_is_said_in_its_words_and_leaves_nothing(containers: ContainerBackend) -> None:
    # An image that is not there: the one refusal that both engines share.
    containers._image = "nanonap-missing:1"
    with pytest.raises(QuotaUnavailable, match=r"a container with 10% was refused.*nanonap-missing") as caught:
        containers.open(TENTH)
    assert "\n" not in str(caught.value)
    assert engines.containers(containers.name) == []


def test_a_limit_that_the_cgroup_does_not_keep_is_refused(containers: ContainerBackend) -> None:
    # Swap accounting aside, the kernel keeps whole pages: this is not one.
    with pytest.raises(QuotaUnavailable, match=r"asked for none, memory.max 67108865, the container's cgroup says"):
        containers.open(Limits(memory_bytes=(64 << 20) + 1))
    assert engines.containers(containers.name) == []


def test_a_daemon_that_is_not_there_is_said_with_what_starts_it(
    docker_command: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(QuotaUnavailable, match=r"Cannot connect.*systemctl start docker.*DOCKER_HOST"):
        DockerBackend().prepare()


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_command_that_is_not_there_is_said_with_what_installs_it(
    kind: type[ContainerBackend], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QuotaUnavailable, match=f"there is no {kind.name} command here; .*apt-get install"):
        kind().prepare()


def test_a_user_who_may_not_ask_the_daemon_is_told_of_the_group(docker_command: None) -> None:
    with engines.dockerd() as environment:
        socket = Path(environment["DOCKER_HOST"].removeprefix("unix://"))
        socket.parent.chmod(0o755)
        socket.chmod(0o600)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "docker", "ps"]
        done = subprocess.run(nobody, env=os.environ | environment, capture_output=True, text=True, check=False)
    refusal = DockerBackend.engine.refusal("listing containers", done.stderr)
    assert "permission denied" in refusal.reason
    assert "group docker" in refusal.remedy


def test_shares_are_those_that_give_the_weight() -> None:
    # Both conversions of 2000 shares: opencontainers/runc issue 4896.
    assert (linear_weight(2000), quadratic_weight(2000)) == (77, 170)
    assert (linear_weight(1024), quadratic_weight(1024)) == (39, 100)
    assert shares_for(100, 1) == [1024]
    for weight in (1, 2, 39, 100, 500, 9_999, 10_000):
        linear, quadratic = shares_for(weight, 2)
        assert linear_weight(linear) == quadratic_weight(quadratic) == weight
