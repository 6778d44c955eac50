"""Arms that are changed while they run: before the first sleep that is kept, or not at all."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import patcher
from nanonap.base.errors import Interrupted, UsageError
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.hosts import Host
from nanonap.lab.ground.interrupt import Finished, Stop
from nanonap.lab.main import run_bench
from nanonap.lab.plan.arms import INJECTED, Arm
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run import syscalls
from nanonap.lab.run.live import change
from nanonap.lab.run.runner import measure
from nanonap.lab.store.runs import RunLine
from nanonap.lab.store.write import run_line
from tests.conftest import BuildProgram
from tests.lab.made import GO, Bench, Roots
from tests.patience import PATIENCE_S
from tests.toolchain.conftest import read_run


@pytest.fixture
def live(build_program: BuildProgram) -> Arm:
    return Arm("live+slack1", build_program("sleepbench"), "sleep", None, 1, GO, "", live=INJECTED)


def _run(arm: Arm) -> Run:
    return Run(0, arm, PRIMARY, ((100_000, 20),), 0, seed=7)


class _Looking(Stop):
    """Looks at the process when all was done to it, and it was not told to go on yet."""

    def run(self, argv: Sequence[str], timeout_s: float, meet: Callable[[str], Any] | None = None) -> Finished:
        def met(line: str) -> object:
            assert meet is not None
            done = meet(line)
            self.seen = patcher.status(int(line))
            return done

        return super().run(argv, timeout_s, met)


@pytest.mark.parametrize(("done", "state"), [(INJECTED, "injected"), ((*INJECTED, "eject"), "stock")])
def test_the_process_is_changed_before_it_is_measured_and_its_line_tells(
    live: Arm, done: tuple[str, ...], state: str
) -> None:
    stop = _Looking()
    measured = measure(_run(replace(live, live=done)), 2, NoBackend(), stop)
    assert (stop.seen.state, stop.seen.slack_ns == 1) == (state, state == "injected")
    # The program's own threads say it, too, those that were made later.
    assert (measured.output.header.timer_slack_ns == 1) == (state == "injected")
    written = msgspec.json.encode(run_line("00000", measured, NoBackend(), Host()))
    changes = msgspec.json.decode(written, type=RunLine).live
    assert changes is not None
    assert tuple(each.action for each in changes) == done
    assert [each.slack_ns for each in changes] == [1, None][: len(done)]
    assert all(each.pause_ns > 0 and each.threads > 1 for each in changes)


def test_the_measured_time_begins_when_the_word_is_given(live: Arm) -> None:
    with _held(live, "-trace-wakes", "-plan", "100us*20") as process:
        change(int(_said(process)), "inject")
        given_ns = time.monotonic_ns()
        output, _ = process.communicate(b"go\n", timeout=PATIENCE_S)
    run = read_run(output)
    assert run.header["window_start_ns"] > given_ns
    assert (run.header["n"], run.header["pid"]) == (20, process.pid)
    assert (run.columns["start_ns"] >= 0).all()


@pytest.mark.parametrize("word", [b"", b"no\n", b"go"])
def test_without_the_word_nothing_is_measured(live: Arm, word: bytes) -> None:
    with _held(live) as process:
        assert int(_said(process)) == process.pid
        output, said = process.communicate(word, timeout=PATIENCE_S)
    assert (process.returncode, output, said) == (1, b"", b"sleepbench: -hold: nobody said go\n")


def _held(arm: Arm, *options: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([arm.path, "-hold", *options], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)


def _said(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_counted_run_is_injected_too_and_one_that_is_traced_is_not_counted(live: Arm) -> None:
    counter = syscalls.find_counter()
    if counter is None:
        pytest.skip(f"nothing counts system calls here: {syscalls.REMEDY}")
    if counter.name == "strace":
        with pytest.raises(RunFailed, match=r"cannot be changed while it runs: .* traced"):
            syscalls.count(counter, _run(live), 2, Stop())
        return
    counts = [syscalls.count(counter, _run(arm), 2, Stop()).calls for arm in (replace(live, live=()), live)]
    assert counts[0]["epoll_pwait2"] == 0 < counts[1]["epoll_pwait2"]


@pytest.mark.parametrize("backend", ["docker", "podman", "guest"])
def test_where_this_host_has_no_hold_of_the_processes_it_is_refused_at_once(roots: Roots, backend: str) -> None:
    with pytest.raises(UsageError, match=rf"--arms live: not with backend {backend}.*--backend none, cgroup1"):
        run_bench("quick", "stock,live", backend=backend, build_root=roots.build, results=roots.results)
    assert not roots.results.exists()


def test_who_may_not_set_the_timer_slack_is_told_before_anything_is_measured(roots: Roots, bench: Bench) -> None:
    around = ("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice")
    if subprocess.run([*around, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to give a capability away, and setpriv: apt-get install util-linux")
    done = bench(around=around, arms="stock,live+slack1", quota="none", load="quiet")
    assert done.returncode == RunFailed.exit_code
    assert "arm live+slack1: it cannot be changed while it runs" in done.stderr
    assert "run as root, or with CAP_SYS_NICE" in done.stderr
    assert not roots.results.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("exit 0", "did not wait to be changed; build it again"),
        ("echo 'no such option' >&2; exit 2", "exit status 2; its stderr: no such option"),
        ("echo $$; read answer; echo measured", "cannot be changed while it runs: .*without Go build information"),
        ("echo what; read answer; echo measured", "cannot be changed while it runs: .*what"),
    ],
)
def test_a_program_that_cannot_be_changed_is_not_measured(live: Arm, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    with pytest.raises(RunFailed, match=told):
        measure(_run(replace(live, path=path)), 2, NoBackend(), Stop())


def test_who_is_interrupted_while_the_process_is_changed_is_interrupted(live: Arm) -> None:
    stop = Stop()

    def meet(line: str) -> None:
        stop._note(signal.SIGINT, None)
        change(int(line), "inject")

    with pytest.raises(Interrupted, match="SIGINT"):
        stop.run([str(live.path), "-hold"], PATIENCE_S, meet)
