"""Fixtures of the patcher's tests: real binaries read once, and the command line as a user runs it."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from tests import warm
from tests.conftest import BuildProgram
from tests.patience import PATIENCE_S
from tests.soon import soon
from tests.warm import INVOKE


@dataclass(frozen=True)
class Answer:
    """What a command ended with."""

    status: int
    out: str
    err: str


BUILDS = (
    (DEFAULT_GO, "default"),
    (DEFAULT_GO, "stripped"),
    (DEFAULT_GO, "pie"),
    (DEFAULT_GO, "external"),
    ("1.25.5", "default"),
    ("1.21.13", "default"),
)


@dataclass(frozen=True)
class Build:
    """The measured program, built by a release in a mode."""

    go: str
    mode: str
    path: Path
    functions: Functions


@pytest.fixture(scope="module", params=soon(BUILDS, 0, 2, long=(1, 3, -1)), ids="-".join)
def build(request: pytest.FixtureRequest, build_program: BuildProgram) -> Build:
    go, mode = request.param
    path = build_program("sleepbench", go, mode)
    return Build(go, mode, path, Functions(read_image(path)))


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


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    """Run a task from the project's root, as a user does. ``wrapper`` stands before the command."""

    def run(*words: str | Path, wrapper: tuple[str, ...] = ()) -> Answer:
        command = [*wrapper, INVOKE, *map(str, words)]
        if wrapper:
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        else:
            done = warm.run(command)
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
