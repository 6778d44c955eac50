"""A seccomp filter's answer is foretold from its own code, and what would kill is not done."""

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import PROJECT
from patcher.isa.table import ISAS
from patcher.live import filters
from patcher.live.errors import SeccompKills, SeccompUnreadable
from tests.conftest import BuildProgram
from tests.patcher.live.filtered import code_for, install
from tests.patcher.live.targets import Running, running
from tests.patience import PATIENCE_S
from tests.soon import soon

FILTERED = Path(__file__).with_name("filtered.py")
EPOLL_PWAIT2, GETPPID = 441, 110
KILLED = {filters.KILL_PROCESS: 31, filters.KILL_THREAD: 31, filters.TRAP: 31}


@pytest.mark.parametrize("value", soon([filters.KILL_PROCESS, filters.TRAP, filters.ERRNO], 0), ids=hex)
def test_what_would_harm_is_refused(build_program: BuildProgram, value: int) -> None:
    with _filtered(build_program("survive"), EPOLL_PWAIT2, value) as target:
        with pytest.raises(SeccompKills, match="seccomp filter"):
            patcher.inject(target.pid)
        assert patcher.status(target.pid).state == "stock"
        assert target.process.poll() is None


@pytest.mark.parametrize(
    "value",
    soon([filters.ERRNO | errno.EPERM, filters.TRACE], 0),
    ids=hex,
)
def test_what_is_harmless_goes_in_and_the_program_sleeps_on(build_program: BuildProgram, value: int) -> None:
    with _filtered(build_program("survive"), EPOLL_PWAIT2, value) as target:
        assert patcher.inject(target.pid).after == "injected"
        assert target.finished()["early"] == 0


def _filtered(path: Path, number: int, value: int) -> AbstractContextManager[Running]:
    words = (str(FILTERED), str(number), hex(value), str(path), "-mode", "signals", "-sleepers", "20", "-for", "1h")
    return running(Path(sys.executable), *words)


@pytest.mark.parametrize(
    "value", [filters.KILL_PROCESS, filters.TRAP, filters.ERRNO | errno.EPERM, filters.ALLOW], ids=hex
)
def test_the_kernel_says_the_same(value: int) -> None:
    """The same filter, run by the kernel for a call that is made, and run here."""
    child = os.fork()
    if not child:
        install(GETPPID, value)
        os.getppid()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    foretold = filters.verdict([code_for(GETPPID, value)], filters.Asked(GETPPID, 0))
    assert foretold == value
    assert code == -KILLED.get(value, 0)


def test_the_strictest_of_several_wins() -> None:
    programs = [code_for(441, each) for each in (filters.ALLOW, filters.ERRNO | 1, filters.KILL_THREAD, filters.TRAP)]
    asked = filters.Asked(441, 0)
    assert filters.verdict(programs, asked) == filters.KILL_THREAD
    assert filters.verdict([*programs, code_for(441, filters.KILL_PROCESS)], asked) == filters.KILL_PROCESS
    assert filters.verdict(programs[:2], asked) == filters.ERRNO | 1
    assert filters.verdict([], asked) == filters.ALLOW


def test_arguments_and_arithmetic_of_a_filter() -> None:
    """As libseccomp and others write them: the words of an argument, masks, scratch words, ranges."""

    def program(*lines: tuple[int, int, int, int]) -> bytes:
        return b"".join(struct.pack("<HBBI", *each) for each in lines)

    allow, kill = (0x06, 0, 0, filters.ALLOW), (0x06, 0, 0, filters.KILL_PROCESS)
    masked = program((0x20, 0, 0, 16), (0x54, 0, 0, 0xF0), (0x15, 0, 1, 0x30), allow, kill)
    assert filters.run(masked, filters.Asked(1, 0, (0x1234567F3F, 0, 0, 0, 0, 0))) == filters.ALLOW
    assert filters.run(masked, filters.Asked(1, 0, (0x40, 0, 0, 0, 0, 0))) == filters.KILL_PROCESS
    upper = program((0x20, 0, 0, 20), (0x35, 0, 1, 0x12), allow, kill)
    assert filters.run(upper, filters.Asked(1, 0, (0x12_00000000, 0, 0, 0, 0, 0))) == filters.ALLOW
    kept = program((0x20, 0, 0, 0), (0x02, 0, 0, 3), (0x00, 0, 0, 7), (0x61, 0, 0, 3), (0x0C, 0, 0, 0), (0x16, 0, 0, 0))
    assert filters.run(kept, filters.Asked(35, 0)) == 42
    counter = program((0x20, 0, 0, 8), (0x15, 0, 1, 0x1000), kill, allow)
    assert filters.run(counter, filters.Asked(1, 0x1000)) == filters.KILL_PROCESS


def test_a_filter_is_told_the_processor() -> None:
    """As libseccomp begins each filter; numbers are other calls' on another processor."""
    names = {each.name: each for each in ISAS.values()}
    code = b"".join(
        struct.pack("<HBBI", *each)
        for each in (
            (0x20, 0, 0, 4),  # arch
            (0x15, 1, 0, 0xC00000B7),  # AUDIT_ARCH_AARCH64 (linux/audit.h)
            (0x06, 0, 0, filters.KILL_PROCESS),
            (0x20, 0, 0, 0),  # nr
            (0x15, 0, 1, names["arm64"].system_calls["epoll_pwait"]),
            (0x06, 0, 0, filters.ERRNO | errno.EPERM),
            (0x06, 0, 0, filters.ALLOW),
        )
    )
    calls, arch = names["arm64"].system_calls, names["arm64"].threads.AUDIT_ARCH
    assert (calls["epoll_pwait2"], calls["epoll_pwait"]) == (441, 22)
    assert filters.run(code, filters.Asked(441, 0, arch=arch)) == filters.ALLOW
    assert filters.run(code, filters.Asked(22, 0, arch=arch)) == filters.ERRNO | errno.EPERM
    other = names["amd64"].threads.AUDIT_ARCH
    assert filters.harms(filters.run(code, filters.Asked(441, 0, arch=other))) == filters.NAMES[filters.KILL_PROCESS]


@pytest.mark.long
def test_a_filter_that_may_not_be_read_is_refused_without_the_opt_in(build_program: BuildProgram) -> None:
    if shutil.which("setpriv") is None or os.geteuid():
        pytest.skip("no setpriv, or not root: apt-get install util-linux, and run the tests as root")
    without = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    source = (
        "import json, sys, patcher\n"
        "try: done = patcher.inject(int(sys.argv[1]), accept_seccomp=sys.argv[2] == 'True').after\n"
        "except patcher.live.errors.NanonapError as error: done = f'{type(error).__name__}: {error}'\n"
        "print(json.dumps(done))"
    )

    def injected(pid: int, *, accept: bool) -> str:
        done = subprocess.run(
            [*without, sys.executable, "-c", source, str(pid), str(accept)],
            capture_output=True, text=True, check=True, timeout=PATIENCE_S, cwd=PROJECT,
        )  # fmt: skip
        told: str = json.loads(done.stdout)
        return told

    with _filtered(build_program("survive"), EPOLL_PWAIT2, filters.ERRNO | errno.EPERM) as target:
        refusal = injected(target.pid, accept=False)
        assert refusal.startswith(SeccompUnreadable.__name__)
        assert "accept the filter" in refusal
        assert injected(target.pid, accept=True) == "injected"
