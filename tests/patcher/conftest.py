"""Fixtures of the patcher's tests: real binaries read once, and the command line as a user runs it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanonap.paths import PROJECT
from patcher.functions import Functions
from patcher.image import read_image
from tests.conftest import BuildProgram


@dataclass(frozen=True)
class Answer:
    """What a command ended with."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def sleepbench(build_program: BuildProgram) -> Path:
    return build_program("sleepbench")


@pytest.fixture(scope="session")
def functions(sleepbench: Path) -> Functions:
    return Functions(read_image(sleepbench))


@pytest.fixture
def program(sleepbench: Path, tmp_path: Path) -> Path:
    """A copy of sleepbench that a test may do anything to."""
    return Path(shutil.copy2(sleepbench, tmp_path / "program"))


Invoke = Callable[..., Answer]
INVOKE = str(Path(sys.executable).with_name("invoke"))


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    """Run a task from the project's root, as a user does. ``wrapper`` stands before the command."""

    def run(*words: str | Path, wrapper: tuple[str, ...] = ()) -> Answer:
        command = [*wrapper, INVOKE, *map(str, words)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
