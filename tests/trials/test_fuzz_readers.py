"""Readers that judge many files in a process: what ends it, or is wrong with one, is that file's alone."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanonap.toolchain.patched import Variant
from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.fuzz import readers
from nanonap.trials.fuzz.judge import Verdict
from nanonap.trials.fuzz.readers import INSPECT, read_all
from nanonap.trials.fuzz.remembered import forget_all, remember_all
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.inspection import inspected
from tests.conftest import BuildProgram
from tests.patcher.arm64.builds import build

ARMS = ["netpoll", "stock+slack1", INSPECT, "netpoll"]
WRONG = 1
MOST_CPU_S = 2
"""Seconds, a multiple of what a busy machine takes for a file that nothing is wrong with."""


@pytest.fixture
def folder(build_program: BuildProgram, tmp_path: Path) -> Path:
    for number in range(len(ARMS)):
        (tmp_path / str(number)).symlink_to(build_program("sleepbench"))
    return tmp_path


def wrong(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Have the file WRONG do something else when it is read."""
    read = readers._plan

    def plan(path: Path, variant: Variant) -> None:
        work() if path.name == str(WRONG) else read(path, variant)

    monkeypatch.setattr(readers, "_plan", plan)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ends() -> None:
    os._exit(7)


def waits_for_itself() -> None:
    while True:
        pass


def takes_all() -> None:
    everything = [bytes(range(256)) * (1 << 18)]
    while True:
        everything.append(everything[0] + b"x")


def takes_long() -> None:
    end = time.process_time() + MOST_CPU_S + 0.5
    while time.process_time() < end:
        pass


def takes_much() -> None:
    bytearray(b"x" * (200 << 20))


def lacks_a_key() -> None:
    raise KeyError("a table")


def has_no_memory() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("work", "outcome", "finding"),
    [
        (dies, "ReaderCrashed", None),
        (ends, "ReaderCrashed", None),
        (is_killed, "NotEnoughMemory", None),
        (has_no_memory, "ReaderTooLarge", None),
        (waits_for_itself, "ReaderTooSlow", "more than 2 s of CPU time"),
        (takes_all, "ReaderTooLarge", "more memory"),
        (takes_long, "read", " s of CPU time"),
        (takes_much, "read", "of memory for a file of"),
        (lacks_a_key, "a traceback", "KeyError: 'a table'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_one_file_does_is_told_of_it_and_the_others_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], outcome: str, finding: str | None
) -> None:
    wrong(monkeypatch, work)
    monkeypatch.setattr(readers, "_CPU_SECONDS", MOST_CPU_S if work is waits_for_itself else 20)
    monkeypatch.setattr(readers, "MOST_CPU_S", MOST_CPU_S)
    monkeypatch.setattr(readers, "most_memory", lambda _: (100 if work is takes_much else 1000) << 20)
    verdicts = read_all(folder, ARMS)
    assert verdicts[WRONG].outcome == outcome
    assert finding is None or finding in (verdicts[WRONG].finding or "")
    assert finding or verdicts[WRONG].finding is None
    assert {(each.outcome, each.finding) for each in verdicts if each is not verdicts[WRONG]} == {("read", None)}


def test_an_end_behind_others_that_does_not_come_again_alone_is_a_finding(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies_behind_others() -> None:
        if read_before:
            dies()

    read_before: list[str] = []
    verdict = readers._verdict

    def noting(path: Path, arm: str, before: int) -> Verdict:
        done = verdict(path, arm, before)
        read_before.append(path.name)
        return done

    monkeypatch.setattr(readers, "_verdict", noting)
    wrong(monkeypatch, dies_behind_others)
    verdicts = read_all(folder, ARMS)
    assert [each.outcome for each in verdicts] == ["read"] * len(ARMS)
    assert "not alone, but behind others" in (verdicts[WRONG].finding or "")


@pytest.fixture
def remembering() -> Iterator[None]:
    remember_all()
    yield
    forget_all()


@pytest.fixture(params=["amd64", "arm64"])
def program(request: pytest.FixtureRequest, build_program: BuildProgram) -> Path:
    return build_program("sleepbench") if request.param == "amd64" else build(DEFAULT_GO)


@pytest.mark.usefixtures("remembering")
def test_what_is_remembered_is_what_would_be_found_anew(program: Path) -> None:
    once, again = inspected(program), inspected(program)
    forget_all()
    assert inspected(program) == once == again


@pytest.mark.usefixtures("remembering")
def test_other_bytes_or_another_address_are_read_anew(program: Path, tmp_path: Path) -> None:
    functions = Functions(read_image(program))
    netpoll = functions.one("runtime.netpoll")
    before = functions.instructions(netpoll)
    damaged = bytearray(program.read_bytes())
    at = functions.image.offset_of(netpoll.start)
    size, nop = before[0].end - netpoll.start, functions.image.isa.nop
    damaged[at : at + size] = nop * (size // len(nop))
    (tmp_path / "damaged").write_bytes(damaged)
    after = Functions(read_image(tmp_path / "damaged")).instructions(netpoll)
    assert after[0].mnemonic == "nop" != before[0].mnemonic
    isa, code = functions.image.isa, functions.image.read(netpoll.start, netpoll.end - netpoll.start)
    for where in (0x1000, 0x2000):
        assert next(isa.decode(code, where)).address == min(isa.starts(code, where)) == where
