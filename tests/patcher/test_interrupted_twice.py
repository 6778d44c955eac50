"""Several signals at once, as of a terminal closed in the midst of Ctrl-C, are one: what is cleaned up stays so."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT

_WRITES = """
import signal, sys, time
from pathlib import Path
from nanonap.base.files import beside_all
from nanonap.base.interrupts import ENDING, raised
for each in ENDING:
    signal.signal(each, signal.SIG_DFL)
folder = Path(sys.argv[1])
with raised(), beside_all(folder / "manifest", folder / "out"):
    print("begun", flush=True)
    while True:  # signals that come together right before a sleep begins do not end it
        time.sleep(0.01)
"""


@pytest.mark.parametrize("numbers", [("SIGINT", "SIGTERM"), ("SIGINT", "SIGTERM", "SIGHUP")], ids="-".join)
def test_several_signals_at_once_leave_nothing_half_written(tmp_path: Path, numbers: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITES, tmp_path],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    for each in ("SIGSTOP", *numbers, "SIGCONT"):
        process.send_signal(signal.Signals[each])
    said = process.communicate()[1]
    assert process.returncode != 0
    assert said.count("Traceback") == 1
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names
