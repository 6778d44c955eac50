"""A debugger attaches to a process that waits in the new code, unwinds it, takes a core file, and lets go unharmed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import patcher
from nanonap.trials.unwinding.asleep import EPOLL_PWAIT2, Sleeping, Thread, started
from nanonap.trials.unwinding.survivors import LIVE, Survivor
from nanonap.trials.unwinding.tracebacks import signs_of_breakage
from tests.endtoend.arms import Survivors
from tests.patience import PATIENCE_S

VARIANTS = (pytest.param("netpoll", marks=pytest.mark.long), LIVE)
_FRAME = re.compile(r"^#\d+ +(?:0x([0-9a-f]+) in )?(\S+) \(", re.MULTILINE)
_SCHEDULER = ["runtime.netpoll", "runtime.findRunnable", "runtime.schedule"]
_ALL_STACKS = ("-ex", "thread apply all backtrace 12")

pytestmark = pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb and gcore: apt-get install gdb")


def _said(*words: str | Path) -> str:
    """What a command says; in a session of its own, as a debugger takes its terminal and signals for itself."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        check=False, timeout=PATIENCE_S, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def _gdb(*words: str | Path) -> str:
    return _said("gdb", "-nx", "-batch", "-iex", "set auto-load off", *words)


def _check_stacks(said: str, survivor: Survivor, sleeping: Sleeping) -> None:
    """One thread stands in the new code, and its frames lead to the scheduler."""
    found = [
        [(int(each[1] or "0", 16), each[2]) for each in _FRAME.finditer(thread)]
        for thread in re.split(r"^Thread \d+", said, flags=re.MULTILINE)[1:]
    ]
    met = [each for each in found if each and survivor.in_stub(sleeping.code.linked(each[0][0]))]
    assert [[name for _, name in each][:3] for each in met] == [_SCHEDULER], said


def _waits(survivor: Survivor, sleeping: Sleeping) -> None:
    def in_the_stub(seen: list[Thread]) -> bool:
        return any(each.system_call == EPOLL_PWAIT2 and survivor.in_stub(each.pc) for each in seen)

    sleeping.wait_until(in_the_stub)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_debugger_comes_and_goes(survivors: Survivors, variant: str) -> None:
    survivor = survivors(variant)
    with started(survivor, "-requested", "1h", "-for", "1h", "-sleepers", "20") as sleeping:
        _waits(survivor, sleeping)
        _check_stacks(_gdb("-p", str(sleeping.process.pid), *_ALL_STACKS, "-ex", "detach"), survivor, sleeping)
        _waits(survivor, sleeping)
        if survivor.script:
            assert patcher.eject(sleeping.process.pid).after == "stock"
        assert signs_of_breakage(sleeping.quit().traceback) == []


@pytest.mark.long
@pytest.mark.parametrize("variant", ["netpoll", LIVE])
def test_a_core_file_holds_the_new_code_and_every_stack(survivors: Survivors, variant: str, tmp_path: Path) -> None:
    survivor = survivors(variant)
    with started(survivor, "-requested", "1h", "-for", "1h", "-sleepers", "20") as sleeping:
        _waits(survivor, sleeping)
        pid = sleeping.process.pid
        _said("gcore", "-o", tmp_path / "core", str(pid))
        core = tmp_path / f"core.{pid}"
        _check_stacks(_gdb(survivor.path, core, *_ALL_STACKS), survivor, sleeping)
        assert survivor.manifest is not None
        for edit in survivor.manifest.edits:
            if edit.assembly:
                _gdb(survivor.path, core, "-ex", f"dump binary memory {tmp_path / 'code'} {edit.address} {edit.end}")
                assert (tmp_path / "code").read_bytes() == edit.new
        assert sleeping.process.poll() is None
        _waits(survivor, sleeping)
