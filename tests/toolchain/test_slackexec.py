"""slackexec gives a program less timer slack, in every thread, and fails as env(1) does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanonap.toolchain.releases import installed_releases
from nanonap.toolchain.wheels import DEFAULT_GO
from tests.conftest import BuildProgram
from tests.patcher.tracing import finished
from tests.soon import soon
from tests.toolchain.conftest import read_run

REFUSE = Path(__file__).parents[1] / "patcher" / "refuse.py"
PR_SET_TIMERSLACK = 29
# A thread's slack is in /proc/PID/timerslack_ns, where PID may be a thread's.
THREADS_SLACK = """
import os, pathlib, threading
done, started = threading.Event(), threading.Barrier(4)
def wait(): started.wait(); done.wait()
for _ in range(3): threading.Thread(target=wait).start()
started.wait()
print(sorted(pathlib.Path(f"/proc/{tid}/timerslack_ns").read_text().strip() for tid in os.listdir("/proc/self/task")))
done.set()
"""


@pytest.fixture(scope="module")
def slackexec(build_program: BuildProgram) -> Path:
    return build_program("slackexec")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("go", soon([*dict.fromkeys([DEFAULT_GO, installed_releases(say=False)[0]])], 0))
def test_every_thread_of_the_program_has_the_slack(build_program: BuildProgram, go: str) -> None:
    answer = run(build_program("slackexec", go), "1", sys.executable, "-c", THREADS_SLACK)
    assert (answer.stdout, answer.returncode) == (f"{['1'] * 4}\n", 0), answer.stderr


def test_a_stock_go_program_sleeps_with_the_slack(slackexec: Path, build_program: BuildProgram) -> None:
    done = finished(slackexec, "777", build_program("sleepbench"), "-plan", "1ms*5")
    assert read_run(done.stdout).header["timer_slack_ns"] == 777


def test_the_program_gets_its_arguments_its_environment_and_its_status(slackexec: Path, tmp_path: Path) -> None:
    answer = run(slackexec, "1", "sh", "-c", 'echo "$0" "$1" "$KEPT"; exit 7', "a b", "-h", KEPT="kept")
    assert (answer.stdout, answer.stderr, answer.returncode) == ("a b -h kept\n", "", 7)


def test_the_path_is_searched_past_what_cannot_be_run(slackexec: Path, tmp_path: Path) -> None:
    for name, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "tool").chmod(mode)
    found = run(slackexec, "1", "tool", PATH=f"{tmp_path}/none:{tmp_path}/first:{tmp_path}/second:/bin")
    assert (found.stdout, found.returncode) == ("second\n", 0)
    refused = run(slackexec, "1", "tool", PATH=f"{tmp_path}/first:{tmp_path}/none")
    assert (refused.stderr, refused.returncode) == ("slackexec: tool: permission denied\n", 126)


NO_PROGRAM = [
    ("nosuch-program", 127, "nosuch-program: no such file"),
    ("/no/such/program", 127, "/no/such/program: no such file"),
    ("/etc/passwd/program", 126, "not a directory"),
    ("", 127, "no such file"),
    ("/etc/passwd", 126, "/etc/passwd: permission denied"),
    ("/etc", 126, "/etc: permission denied"),
    ("{folder}/text", 126, "exec format error"),
]


@pytest.mark.parametrize(("program", "status", "said"), NO_PROGRAM)
def test_a_program_that_cannot_be_run_is_one_line_and_envs_status(
    slackexec: Path, tmp_path: Path, program: str, status: int, said: str
) -> None:
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    program = program.format(folder=tmp_path)
    answer = run(slackexec, "1", program)
    assert (answer.stdout, answer.returncode, answer.stderr.count("\n")) == ("", status, 1)
    assert said in answer.stderr
    if program != f"{tmp_path}/text":  # env(1) gives a text to the shell
        assert run("env", program).returncode == status


@pytest.mark.parametrize(
    "arguments", [(), ("1",), ("0", "true"), ("-1", "true"), ("1ns", "true"), (str(1 << 63), "true")]
)
def test_bad_arguments_are_one_line_and_status_2(slackexec: Path, arguments: tuple[str, ...]) -> None:
    answer = run(slackexec, *arguments)
    assert (answer.stdout, answer.returncode, answer.stderr.count("\n")) == ("", 2, 1)
    assert answer.stderr.startswith("slackexec: ")


def test_help_is_an_answer(slackexec: Path) -> None:
    answer = run(slackexec, "-h")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("usage: slackexec NS PROGRAM")


def test_a_refused_prctl_is_an_error_and_the_program_is_not_run(slackexec: Path) -> None:
    answer = run(sys.executable, REFUSE, f"157/{PR_SET_TIMERSLACK}", "1", slackexec, "1", "echo", "ran")
    assert (answer.stdout, answer.returncode) == ("", 125)
    assert answer.stderr == "slackexec: prctl(PR_SET_TIMERSLACK, 1): operation not permitted\n"
