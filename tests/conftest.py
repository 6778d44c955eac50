"""Fixtures that every room's tests share: the Go programs, built once with the real toolchains."""

import importlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

from nanonap.base.paths import TRIED
from nanonap.base.terminal import TYPED
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.image import check_host
from nanonap.lab.guest.kinds import JOBS
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher import isolation


class BuildProgram(Protocol):
    """Build a program of gosrc/ (once; parallel workers share it) and give its file. Never write to that file."""

    def __call__(self, program: str, go: str = DEFAULT_GO, mode: str = "default") -> Path: ...


# How long an example takes is the machine's matter.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

#: Fixtures that boot a machine or start a container engine: whoever asks for one is a long test.
_LONG = {"what_a_guest_needs", "what_an_arm64_guest_needs", "guest", "engine"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and not _LONG.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Each reason for a skip, which names what is missing and what gives it, and how many tests it took."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(each.longrepr[2] for each in skipped).most_common():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def build_program() -> BuildProgram:
    @cache
    def built(program: str, go: str, mode: str) -> Path:
        return build(go, mode, programs=(program,), out=TRIED)[0].path

    def build_once(program: str, go: str = DEFAULT_GO, mode: str = "default") -> Path:
        return built(program, go, mode)

    return build_once


@pytest.fixture(scope="session")
def what_an_arm64_guest_needs() -> None:
    """Skip where the host lacks it."""
    try:
        check_host("guest-arm64", JOBS)
    except QuotaUnavailable as missing:
        pytest.skip(f"needs a guest: {missing}")


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> None:
    """Here and in what is started, even where a shell had the tests ignore it, as it does for the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def hangup_is_heard() -> Iterator[None]:
    """Even under nohup; for one test alone, since the tests themselves are to live on there."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session", autouse=True)
def _as_if_invoke_was_typed() -> None:
    """However the tests were started."""
    os.environ.pop(TYPED, None)


@pytest.fixture(scope="session", autouse=True)
def _fork_beside_the_runner() -> None:
    """A test worker's second thread only waits for its controller's words: forking beside it is safe, and quick.

    tests/patcher/test_isolation.py undoes this where threads are its matter.
    """
    isolation.forks_beside_threads = True
    for library in ("lief", "capstone", "keystone", "unicorn"):  # once, and not in every child
        importlib.import_module(library)
