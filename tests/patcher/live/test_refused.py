"""What may not be changed is refused: each with its own error, and the process runs on as it did."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import patcher
from patcher.errors import AlreadyPatched, NotElf, NotGo, WrongClass
from patcher.golang.image import read_image
from patcher.live import ptrace
from patcher.live.errors import (
    BreakpointSet,
    CannotStage,
    Frozen,
    KernelTooOld,
    MemoryUnknown,
    NoSuchProcess,
    Traced,
)
from patcher.live.process import check_kernel, entry_of
from patcher.live.spots import check_stageable
from patcher.live.stopping import Doubt, held
from tests.conftest import BuildProgram
from tests.patcher.live.targets import Codes, Running, running
from tests.patcher.programs import SLEEPS, build
from tests.patience import PATIENCE_S, wait_until
from tests.soon import soon

_FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def survive(build_program: BuildProgram) -> Path:
    return build_program("survive")


@pytest.fixture
def target(survive: Path) -> Iterator[Running]:
    with running(survive, "-mode", "wait", "-sleepers", "5", "-for", "1h") as process:
        yield process
        assert process.process.poll() is None


def test_a_program_that_is_not_of_go() -> None:
    process = subprocess.Popen(["sleep", "100"])
    try:
        with pytest.raises((NotGo, NotElf), match="Go"):
            patcher.inject(process.pid)
        with pytest.raises((NotGo, NotElf)):
            patcher.status(process.pid)
    finally:
        process.kill()
        process.wait()


def test_no_process_and_a_thread() -> None:
    with pytest.raises(NoSuchProcess, match="there is none"):
        patcher.inject(2**22 + 1)  # beyond the kernel's largest number (proc_sys_kernel(5), pid_max)
    with pytest.raises(NoSuchProcess):
        patcher.eject(-1)


def test_a_thread_is_no_process(target: Running) -> None:
    tid = next(int(each.name) for each in Path(f"/proc/{target.pid}/task").iterdir() if int(each.name) != target.pid)
    with pytest.raises(NoSuchProcess, match=f"thread of process {target.pid}"):
        patcher.inject(tid)


@pytest.mark.long
def test_a_program_of_another_architecture(tmp_path: Path) -> None:
    path = build(tmp_path / "small", SLEEPS.replace("Millisecond", "Hour"), environment={"GOARCH": "386"})
    process = subprocess.Popen([path])
    try:
        with pytest.raises(WrongClass):
            patcher.inject(process.pid)
    finally:
        process.kill()
        process.wait()


def test_a_program_that_is_patched_by_file(survive: Path, tmp_path: Path) -> None:
    out = tmp_path / "patched"
    patcher.patch(survive, out)
    with running(out, "-mode", "wait", "-sleepers", "5", "-for", "1h") as process:
        with pytest.raises(AlreadyPatched, match="already patched"):
            patcher.inject(process.pid)
        assert patcher.status(process.pid).state == "patched by file"


def test_a_traced_process_names_its_tracer(target: Running) -> None:
    tracer = os.fork()
    if not tracer:
        ptrace.seize(target.pid)
        signal.pause()
    try:
        wait_until(lambda: f"TracerPid:\t{tracer}\n" in Path(f"/proc/{target.pid}/status").read_text())
        for call in (patcher.inject, patcher.eject):
            with pytest.raises(Traced, match=f"traced by process {tracer}"):
                call(target.pid)
        assert patcher.status(target.pid).state == "unknown"
    finally:
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)


def test_a_frozen_process(target: Running) -> None:
    if not os.access(_FREEZER, os.W_OK):
        pytest.skip("no freezer of cgroup v1 to write: mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer")
    group = _FREEZER / f"nanonap-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(target.pid))
        (group / "freezer.state").write_text("FROZEN")
        with pytest.raises(Frozen, match="thaw it"):
            patcher.inject(target.pid)
    finally:
        (group / "freezer.state").write_text("THAWED")
        (_FREEZER / "cgroup.procs").write_text(str(target.pid))
        group.rmdir()


def test_a_kernel_without_the_call() -> None:
    for release in ("5.10.0-28-amd64", "4.19.0", "3.10.0-1160.el7"):
        with pytest.raises(KernelTooOld, match="has no epoll_pwait2"):
            check_kernel(release)
    for release in ("5.11.0", "5.15.0-91-generic", "6.18.44", "10.0"):
        check_kernel(release)


def _unused(codes: Codes) -> int:
    """An address in the wait where nothing comes: the delay beyond 10**15 ns (mov edx, 10**9)."""
    at = codes.spot.stock.index(b"\xba\x00\xca\x9a\x3b")
    return codes.spot.low + at


def _poke(target: Running, address: int, data: bytes) -> None:
    bias = entry_of(target.pid) - read_image(target.path).entry
    with Path(f"/proc/{target.pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(address + bias)
        memory.write(data)


def test_a_breakpoint_in_the_wait(target: Running) -> None:
    codes = Codes.of(target.path)
    at = _unused(codes)
    _poke(target, at, b"\xcc")
    with pytest.raises(BreakpointSet, match=f"{at:#x}"):
        patcher.inject(target.pid)
    seen = patcher.status(target.pid)
    assert (seen.state, "breakpoint" in str(seen.reason)) == ("unfit", True)
    _poke(target, at, b"\xba")
    assert patcher.inject(target.pid, dry_run=True).before == "stock"


def test_memory_that_nobody_knows(target: Running) -> None:
    codes = Codes.of(target.path)
    _poke(target, _unused(codes), b"\x90\x90\x90\x90\x90")
    for call in (patcher.inject, patcher.eject):
        with pytest.raises(MemoryUnknown, match="neither as in the file nor"):
            call(target.pid)


@pytest.mark.parametrize("what", soon(["deleted", "replaced"], 0))
def test_a_file_that_is_no_longer_the_processes_own_is_no_matter(survive: Path, tmp_path: Path, what: str) -> None:
    program = Path(shutil.copy2(survive, tmp_path / "program"))
    with running(program, "-mode", "wait", "-sleepers", "5", "-for", "1h") as target:
        program.unlink()
        if what == "replaced":
            program.write_bytes(b"another file")
        assert patcher.inject(target.pid).after == "injected"
        assert patcher.status(target.pid).state == "injected"
        assert patcher.eject(target.pid).after == "stock"


def test_code_that_cannot_be_staged(survive: Path) -> None:
    codes = Codes.of(survive)
    spot = codes.spot
    moved = replace(spot, low=spot.site.retry // 4096 * 4096 - 8)
    assert moved.crosses
    with pytest.raises(CannotStage, match="lies in two pages"):
        check_stageable(codes.functions, moved)
    torn = replace(moved, site=replace(spot.site, start=spot.low // 4096 * 4096 + 4094))
    with pytest.raises(CannotStage, match="would cross a page"):
        check_stageable(codes.functions, torn)


_VFORK = """
#include <stdio.h>
#include <unistd.h>
int main(void) { if (!vfork()) { sleep(1000); _exit(0); } puts("through"); return 0; }
"""


def test_a_vfork_that_does_not_end_is_told_and_let_go(tmp_path: Path) -> None:
    """The parent does not stop until its child has run a program or ended: it is named, and nothing is left held."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc: apt-get install gcc")
    (tmp_path / "vfork.c").write_text(_VFORK)
    subprocess.run(["gcc", "-o", tmp_path / "vfork", tmp_path / "vfork.c"], check=True)
    process = subprocess.Popen([tmp_path / "vfork"], stdout=subprocess.PIPE, start_new_session=True)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: bool(children.read_text()))
        reading, writing = os.pipe()
        worker = os.fork()
        if not worker:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            try:
                with held(process.pid, 0.2):
                    os.write(writing, b"held")
            except Doubt as doubt:
                os.write(writing, str(doubt).encode())
            os._exit(0)
        os.waitpid(worker, 0)
        told = os.read(reading, 1000).decode()
        assert f"thread {process.pid}" in told
        assert "does not stop" in told
        assert "TracerPid:\t0\n" in Path(f"/proc/{process.pid}/status").read_text()
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        assert process.communicate(timeout=PATIENCE_S)[0] == b"through\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
