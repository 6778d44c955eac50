"""Whatever the reader of a file does to its process, the command goes on and says what happened in one line."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from nanonap.base.paths import PROJECT
from patcher import isolation
from patcher.child import Limits
from patcher.errors import (
    InternalFault,
    NotEnoughMemory,
    ReaderCrashed,
    ReaderTooLarge,
    ReaderTooSlow,
    ShapeMismatch,
)
from patcher.isolation import Job, both_isolated, isolated
from tests.patcher.conftest import Invoke
from tests.patcher.test_begun import each_is_begun
from tests.patience import PATIENCE_S, wait_until

SHORT = Limits(cpu_seconds=2, memory=1 << 30, address_space=16 << 30)
# A child may need seconds of a busy machine before it comes to its job.
SMALL = Limits(cpu_seconds=PATIENCE_S, memory=200 << 20, address_space=16 << 30)


@dataclass(frozen=True)
class Echo:
    path: Path
    pid: int
    number: int | None = None


def echoes(path: Path, number: int | None = None) -> Echo:
    return Echo(path, os.getpid(), number)


def refuses(path: Path) -> None:
    raise ShapeMismatch(f"{path}: expected \udce9 and “this”, found that")


def is_at_fault(path: Path) -> None:
    raise KeyError(f"{path}\nnothing")


def crashes(_: Path, number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def reads_nowhere(_: Path) -> None:
    ctypes.string_at(8)


def gives_up(_: Path) -> None:
    """As Unicorn does where it gets no memory."""
    ctypes.CDLL(None).exit(1)


def loops(_: Path) -> None:
    while True:
        pass


def leaks(_: Path) -> None:
    held = []
    while True:
        held.append(b"x" * (8 << 20))
        time.sleep(0.001)  # who watches it must come to run, on a busy machine too


def asks_for_too_much(_: Path) -> None:
    bytes(1 << 40)


def talks_for_ever(_: Path) -> str:
    return "x" * (64 << 20)


@dataclass(frozen=True)
class Told:
    core: int
    cpu: int
    out: str
    err: str


def tells_its_limits(_: Path) -> Told:
    return Told(
        core=resource.getrlimit(resource.RLIMIT_CORE)[0],
        cpu=resource.getrlimit(resource.RLIMIT_CPU)[0],
        out=str(Path("/proc/self/fd/1").readlink()),
        err=str(Path("/proc/self/fd/2").readlink()),
    )


def tells_and_waits(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


def job(function: Callable[..., object]) -> str:
    return f"{__name__}:{function.__name__}"


@pytest.fixture(params=["forked", "spawned", "begun"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a process of one thread the child is forked, also beforehand; beside threads it is a new interpreter."""
    monkeypatch.setattr(isolation, "forks_beside_threads", request.param != "spawned")
    each_is_begun(monkeypatch) if request.param == "begun" else None
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    yield
    waiting.set()
    thread.join()


pytestmark = pytest.mark.usefixtures("way")


def test_arguments_and_results_pass_and_the_work_is_done_elsewhere(tmp_path: Path) -> None:
    seen = isolated(tmp_path / "\udce9", job(echoes), Echo, number=7)
    assert seen.pid != os.getpid()
    assert seen == Echo(tmp_path / "\udce9", seen.pid, 7)
    assert isolated(tmp_path, job(echoes), Echo, number=None).number is None


def test_an_error_of_ours_comes_back_as_its_own_class(tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatch) as refused:
        isolated(tmp_path, job(refuses), str)
    assert str(refused.value) == f"{tmp_path}: expected \\udce9 and “this”, found that"


def test_a_fault_of_the_patcher_is_told_as_one_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InternalFault, match=r"KeyError in test_isolation.py:\d+ .*please report") as failed:
        isolated(tmp_path, job(is_at_fault), str)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL])
def test_a_crash_is_an_error_that_names_the_signal(tmp_path: Path, number: signal.Signals) -> None:
    with pytest.raises(ReaderCrashed, match=number.name):
        isolated(tmp_path, job(crashes), str, number=number)


def test_a_real_crash_leaves_no_core_and_says_nothing_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ReaderCrashed, match="SIGSEGV"):
        isolated(tmp_path, job(reads_nowhere), str)
    assert capfd.readouterr() == ("", "")


