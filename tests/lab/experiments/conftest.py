"""The setting of a quick experiment on this machine."""

from pathlib import Path

import pytest

from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.base import Backend
from tests.conftest import BuildProgram


@pytest.fixture
def setting(backend: Backend, build_program: BuildProgram, tmp_path: Path) -> Setting:
    return Setting(True, backend, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)


@pytest.fixture
def patched(tmp_path: Path, build_program: BuildProgram) -> Path:
    """The measured program with the strategy netpoll and a slack of 1 ns."""
    import patcher

    target = tmp_path / "sleepbench.netpoll+slack1"
    patcher.patch(build_program("sleepbench"), target, "netpoll", slack_ns=1)
    return target
