"""A file that cannot be patched ends in one line that says why, its own exit status, and nothing written."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from tests.patcher.conftest import Answer, Invoke
from tests.patcher.programs import BUBBLE, LIBRARY, SLEEPS, build, build_precise
from tests.soon import soon


def assert_refused(answer: Answer, status: int, *named: str) -> None:
    """One line on stderr, nothing on stdout, the documented status."""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("nanonap: ")
    for each in named:
        assert each in answer.err
    assert (answer.status, answer.out) == (status, "")


def missing(folder: Path, _: Path) -> Path:
    return folder / "nosuch"


def a_folder(folder: Path, _: Path) -> Path:
    (folder / "input").mkdir()
    return folder / "input"


def a_device(_: Path, __: Path) -> Path:
    return Path("/dev/zero")


def a_link_to_itself(folder: Path, _: Path) -> Path:
    (folder / "input").symlink_to("input")
    return folder / "input"


def holding(content: bytes) -> Callable[[Path, Path], Path]:
    def make(folder: Path, _: Path) -> Path:
        (folder / "input").write_bytes(content)
        return folder / "input"

    return make


def built(source: str, *flags: str, **environment: str) -> Callable[[Path, Path], Path]:
    def make(folder: Path, _: Path) -> Path:
        return build(folder / "input", source, *flags, environment=environment)

    return make


def not_go(_: Path, __: Path) -> Path:
    return Path(sys.executable).resolve()


def patched(strategy: str, slack_ns: int | None = None) -> Callable[[Path, Path], Path]:
    def make(folder: Path, stock: Path) -> Path:
        (folder / "input").mkdir()
        out = folder / "input" / "program"
        return patcher.patch(stock, out, strategy, slack_ns=slack_ns, accept_thread_cost=True).out

    return make


def packed(folder: Path, stock: Path) -> Path:
    """A stand-in for UPX, which is not needed here: its l_info behind the program headers, and no sections.

    UPX writes struct l_info {checksum, "UPX!", loader size, version, format} there (upx: src/stub/src/include/linux.h).
    """
    data = bytearray(stock.read_bytes())
    count = struct.unpack_from("<H", data, 56)[0]
    struct.pack_into("<IIHBB", data, 64 + 56 * count, 0, int.from_bytes(b"UPX!", "little"), 0x7C0, 13, 22)
    struct.pack_into("<Q", data, 40, 0)
    struct.pack_into("<HHH", data, 58, 0, 0, 0)
    (folder / "input").write_bytes(data)
    return folder / "input"


def truncated(length: int) -> Callable[[Path, Path], Path]:
    def make(folder: Path, stock: Path) -> Path:
        (folder / "input").write_bytes(stock.read_bytes()[:length])
        return folder / "input"

    return make


def precise(folder: Path, _: Path) -> Path:
    return build_precise(folder / "input", keeps_milliseconds=False)


BAD: dict[str, tuple[Callable[[Path, Path], Path], int, str]] = {
    "no such file": (missing, 3, "no such file"),
    "a link to itself": (a_link_to_itself, 3, "cannot be read"),
    "a folder": (a_folder, 4, "not a regular file"),
    "a device": (a_device, 4, "not a regular file"),
    "an empty file": (holding(b""), 5, "not an ELF file"),
    "a script": (holding(b"#!/bin/sh\nsleep 1\n"), 5, "not an ELF file"),
    "a Windows program": (holding(b"MZ" + bytes(4096)), 5, "not an ELF file"),
    "a 32-bit program": (built(SLEEPS, GOARCH="386"), 6, "32-bit"),
    "a program for another processor": (built(SLEEPS, GOARCH="riscv64"), 7, "machine 243"),
    "a program for another system": (built(SLEEPS, GOOS="freebsd"), 7, "freebsd"),
    "a program that is not Go": (not_go, 8, "without Go build information"),
    "an ELF header and nothing": (holding(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\0" + bytes(44)), 8, "Go"),
    "a program patched with netpoll": (patched("netpoll"), 9, "already patched (netpoll)"),
    "a program patched with sleep and a slack": (patched("sleep", 1), 9, "already patched (sleep and slack)"),
    "a program patched with usleep": (patched("usleep"), 9, "already patched (usleep)"),
    "a program patched with slack": (patched("slack", 50_000), 9, "already patched (slack)"),
    "a packed program": (packed, 10, "upx -d"),
    "a program with a simulated clock": (built(SLEEPS, "-tags=faketime"), 11, "faketime"),
    "a program that is precise by itself": (precise, 12, "precise by itself"),
    "a file that ends in its ELF header": (truncated(63), 14, "truncated"),
    "a file that ends behind its ELF header": (truncated(64), 14, "truncated"),
    "a file that ends in its code": (truncated(1_000_000), 14, "truncated"),
    "a file that ends in its data": (truncated(2_700_000), 14, "truncated"),
    "a file that lacks its last byte": (truncated(-1), 14, "truncated"),
}


#: For these the standard library is compiled once more, or all that stands on the runtime.
COMPILED = {
    "a program that is precise by itself",
    "a 32-bit program",
    "a program for another processor",
    "a program for another system",
    "a program with a simulated clock",
}


@pytest.mark.parametrize("what", soon([*BAD], *(at for at, each in enumerate(BAD) if each not in COMPILED)))
def test_a_file_that_cannot_be_patched_is_refused(invoke: Invoke, sleepbench: Path, tmp_path: Path, what: str) -> None:
    make, status, named = BAD[what]
    source, out = make(tmp_path, sleepbench), tmp_path / "out" / "program"
    out.parent.mkdir()
    answer = invoke("patch", "--binary", source, "--out", out)
    assert_refused(answer, status, str(source), named)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("task", ["inspect", "verify", "revert"])
def test_the_other_tasks_refuse_a_missing_file_alike(invoke: Invoke, tmp_path: Path, task: str) -> None:
    assert_refused(invoke(task, tmp_path / "nosuch"), 3, "no such file")


@pytest.mark.long
def test_a_program_for_another_system_gets_no_strategy(tmp_path: Path) -> None:
    """Its entry stub would make Linux's system call, whose number means another call there."""
    source = build(tmp_path / "input", SLEEPS, environment={"GOOS": "freebsd"})
    for strategy in patcher.STRATEGIES:
        slack_ns = 1 if strategy == "slack" else None
        with pytest.raises(NanonapError, match="freebsd"):
            patcher.patch(source, tmp_path / "out", strategy, slack_ns=slack_ns, accept_thread_cost=True)


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_refused_wherever_it_ends(program: Path, part: float) -> None:
    os.truncate(program, int(program.stat().st_size * part))
    for strategy in patcher.STRATEGIES:
        slack_ns = 1 if strategy == "slack" else None
        with pytest.raises(NanonapError, match="truncated"):
            patcher.patch(program, program.with_name("out"), strategy, slack_ns=slack_ns, accept_thread_cost=True)
    assert list(program.parent.iterdir()) == [program]


