"""The judge of damaged files would see what it looks for: each rule is broken once."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from nanonap.trials.fuzz import judge as judge_module
from nanonap.trials.fuzz.judge import judge
from patcher.errors import ShapeMismatch
from tests.conftest import BuildProgram


@pytest.fixture
def program(build_program: BuildProgram, tmp_path: Path) -> Path:
    return Path(shutil.copy2(build_program("sleepbench"), tmp_path / "program"))


def raises_what_is_not_ours(*_: object, **__: object) -> None:
    raise KeyError("a table")


class Unescaped(ShapeMismatch):
    """An error whose message is shown as it is."""

    __str__ = Exception.__str__


def says_two_lines(*_: object, **__: object) -> None:
    raise Unescaped("one\ntwo")


def dies(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def takes_long(*_: object, **__: object) -> None:
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    raise ShapeMismatch("late")


def leaves_an_output(_: Path, out: Path, *__: object, **___: object) -> None:
    out.touch()
    raise ShapeMismatch("refused")


real_patch = patcher.patch


def changes_a_byte_more(binary: Path, out: Path, *rest: str, **options: bool) -> None:
    real_patch(binary, out, "netpoll")
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (raises_what_is_not_ours, "KeyError"),
        (says_two_lines, "more than one line"),
        (dies, "SIGSEGV"),
        (takes_long, "s of CPU time"),
        (leaves_an_output, "an output all the same"),
        (changes_a_byte_more, "cannot be verified and reverted"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_found(
    program: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., None], said: str
) -> None:
    monkeypatch.setattr(patcher, "patch", wrong)
    monkeypatch.setattr(judge_module, "MOST_CPU_S", 0.1 if wrong is takes_long else 60)
    finding = judge(program, "netpoll").finding
    assert finding is not None
    assert said in finding


def test_a_right_patch_and_a_refusal_are_no_findings(program: Path) -> None:
    assert judge(program, "netpoll").finding is None
    program.write_bytes(b"\x7fELF")
    verdict = judge(program, "netpoll")
    assert (verdict.outcome, verdict.finding) == ("MalformedBinary", None)
    with pytest.raises(NanonapError):
        patcher.patch(program, program.with_name("out"))
