"""Where the system lacks what every program counts on, one line says so, and nothing is half-done."""

import subprocess
import sys
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused
from tests.patcher.test_bad_output import namespace
from tests.warm import INVOKE

INTO_FULL = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
CLOSED = ("sh", "-c", 'exec "$@" >&-', "sh")


@pytest.mark.parametrize("words", [("--list",), ("--help", "patch"), ("inspect", "{}"), ("quota",)])
def test_an_answer_that_cannot_be_written_is_told(invoke: Invoke, sleepbench: Path, words: tuple[str, ...]) -> None:
    answer = invoke(*(each.format(sleepbench) for each in words), wrapper=INTO_FULL)
    assert_refused(answer, 24, "stdout: cannot be written (No space left on device)")


def test_a_patch_whose_answer_cannot_be_written_is_whole(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    assert_refused(invoke("patch", "--binary", program, "--out", out, wrapper=INTO_FULL), 24, "files", "are whole")
    assert invoke("verify", out).status == 0


def test_a_closed_stdout_is_told_before_anything_is_done(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    assert_refused(invoke("patch", "--binary", program, "--out", out, wrapper=CLOSED), 22, "stdout is closed")
    assert not out.exists()


def test_a_reader_that_has_seen_enough_is_not_told(sleepbench: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | true', "bash", INVOKE, "inspect", sleepbench, "--json"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("without", "named"), [("umount -l /proc", "/proc"), ("mount -t tmpfs none /proc", "/proc"),
                           ("mount -t tmpfs none /dev", "/dev/null")],
)  # fmt: skip
@pytest.mark.parametrize("task", ["inspect", "patch", "quota"])
def test_a_system_without_proc_or_null_device_is_told(
    invoke: Invoke, program: Path, task: str, without: str, named: str
) -> None:
    out = program.with_name("out")
    words = {"inspect": (program,), "patch": ("--binary", program, "--out", out), "quota": ()}[task]
    answer = invoke(task, *words, wrapper=namespace(without))
    assert_refused(answer, 29, named, "mount it" if named == "/proc" else "make it")
    assert list(program.parent.iterdir()) == [program]


def test_the_child_tells_why_it_cannot_start(program: Path) -> None:
    """As a library, which asks nothing of the system before it begins."""
    code = f"""
from pathlib import Path
from nanonap.base.errors import SystemIncomplete
import patcher
try:
    patcher.inspect(Path({str(program)!r}))
except SystemIncomplete as error:
    print(error)
"""
    told = subprocess.run(
        [*namespace("mount -t tmpfs none /dev"), sys.executable, "-c", code],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stderr == ""
    assert told.stdout.count("\n") == 1
    assert "cannot be started" in told.stdout
    assert "/dev/null" in told.stdout
