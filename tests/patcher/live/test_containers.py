"""Processes in containers of real engines: found by the container's name, changed from the host, given back."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from patcher.live.choosing import chosen, of_container
from patcher.live.errors import NoSuchProcess
from tests.conftest import BuildProgram
from tests.lab import engines
from tests.patience import wait_until

IMAGE, NAME = "nanonap-live-test", "nanonap-live-service"


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The command of an engine of the tests' own, which this process's environment leads to."""
    with engines.reached(request.param) as command:
        yield command


@pytest.fixture
def service(engine: str, build_program: BuildProgram, tmp_path: Path) -> Iterator[str]:
    """The name of a container in which 20 goroutines sleep."""
    root = tmp_path / "root"
    root.mkdir()
    os.link(build_program("survive"), root / "survive")
    archive = subprocess.run(["tar", "-c", "-C", root, "."], check=True, capture_output=True).stdout
    _run(engine, "import", "-", IMAGE, given=archive)
    command = ["run", "--detach", "--network", "none", "--name", NAME]
    _run(engine, *command, IMAGE, "/survive", "-mode", "wait", "-sleepers", "20", "-for", "1h")
    try:
        yield NAME
    finally:
        _run(engine, "rm", "--force", NAME)


def _run(*command: str, given: bytes | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr)


def _states(name: str) -> list[str]:
    return [each.state for each in chosen(match=None, container=name)]


def test_a_container_is_injected_and_ejected_by_its_name(service: str) -> None:
    wait_until(lambda: _states(service) == ["stock"], lambda: _states(service))
    [status] = chosen(match=None, container=service)
    for change, left in ((patcher.inject, "injected"), (patcher.eject, "stock")):
        changed = change(status.pid)
        assert changed.after == left
        assert _states(service) == [left]


def test_a_container_that_is_not_there_is_told(engine: str) -> None:
    with pytest.raises(NoSuchProcess, match=engine) as told:
        of_container("nanonap-no-such-container")
    assert isinstance(told.value, NanonapError)
