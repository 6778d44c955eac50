"""What the command line takes and what it tells to type next."""

import os
import subprocess
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.base.terminal import TYPED, command
from tests.cli.options import tasks
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused
from tests.warm import INVOKE

TAKING_FILES = [name for name, task in tasks().items() if any(each.positional for each in task.get_arguments())]


@pytest.mark.parametrize(
    "words",
    [("patch", "--binary", ""), ("patch", "--out", ""), ("inspect", ""), ("predict", "--quota", "50%", "--plot", ""),
     ("bench", "--seed="), ("quota", "patch", "--strategy", "")],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_value_is_refused_before_any_task(invoke: Invoke, words: tuple[str, ...]) -> None:
    assert_refused(invoke(*words), 2, "is empty")


@pytest.mark.parametrize("name", TAKING_FILES)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_shown_behind_a_tasks_name(invoke: Invoke, name: str, flag: str) -> None:
    behind, before = invoke(name, flag), invoke("--help", name)
    assert behind == before
    assert f"{name} [--options]" in behind.out


def test_an_unknown_option_is_no_file(invoke: Invoke, program: Path) -> None:
    answer = invoke("inspect", "--jsno", program)
    assert (answer.status, answer.out) == (2, "")
    assert "--jsno" in answer.err
    odd = program.rename(program.with_name("-odd"))
    done = subprocess.run(
        [INVOKE, "-r", PROJECT, "inspect", "./-odd"], cwd=odd.parent, capture_output=True, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["an 'odd' $name", "an 'odd'\n$name", os.fsdecode(b"o\xfft")])
@pytest.mark.parametrize("typed", ["./lab", "invoke"])
def test_the_undo_line_can_be_pasted(program: Path, name: str, typed: str) -> None:
    out = program.with_name(name)
    environment = {key: value for key, value in os.environ.items() if key != TYPED}
    environment["PATH"] = f"{Path(INVOKE).parent}:{environment['PATH']}"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)

    told = run(typed, "patch", "--binary", str(program), "--out", str(out)).stdout
    line = next(line for line in told.splitlines() if line.startswith("  undo "))
    pasted = line.removeprefix("  undo").strip()
    assert pasted.startswith(f"{typed} revert ")
    run("bash", "-c", pasted)
    assert out.read_bytes() == program.read_bytes()


def test_a_refusal_tells_the_command_as_it_was_typed(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    assert invoke("patch", "--binary", program, "--out", out).status == 0
    answer = invoke("patch", "--binary", out, wrapper=("env", f"{TYPED}=../my lab"))
    assert_refused(answer, 9, f"run `'../my lab' revert {out}` first")


def test_a_file_whose_name_is_like_an_option_is_told_with_its_folder() -> None:
    assert command("revert", Path("-x")).endswith(" revert ./-x")
