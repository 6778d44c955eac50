"""Fixtures of the front door's tests: the command line as a user runs it, in a checkout and installed."""

import fcntl
from pathlib import Path

import pytest

from tests.cli.installed import Installed, build_wheel, install
from tests.patcher.conftest import invoke, program, sleepbench

__all__ = ["invoke", "program", "sleepbench"]


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The command without the lab. Parallel workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "installed"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            install(build_wheel(folder), folder)
    return Installed(folder / "venv")


@pytest.fixture(scope="session")
def wheel(core: Installed) -> Path:
    [wheel] = (core.venv.parent / "out").glob("*.whl")
    return wheel
