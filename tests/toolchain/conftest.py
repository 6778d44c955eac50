"""Fixtures of the toolchain's and the Go programs' tests."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nanonap.toolchain.go import Toolchain, wheel_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from tests.conftest import BuildProgram

Column = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """What one run of sleepbench wrote: the header and the columns by name."""

    header: dict[str, Any]
    columns: dict[str, Column]

    def of_sleeper(self, name: str, sleeper: int) -> Column:
        chosen: Column = self.columns[name][self.columns["sleeper"] == sleeper]
        return chosen


def read_run(output: bytes) -> Run:
    """Take sleepbench's output apart; a byte too many or too few is an error."""
    line, _, body = output.partition(b"\n")
    header = json.loads(line)
    names = header["columns"]
    assert len(body) == 8 * header["n"] * len(names)
    table = np.frombuffer(body, dtype="<i8").reshape(len(names), header["n"])
    return Run(header, dict(zip(names, table, strict=True)))


@pytest.fixture(scope="session")
def sleepbench_path(build_program: BuildProgram) -> Path:
    return build_program("sleepbench")


@pytest.fixture
def sleepbench(sleepbench_path: Path) -> Callable[..., Run]:
    """Run sleepbench with these options and read what it wrote."""

    def run(*options: str) -> Run:
        answer = subprocess.run([sleepbench_path, *options], capture_output=True, check=True)
        assert answer.stderr == b""
        return read_run(answer.stdout)

    return run


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    return wheel_toolchain(DEFAULT_GO)


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """pip finds no package index: nothing listens on port 9, and no other place is left to look."""
    settings = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
    }
    with monkeypatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        yield
