"""Arms made of the real sleepbench, and a backend that can set a quota."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.quota.base import Backend
from bench.quota.choose import choose
from tests.bench.made import GO, Roots

STRATEGIES = {"usleep": None, "sleep": None, "netpoll": None, "netpoll+slack1": 1, "stock+slack1": 1}


@pytest.fixture
def roots(tmp_path: Path, build_program: Callable[..., Path]) -> Roots:
    """Every arm as a copy of the real, unpatched sleepbench: for the measuring side an arm is a file to run."""
    made = Roots(tmp_path / "build", tmp_path / "patched", tmp_path / "results")
    made.built.parent.mkdir(parents=True)
    shutil.copy(build_program("sleepbench", GO), made.built)
    folder = made.patched / GO / "default"
    folder.mkdir(parents=True)
    for name, slack_ns in STRATEGIES.items():
        shutil.copy(made.built, folder / f"sleepbench.{name}")
        strategy = "slack" if name == "stock+slack1" else name.removesuffix("+slack1")
        manifest = json.dumps({"strategy": strategy, "slack_ns": slack_ns, "schema": 1})
        (folder / f"sleepbench.{name}.patch.json").write_text(manifest)
    return made


@pytest.fixture
def backend() -> Backend:
    """A backend that can set a quota here. Where none can, the tests that need one say what is missing."""
    choice = choose()
    if not choice.limits:
        missing = " | ".join(f"{each.backend}: {each.reason}; {each.remedy}" for each in choice.refusals)
        pytest.skip(f"needs a cgroup whose CPU quota this user may set: {missing}")
    return choice.backend