def test_a_library_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReaderCrashed, match="exit status 1"):
        isolated(tmp_path, job(gives_up), str)


def test_a_loop_ends_at_its_limit_of_cpu_time(tmp_path: Path) -> None:
    with pytest.raises(ReaderTooSlow, match="2 s"):
        isolated(tmp_path, job(loops), str, SHORT)


@pytest.mark.parametrize("greedy", [leaks, asks_for_too_much, talks_for_ever])
def test_a_leak_ends_at_its_limit_of_memory(tmp_path: Path, greedy: Callable[[Path], object]) -> None:
    with pytest.raises(ReaderTooLarge):
        isolated(tmp_path, job(greedy), str, SMALL)


def test_a_kill_by_the_kernel_is_no_fault_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughMemory, match="SIGKILL"):
        isolated(tmp_path, job(crashes), str, number=signal.SIGKILL)


def test_limits_grow_with_the_file_and_nothing_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as stream:
        stream.truncate(80 << 20)
    limits = Limits.for_file(file)
    assert (limits.cpu_seconds, limits.memory) == (30, (4 * 80 + 300) << 20)
    assert isolated(file, job(tells_its_limits), Told) == Told(0, 30, os.devnull, os.devnull)


def test_of_two_jobs_each_has_its_answer_and_the_first_failure_is_told(tmp_path: Path) -> None:
    first, second = both_isolated(tmp_path, *(Job(job(echoes), Echo, {"number": number}) for number in (7, 8)))
    assert (first.number, second.number) == (7, 8)
    crash, refusal = Job(job(crashes), str, {"number": signal.SIGSEGV}), Job(job(refuses), str)
    with pytest.raises(ReaderCrashed):
        both_isolated(tmp_path, crash, refusal)
    with pytest.raises(ShapeMismatch):
        both_isolated(tmp_path, refusal, crash)
    with pytest.raises(ReaderCrashed):
        both_isolated(tmp_path, Job(job(echoes), Echo, {"number": 7}), crash)


def test_every_call_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    def left() -> tuple[int, int]:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        return len(children), len(list(Path("/proc/self/fd").iterdir()))

    before = left()
    isolated(tmp_path, job(echoes), Echo)
    for failing in (refuses, leaks, reads_nowhere):
        with pytest.raises(NanonapError):
            isolated(tmp_path, job(failing), str, SMALL)
    assert left() == before


def test_several_threads_at_once_get_their_own_answers(sleepbench: Path, tmp_path: Path) -> None:
    found = {}

    def patch(number: int) -> None:
        out = tmp_path / f"out{number}"
        found[number] = patcher.patch(sleepbench, out, "slack", slack_ns=number).manifest.slack_ns

    threads = [threading.Thread(target=patch, args=[number]) for number in (1, 2, 3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {1: 1, 2: 2, 3: 3}


INTERRUPTED = """
import signal, sys
from pathlib import Path
from typing import Any
from patcher.child import Limits
from patcher.isolation import Job, both_isolated, isolated
WRITES = Limits(60, 1 << 30, 16 << 30, file_size=4096)
# As a shell's foreground has it: where the tests run in the background SIGINT is ignored, by children too.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
isolated(Path(sys.argv[1]), "tests.patcher.test_isolation:tells_and_waits", str, WRITES)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_of_the_command_is_the_end_of_its_child(tmp_path: Path, number: signal.Signals) -> None:
    told = tmp_path / "pid"
    told.touch()
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, told], cwd=PROJECT, stderr=subprocess.PIPE)
    while not told.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    wait_until(lambda: not alive(int(told.read_text())))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_without_address_space_for_the_emulator_the_error_says_so(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    words = ("patch", "--binary", str(program), "--out", str(out))
    answer = invoke(*words, wrapper=("sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh"))
    assert (answer.status, answer.out) == (NotEnoughMemory.exit_code, "")
    assert answer.err.count("\n") == 1
    assert "GiB of address space" in answer.err
    assert "ulimit -v" in answer.err
    assert not out.exists()


def test_a_crash_by_a_signal_without_a_name_is_an_error_as_any(tmp_path: Path) -> None:
    with pytest.raises(ReaderCrashed, match=r"\(signal 40\)"):
        isolated(tmp_path, job(crashes), str, number=40)
