"""`inject --for` takes out what it put in, whatever comes meanwhile."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import patcher
from patcher.live import ptrace
from tests import warm
from tests.conftest import BuildProgram
from tests.patcher.live.targets import Running, running
from tests.patience import wait_until

_SLEEPS = ("-mode", "wait", "-sleepers", "5", "-for", "1000s")


@pytest.fixture
def survive(build_program: BuildProgram) -> Path:
    return build_program("survive")


@contextlib.contextmanager
def injected_for_long(*words: str, until: str) -> Iterator[warm.Started]:
    with warm.start([warm.INVOKE, "inject", *words, "--for", "1000s"]) as process:
        wait_until(lambda: until in process.said()[0])
        yield process


def test_several_signals_at_once_take_it_out_all_the_same(survive: Path) -> None:
    """As where a terminal is closed in the midst of Ctrl-C."""
    with running(survive, *_SLEEPS) as target:
        with injected_for_long(str(target.pid), until="note") as process:
            for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
                process.send_signal(number)
        assert process.returncode == 130
        assert patcher.status(target.pid).state == "stock"


@contextlib.contextmanager
def traced(target: Running) -> Iterator[None]:
    tracer = os.fork()
    if not tracer:
        ptrace.seize(target.pid)
        signal.pause()
    try:
        wait_until(lambda: f"TracerPid:\t{tracer}\n" in Path(f"/proc/{target.pid}/status").read_text())
        yield
    finally:
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)


@pytest.mark.long
def test_one_that_is_kept_by_another_does_not_keep_the_rest(survive: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy2(survive, tmp_path / "survive"))  # no other test's process runs it
    with running(own, *_SLEEPS) as one, running(own, *_SLEEPS) as other:
        first, second = sorted((one, other), key=lambda each: each.pid)
        with injected_for_long("--match", f"^{own}$", until=f"{second.pid}  injected") as process, traced(first):
            process.send_signal(signal.SIGINT)
            assert "traced by process" in process.communicate()[1]
        assert process.returncode == 62
        assert patcher.status(first.pid).state == "injected"
        assert patcher.status(second.pid).state == "stock"
        assert patcher.eject(first.pid).after == "stock"
