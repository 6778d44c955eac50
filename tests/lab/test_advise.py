"""Advice on real processes, by real uprobes, and what is left of it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import patcher
from nanonap.base.paths import PROJECT
from nanonap.lab.advise.advice import COSTLY, LITTLE, WORTH, Advice
from nanonap.lab.advise.asking import ask
from nanonap.lab.attribution.tracefs import find_tracefs
from tests.conftest import BuildProgram
from tests.lab.attribution.test_recording import WITHOUT_RIGHTS
from tests.patcher.live.targets import running
from tests.patience import wait_until
from tests.soon import soon

SHORT = ("-plan", "100us*1000000")


def nothing(_: float) -> None:
    """No progress is shown."""


def left() -> str:
    """What stands in the kernel of probes like these."""
    root = find_tracefs()
    return (root / "uprobe_events").read_text() + "".join(each.name for each in (root / "instances").iterdir())


@pytest.mark.parametrize("go", soon(["1.19.8", "1.21.13", "1.22.10", "1.23.9", "1.25.5", "1.26.6", "1.27.3"], 0, -1))
def test_a_program_of_short_sleeps_is_told_what_it_asks_for_and_what_it_gets(
    build_program: BuildProgram, go: str
) -> None:
    with running(build_program("sleepbench", go), *SHORT) as target:
        code = target.memory(0, 0)
        told = ask(target.pid, 2, nothing)
        assert target.process.poll() is None and target.memory(0, 0) == code
        assert isinstance(told, Advice) and told.timers_seen and told.verdict in (WORTH, COSTLY), told
        assert told.short > 0.9 and 20_000 < told.asked_ns[1] < 100_000  # what is left of 100 µs when it waits
        assert told.added_ns[0] == pytest.approx(1_000_000 - told.asked_ns[1], rel=0.05)
        stock, precise, *_ = told.ways
        assert stock.late_p50_ns > 800_000 > precise.late_p50_ns and precise.wakes_per_s > stock.wakes_per_s
    wait_until(lambda: "nanonap" not in left(), left)


@pytest.mark.long
def test_a_wait_that_was_inlined_is_seen_as_well(build_program: BuildProgram) -> None:
    with running(build_program("sleepbench", mode="pgo"), *SHORT) as target:
        told = ask(target.pid, 2, nothing)
        assert isinstance(told, Advice) and told.short > 0.9 and told.timed_per_s > 10, told


def test_a_program_that_waits_for_events_alone_has_little_to_gain(build_program: BuildProgram) -> None:
    with running(build_program("sleepbench"), "-plan", "1000s*1", "-warmup", "0") as target:
        told = ask(target.pid, 1, nothing)
        assert isinstance(told, Advice) and told.verdict == LITTLE and "events" in told.sentence, told


def test_an_injected_process_is_refused(build_program: BuildProgram) -> None:
    with running(build_program("sleepbench"), *SHORT) as target:
        patcher.inject(target.pid)
        with pytest.raises(patcher.AlreadyPatched, match="eject"):
            ask(target.pid, 1, nothing)
        patcher.eject(target.pid)


def test_a_process_that_ends_meanwhile_is_told_of_by_what_was_seen(build_program: BuildProgram) -> None:
    with running(build_program("sleepbench"), *SHORT) as target:

        def end(gone_s: float) -> None:
            if gone_s > 1:
                target.process.kill()

        told = ask(target.pid, 60, end)
        assert isinstance(told, Advice) and told.timed_per_s > 10
    with pytest.raises(patcher.NoSuchProcess):
        ask(target.pid, 1, nothing)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-m", "invoke", "advise", *words)
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_a_command_is_run_watched_and_ended(build_program: BuildProgram) -> None:
    program = build_program("sleepbench")
    done = command("--for", "1s", "--json", "--", str(program), *SHORT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] in (WORTH, COSTLY) and told["ways"][0]["name"] == "as it is"
    assert not [each for each in patcher.running() if each.program == str(program) and str(os.getpid()) in each.program]


def test_wrong_input_is_told_in_one_line() -> None:
    for words, status in (((), 2), (("x",), 2), (("1", "--", "true"), 2), (("--", "/no/such"), 2), (("4194304",), 60)):
        done = command(*words)
        assert done.returncode == status and done.stderr.count("\n") == 1, (words, done)


def test_without_privilege_the_system_calls_are_looked_at(build_program: BuildProgram) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv (apt-get install util-linux), to give up root's rights")
    around = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c", WITHOUT_RIGHTS, "sh"]
    program = str(build_program("sleepbench"))
    words = [sys.executable, "-m", "invoke", "advise", "--for", "1s", "--json", "--", program, *SHORT]
    done = subprocess.run([*around, *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "not measured" and "root" in told["reason"]
    assert told["looks"] >= told["timed"] >= told["one_ms"] > 0
