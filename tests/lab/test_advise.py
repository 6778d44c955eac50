"""Advice on real processes, by real uprobes, and what is left of it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import patcher
from nanonap.base.paths import PROJECT
from nanonap.lab.advise.advice import COSTLY, LITTLE, WORTH
from nanonap.toolchain.wheels import DEFAULT_GO
from tests import warm
from tests.conftest import BuildProgram
from tests.lab.attribution.test_recording import WITHOUT_RIGHTS
from tests.lab.attribution.tracing import left, needs_tracing
from tests.patcher.live.targets import Running, running
from tests.patience import PATIENCE_S, wait_until
from tests.soon import soon

SHORT = ("-plan", "100us*1000000")
GAIN = (WORTH, COSTLY)


@pytest.fixture
def build_program(build_program: BuildProgram, tmp_path: Path) -> BuildProgram:
    """In a copy: another worker may have injected a process of the shared file, which then is not watched."""

    def own(program: str, go: str = DEFAULT_GO, mode: str = "default") -> Path:
        (tmp_path / "watched").mkdir()
        return Path(shutil.copy2(build_program(program, go, mode), tmp_path / "watched" / program))

    return own


@contextlib.contextmanager
def advising(*words: str | Path) -> Iterator[warm.Started]:
    """The command, which finds tracefs in a mount namespace of its own."""
    with warm.start([warm.INVOKE, "advise", *words]) as process:
        try:
            yield process
        finally:
            process.kill()


def done(*words: str | Path) -> tuple[int, str, str]:
    with advising(*words) as process:
        out, err = process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err


def advice(target: Running, length: str = "2s") -> dict[str, Any]:
    with advising(str(target.pid), "--for", length, "--json") as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert not is_left(process.pid), left()
    told: dict[str, Any] = json.loads(out)
    return told


def is_left(pid: int) -> bool:
    """Whether an instance or a probe of that process is there; other workers have theirs."""
    return any(f"nanonap{mark}{pid}{mark}" in left() for mark in "-_")


@pytest.mark.parametrize(
    "go", soon(["1.19.8", "1.21.13", "1.22.10", "1.23.9", "1.25.5", "1.26.6", "1.27.3"], 0, -1, long=())
)
def test_a_program_of_short_sleeps_is_told_what_it_asks_for_and_what_it_gets(
    build_program: BuildProgram, go: str
) -> None:
    needs_tracing()
    with running(build_program("sleepbench", go), *SHORT) as target:
        told = advice(target)
        assert target.process.poll() is None
        assert told["timers_seen"] and told["verdict"] in GAIN, told
        assert told["short"] > 0.9 and told["asked_ns"][1] < 100_000  # what is left of 100 µs when it waits
        assert told["added_ns"][0] == pytest.approx(1_000_000 - told["asked_ns"][1], rel=0.1)
        stock, precise, *_ = told["ways"]
        assert stock["late_p50_ns"] > precise["late_p50_ns"] and precise["wakes_per_s"] > stock["wakes_per_s"]


@pytest.mark.long
def test_a_wait_that_was_inlined_is_seen_as_well(build_program: BuildProgram) -> None:
    needs_tracing()
    with running(build_program("sleepbench", mode="pgo"), *SHORT) as target:
        told = advice(target)
        assert told["short"] > 0.9 and told["timed_per_s"] > 10, told


def test_a_program_that_waits_for_events_alone_has_little_to_gain(build_program: BuildProgram) -> None:
    needs_tracing()
    with running(build_program("sleepbench"), "-plan", "1000s*1", "-warmup", "0") as target:
        told = advice(target, "1s")
        assert told["verdict"] == LITTLE and "events" in told["sentence"], told


@pytest.mark.long
def test_an_injected_process_is_refused(build_program: BuildProgram) -> None:
    with running(build_program("sleepbench"), *SHORT) as target:
        patcher.inject(target.pid)
        status, _, err = done(str(target.pid), "--for", "1s")
        assert (status, err.count("\n")) == (9, 1) and "eject" in err
        patcher.eject(target.pid)


def test_what_is_seen_of_a_process_that_ends_is_told_at_once(build_program: BuildProgram) -> None:
    """Even while nobody has waited for it: it is a zombie, whose clock can still be read."""
    needs_tracing()
    with running(build_program("sleepbench"), *SHORT) as target, advising(str(target.pid), "--for", "3600s") as process:
        wait_until(lambda: is_left(process.pid))
        time.sleep(2)  # for some of it to be seen; whatever is, is told
        os.kill(target.pid, signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0 or "ended before anything was seen" in err, (out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_watch_that_is_ended(build_program: BuildProgram, number: signal.Signals) -> None:
    needs_tracing()
    with running(build_program("sleepbench"), *SHORT) as target, advising(str(target.pid), "--for", "600s") as process:
        wait_until(lambda: is_left(process.pid))
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (130 if number == signal.SIGINT else -number), said
        wait_until(lambda: not is_left(process.pid), left)
        assert target.process.poll() is None


def test_a_command_is_run_watched_and_ended(build_program: BuildProgram, tmp_path: Path) -> None:
    needs_tracing()
    program = Path(shutil.copy2(build_program("sleepbench"), tmp_path / "own"))
    status, out, err = done("--for", "1s", "--json", "--", program, *SHORT)
    assert status == 0, err
    told = json.loads(out)
    assert told["verdict"] in GAIN and told["ways"][0]["name"] == "as it is"
    assert str(program) not in [each.program for each in patcher.running()]


def test_wrong_input_is_told_in_one_line() -> None:
    wrong = {
        (): 2,
        ("x",): 2,
        ("1", "--", "true"): 2,
        ("--", "/no/such"): 2,
        ("1", "--for", "1ns"): 2,
        ("4194304",): 60,
        ("--", "sh", "-c", "sleep 60"): 8,  # no Go program
    }
    for words, status in wrong.items():
        found, _, err = done(*words)
        assert found == status and err.count("\n") == 1, (words, found, err)


def test_without_privilege_the_system_calls_are_looked_at(build_program: BuildProgram) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv (apt-get install util-linux), to give up root's rights")
    around = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c", WITHOUT_RIGHTS, "sh"]
    program = str(build_program("sleepbench"))
    words = [sys.executable, "-m", "invoke", "advise", "--for", "1s", "--json", "--", program, *SHORT]
    ran = subprocess.run([*around, *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["verdict"] == "not measured" and "root" in told["reason"]
    assert told["looks"] >= told["timed"] >= told["one_ms"] > 0
