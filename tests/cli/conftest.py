"""Fixtures of the front door's tests: the command line as a user runs it, in a checkout and installed."""

from pathlib import Path

import pytest

from tests.cli.installed import Installed, build_wheel, install
from tests.patcher.conftest import invoke, program, sleepbench

__all__ = ["invoke", "program", "sleepbench"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The command without the lab."""
    return install(wheel, tmp_path_factory.mktemp("core"))