@pytest.mark.long
def test_a_program_with_a_clock_of_its_own_for_tests_is_refused_by_sleep_alone(invoke: Invoke, tmp_path: Path) -> None:
    bubble = build(tmp_path / "input", BUBBLE, name="main_test.go", command=("test", "-c"))
    out = tmp_path / "out"
    answer = invoke("patch", "--binary", bubble, "--out", out, "--strategy", "sleep", "--accept-thread-cost")
    assert_refused(answer, 16, "testing/synctest", "use netpoll")
    assert not out.exists()
    patcher.patch(bubble, out, "netpoll")
    assert subprocess.run([out], capture_output=True, text=True, check=True).stdout.strip() == "PASS"


def test_strategy_sleep_wants_its_thread_cost_accepted(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    answer = invoke("patch", "--binary", program, "--out", out, "--strategy", "sleep")
    assert_refused(answer, 17, "one OS thread for every sleeping goroutine", "--accept-thread-cost")
    assert list(program.parent.iterdir()) == [program]


def test_a_shared_library_has_no_entry_for_a_slack_and_can_have_netpoll(invoke: Invoke, tmp_path: Path) -> None:
    library = build(tmp_path / "input", LIBRARY, "-buildmode=c-shared", environment={"CGO_ENABLED": "1"})
    out = tmp_path / "library.so"
    answer = invoke("patch", "--binary", library, "--out", out, "--strategy", "slack", "--slack-ns", "1")
    assert_refused(answer, 19, "shared library", "no entry of its own")
    assert not out.exists()
    patcher.patch(library, out, "netpoll")
    nap = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).Nap()"
    subprocess.run([sys.executable, "-c", nap, str(out)], check=True)


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from patcher.patching import patch  # the other may not read where it lies
from nanonap.base.errors import NanonapError
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    patch(Path(sys.argv[1]), Path(sys.argv[1] + ".out"))
except NanonapError as error:
    print(error, error.exit_code)
"""


def test_a_file_that_may_not_be_read_is_refused(program: Path) -> None:
    program.chmod(0)
    done = subprocess.run([sys.executable, "-c", AS_ANOTHER_USER, program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{program}: cannot be read (Permission denied) 3\n"
