"""Fixtures that every room's tests share: the Go programs, built once with the real toolchains."""

from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

from nanonap.paths import TRIED
from patcher import isolation
from toolchain.build import build
from toolchain.wheels import DEFAULT_GO


class BuildProgram(Protocol):
    """Build a program of gosrc/ (once; parallel workers share it) and give its file. Never write to that file."""

    def __call__(self, program: str, go: str = DEFAULT_GO, mode: str = "default") -> Path: ...


@pytest.fixture(scope="session")
def build_program() -> BuildProgram:
    @cache
    def built(program: str, go: str, mode: str) -> Path:
        return build(go, mode, programs=(program,), out=TRIED)[0].path

    def build_once(program: str, go: str = DEFAULT_GO, mode: str = "default") -> Path:
        return built(program, go, mode)

    return build_once


@pytest.fixture(scope="session", autouse=True)
def _fork_beside_the_runner() -> None:
    """A test worker's second thread only waits for its controller's words: forking beside it is safe, and quick.

    tests/patcher/test_isolation.py undoes this where threads are its matter.
    """
    isolation.forks_beside_threads = True
