"""Arms made of the real sleepbench, and a backend that can set a quota."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.cgroup import CgroupGroup
from nanonap.lab.quota.choose import choose
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.toolchain.build import BENCHED
from tests import warm
from tests.lab.made import ENVIRONMENT, GO, SMALL, Bench, Roots, bench_command

STRATEGIES = {
    "usleep": None,
    "sleep": None,
    "netpoll": None,
    "netpoll+slack1": 1,
    "netpoll+slack1+quantum": 1,
    "netpoll+slack1+spin": 1,
    "stock+slack1": 1,
}


@pytest.fixture
def roots(tmp_path: Path, build_program: Callable[..., Path]) -> Roots:
    """Every arm as a copy of the real, unpatched sleepbench: for the measuring side an arm is a file to run."""
    made = Roots(tmp_path / "build", tmp_path / "patched", tmp_path / "results")
    made.built.parent.mkdir(parents=True)
    shutil.copy(build_program("sleepbench", GO), made.built)
    folder = made.patched / GO / "default"
    folder.mkdir(parents=True)
    for name, slack_ns in STRATEGIES.items():
        _patched(made.built, folder, name, slack_ns)
    for mode in BENCHED:
        rival = made.build / GO / mode / "sleepbench"
        rival.parent.mkdir()
        shutil.copy(made.built, rival)
        (made.patched / GO / mode).mkdir()
        _patched(rival, made.patched / GO / mode, "stock+slack1", 1)
    shutil.copy(build_program("slackexec", GO), made.built.with_name("slackexec"))
    return made


def _patched(built: Path, folder: Path, name: str, slack_ns: int | None) -> None:
    shutil.copy(built, folder / f"sleepbench.{name}")
    strategy = "slack" if name == "stock+slack1" else name.partition("+")[0]
    manifest = json.dumps({"strategy": strategy, "slack_ns": slack_ns, "schema": 1})
    (folder / f"sleepbench.{name}.patch.json").write_text(manifest)


@pytest.fixture
def bench(roots: Roots) -> Bench:
    """Run a bench to its end in a process of its own; ``around`` is a command to run it in."""

    def run(around: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        command = bench_command(roots, {**SMALL, **options})
        if not around:
            return warm.run(command[1:], env=ENVIRONMENT)
        return subprocess.run([*around, *command], capture_output=True, text=True, env=ENVIRONMENT, check=False)

    return run


@pytest.fixture
def limited(backend: Backend) -> Iterator[CgroupGroup]:
    """A group with a quota, as a container has one; with a weight, so that it uses it up on a busy machine too."""
    with backend.open(Limits(parse_quota("30%"), weight=10_000)) as group:
        assert isinstance(group, CgroupGroup)
        yield group


@pytest.fixture
def backend() -> Backend:
    """A backend that can set a quota here. Where none can, the tests that need one say what is missing."""
    choice = choose()
    if not choice.limits:
        missing = " | ".join(f"{each.backend}: {each.reason}; {each.remedy}" for each in choice.refusals)
        pytest.skip(f"needs a cgroup whose CPU quota this user may set: {missing}")
    return choice.backend
