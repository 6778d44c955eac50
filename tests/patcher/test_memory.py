"""What the patcher holds in memory of a large file: no copy of it, whatever is done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from tests.warm import INVOKE

MORE = 128 << 20  # bytes behind the program, as an installer carries its data; the libraries alone take 100 MiB


# A process begins with the peak of the one that it was forked from (fs/exec.c, exec_mmap): so a small one forks it.
MEASURE = """import os, subprocess, sys
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, usage.ru_maxrss)
"""


def peak(*words: str | Path) -> int:
    """Bytes of resident memory of a command's largest process (wait4(2), ru_maxrss)."""
    command = [sys.executable, "-c", MEASURE, INVOKE, *map(str, words)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    status, kilobytes = map(int, done.stdout.split())
    assert status == 0, done.stderr
    return kilobytes << 10


@pytest.mark.long
def test_no_command_holds_a_copy_of_the_file(program: Path) -> None:
    noise = os.urandom(1 << 20)
    with program.open("ab") as stream:
        stream.writelines(noise for _ in range(MORE >> 20))
    original = program.read_bytes()
    out = program.with_name("out")
    most = 1.2 * len(original)  # the libraries alone take more than half of that
    assert peak("inspect", program) <= most
    assert peak("patch", "--binary", program, "--out", out) <= most
    program.unlink()
    assert peak("verify", out) <= most
    Path(f"{out}.patch.json").rename(aside := out.with_name("aside"))
    assert peak("verify", out) <= most  # by the record
    assert peak("revert", out, "--out", out.with_name("again")) <= most
    aside.rename(f"{out}.patch.json")
    assert peak("revert", out) <= most
    assert out.read_bytes() == original
