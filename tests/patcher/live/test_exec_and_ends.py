"""The target execs, or the agent ends, at the worst moment: nobody waits for another for ever, and nothing is done."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from patcher.live import agent, ptrace
from patcher.live.agent import Done, Request
from patcher.live.planning import plan
from patcher.live.process import entry_of, target_of
from patcher.live.script import Script
from patcher.live.stopping import thread_ids
from patcher.wait import PRECISE
from tests.conftest import BuildProgram
from tests.patcher.live.targets import Codes, running
from tests.patience import wait_until

_EXECS = """
import os, sys, threading, time
threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
print("ready", flush=True)
sys.stdin.readline()
os.execv("/bin/sleep", ["sleep", "1000"])
"""
_SCRIPT = Script("", 0, False, [], [], [], {}, [], 0)


@pytest.fixture(autouse=True)
def _ends_are_heard() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])


def test_an_exec_that_waits_for_a_thread_we_hold_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    target = subprocess.Popen([sys.executable, "-c", _EXECS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert target.stdout is not None
    assert target.stdin is not None
    assert target.stdout.readline() == "ready\n"
    (other,) = (tid for tid in thread_ids(target.pid) if tid != target.pid)
    attempt, stdin = agent.attempt, target.stdin

    def in_the_midst_of_an_exec(request: Request, limit_s: float) -> Done:
        ptrace.seize(other)
        stdin.write("\n")
        stdin.flush()
        wait_until(lambda: "State:\tZ" in Path(f"/proc/{target.pid}/task/{other}/status").read_text())
        return attempt(request, limit_s)

    monkeypatch.setattr(agent, "attempt", in_the_midst_of_an_exec)
    monkeypatch.setattr(agent, "_LATE_S", 10_000)
    try:
        answer = agent._in_a_fork(Request(target.pid, target_of(target.pid).started, _SCRIPT, ""), 1)
        assert "killed" in answer["doubt"]
        wait_until(lambda: Path(f"/proc/{target.pid}/exe").resolve().name != Path(sys.executable).resolve().name)
    finally:
        target.kill()
        target.communicate()


def test_a_program_that_is_begun_while_its_memory_is_opened_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try sees the new one whole."""
    alone = _EXECS.replace("threading.Thread", "_ = lambda **_: None\n# ")
    target = subprocess.Popen([sys.executable, "-c", alone], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert target.stdout is not None
    assert target.stdin is not None
    assert target.stdout.readline() == "ready\n"
    entry, stdin, program, calls = entry_of(target.pid), target.stdin, Path(f"/proc/{target.pid}/exe"), []
    with Path(f"/proc/{target.pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(entry)
        script = replace(_SCRIPT, entry=entry, checks=[(entry, memory.read(64))])

    def execs(pid: int) -> int:
        calls.append(pid)
        if len(calls) == 2:  # the first is the rehearsal's
            stdin.write("\n")
            stdin.flush()
            wait_until(lambda: program.resolve().name == Path("/bin/sleep").resolve().name)
        return entry

    request = Request(target.pid, target_of(target.pid).started, script, "", dry_run=True)
    try:
        assert agent._in_a_fork(request, 1)["done"]["threads"] == 1
        monkeypatch.setattr(agent, "entry_of", execs)
        assert "began another program" in agent._in_a_fork(request, 1)["doubt"]
        monkeypatch.undo()
        assert agent._in_a_fork(request, 1)["error"] == "ProcessChanged"
    finally:
        target.kill()
        target.communicate()


def test_a_try_whose_agent_was_killed_as_it_began_does_nothing(build_program: BuildProgram) -> None:
    path = build_program("survive")
    with running(path, "-mode", "wait", "-sleepers", "5", "-for", "1000s") as target:
        request = Request(target.pid, target_of(target.pid).started, plan(target.pid, "inject", PRECISE), "")
        reading, writing = os.pipe()
        parent = os.fork()
        if not parent:
            fork = os.fork

            def killed_there() -> int:
                before = os.getpid()
                worker = fork()
                if worker:
                    os.kill(before, signal.SIGKILL)
                wait_until(lambda: os.getppid() != before)
                return worker

            os.fork = killed_there
            agent._in_a_fork(request, 1)
            os._exit(0)
        os.close(writing)
        os.waitpid(parent, 0)
        assert os.read(reading, 1) == b""  # the try has ended, too
        os.close(reading)
        codes = Codes.of(path)
        assert codes.in_memory(target) == codes.spot.stock
