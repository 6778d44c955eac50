"""What stands in the way while a process is held is told by its own error, and the process runs on as it did."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import patcher
from nanonap.base.processes import started
from patcher.live import slack
from patcher.live.agent import Done, Request
from patcher.live.calling import call
from patcher.live.errors import AgentFailed, CannotStop, NotWritable, ProcessChanged
from patcher.live.planning import plan
from patcher.live.script import Script
from patcher.wait import PRECISE
from tests.patcher.live.awkward import awkward, build_awkward, children
from tests.patience import wait_until


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_awkward(tmp_path_factory.mktemp("awkward") / "built")


@pytest.fixture(scope="module")
def script(program: Path) -> Script:
    """What is planned for a process of the program: the same for each, since all have the same memory."""
    with awkward(program, "plain") as process:
        return plan(process.pid, "inject", PRECISE)


def _inject(pid: int, script: Script, begun: int | None = None) -> Done:
    begun = begun or started(pid) or 0
    return call(Request(pid, begun, script, str(slack.record_of(pid, begun)), slack_ns=1))


def _untraced(pid: int) -> bool:
    return "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text()


def test_memory_that_may_not_be_written(program: Path, script: Script) -> None:
    """Of a shared mapping the kernel makes no copy for a tracer, as it makes none of any where it is told never to."""
    with awkward(program, "shared") as process:
        with pytest.raises(NotWritable, match="cannot be written"):
            _inject(process.pid, script)
        seen = patcher.status(process.pid)
        assert (seen.state, seen.slack_set, process.poll()) == ("stock", False, None)


def test_a_process_that_runs_another_program_by_now(program: Path, script: Script) -> None:
    """Its number and its start are what they were; of what was planned on, nothing is there."""
    with awkward(program, "exec", "/bin/sleep", "1000") as process:
        begun = started(process.pid)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: "sleep" in str(Path(f"/proc/{process.pid}/exe").readlink()))
        with pytest.raises(ProcessChanged, match="another program now"):
            _inject(process.pid, script, begun)
        assert process.poll() is None


def test_a_thread_that_waits_for_its_child_and_an_agent_that_is_killed(program: Path, script: Script) -> None:
    with awkward(program, "vfork") as process:
        wait_until(lambda: bool(children(process.pid)))
        with pytest.raises(CannotStop, match=r"tries to hold its threads failed.*nothing was changed"):
            _inject(process.pid, script)
        wait_until(lambda: _untraced(process.pid))
        with ThreadPoolExecutor(1) as pool:
            injecting = pool.submit(_inject, process.pid, script)
            wait_until(lambda: bool(_agents()))
            for each in _agents():
                os.kill(each, signal.SIGKILL)
            with pytest.raises(AgentFailed, match="ended early; it runs on, whole"):
                injecting.result()
        wait_until(lambda: _untraced(process.pid))
        assert patcher.status(process.pid).state == "stock"
        for each in children(process.pid):
            os.kill(each, signal.SIGKILL)
        assert _inject(process.pid, script).written == 1
        assert patcher.status(process.pid).state == "injected"
        assert process.poll() is None


def _agents() -> list[int]:
    """Those of this process's own."""
    return [each for each in children(os.getpid()) if b"patcher.live.agent" in _command(each)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
