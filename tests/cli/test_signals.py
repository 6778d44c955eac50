"""Ctrl-C at any moment of a command: status 130 and one line, or all of the work; never a traceback or an abort."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nanonap.base.interrupts import SAID
from nanonap.base.paths import PROJECT
from tests.patience import PATIENCE_S
from tests.warm import INVOKE

LAB = str(PROJECT / "lab")
#: What a terminal's foreground has, however the tests were started: a shell's background job ignores Ctrl-C.
HEARD = ("env", "--default-signal=INT")


def words(task: str, program: Path) -> tuple[str, ...]:
    return (task, str(program)) if task == "inspect" else (task, "--binary", str(program), "--out", f"{program}.out")


@pytest.mark.parametrize(("task", "moments"), [("inspect", 8), pytest.param("patch", 8, marks=pytest.mark.long)])
def test_ctrl_c_at_any_moment_is_one_line_and_130(program: Path, task: str, moments: int) -> None:
    """The moments lie over the time of an undisturbed run; where they strike does not matter to what must hold."""
    command = [*HEARD, LAB, *words(task, program)]
    begun = time.monotonic()
    whole = subprocess.run(command, capture_output=True, text=True, check=True)
    took = time.monotonic() - begun
    for moment in range(moments):
        for each in program.parent.glob(f"{program.name}.out*"):
            each.unlink()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            time.sleep(took * moment / moments)
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=PATIENCE_S)
        left = sorted(each.name for each in program.parent.iterdir())
        assert left in (["program"], ["program", "program.out", "program.out.patch.json"])
        if process.returncode == 0:
            assert (out, said) == (whole.stdout, "")
        elif process.returncode == -signal.SIGINT:  # between two programs, of which neither can tell of it
            assert (out, said) == ("", "")
        else:
            assert (process.returncode, said) == (130, f"{SAID}\n")


@pytest.mark.parametrize("library", ["_lief", "libcapstone", "libkeystone", "libunicorn"])
def test_ctrl_c_as_a_native_library_is_loaded(program: Path, library: str) -> None:
    """An exception in its first moments would abort it: it is loaded in the child alone, which does not hear Ctrl-C."""
    command = [*HEARD, INVOKE, *words("patch", program)]
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and not any(library in mapped(pid) for pid in told(children).split()):
            time.sleep(0.001)
        assert library not in mapped(str(process.pid))
        with contextlib.suppress(ProcessLookupError):  # it may be through
            os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) in ((130, f"{SAID}\n"), (0, ""), (-signal.SIGINT, ""))


def mapped(pid: str) -> str:
    return told(Path(f"/proc/{pid}/maps"))


def told(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_signal_that_is_ignored_stays_ignored(program: Path) -> None:
    """nohup, and a shell's background job."""
    wrapper = ["sh", "-c", 'trap "" HUP INT; echo ready; exec "$@" 2>&1', "sh"]
    command = [*wrapper, INVOKE, *words("patch", program)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
    assert process.returncode == 0
    assert Path(f"{program}.out.patch.json").exists()
