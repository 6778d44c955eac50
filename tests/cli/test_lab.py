"""`lab` makes its environment wherever it lies and however it is called: by a link, after a move, twice at once.

A project of two files stands for this one: what lab does is the same, and takes seconds.
"""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from tests.patience import PATIENCE_S

PYPROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "small"
version = "1"
scripts = {invoke = "small:main"}

[tool.setuptools]
py-modules = ["small"]
"""
PROGRAM = """import os, sys
def main():
    print(sys.prefix, os.environ["NANONAP_COMMAND"], *sys.argv[1:])
"""
FOLDERS = ("nanonap", "patcher")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project of the same build, without an environment yet."""
    folder = tmp_path_factory.mktemp("labs") / "first place"
    for each in FOLDERS:
        (folder / each).mkdir(parents=True)
    shutil.copy2(PROJECT / "lab", folder)
    (folder / "nanonap" / "base").mkdir()
    shutil.copy2(PROJECT / "nanonap" / "base" / "interrupts.pth", folder / "nanonap" / "base")
    (folder / "requirements.lock").touch()
    (folder / "tasks.py").touch()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "small.py").write_text(PROGRAM)
    return folder


def start(lab: Path | str, **more: str) -> subprocess.Popen[str]:
    # setuptools is this environment's: nothing is fetched
    own = {"PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_INDEX": "1"}
    return subprocess.Popen(
        [lab, "--list"], env=os.environ | own | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answer(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, said


def listed(folder: Path, typed: str | None = None) -> str:
    return f"{folder / '.venv'} {typed or folder / 'lab'} --search-root {folder} --list\n"


@pytest.mark.long
def test_two_first_calls_make_one_environment(project: Path) -> None:
    calls = [answer(each) for each in [start(project / "lab") for _ in range(2)]]
    assert [(status, out) for status, out, _ in calls] == [(0, listed(project))] * 2, calls
    assert sum("making .venv" in said for _, _, said in calls) == 1


@pytest.mark.long
def test_a_link_on_path_leads_to_the_project(project: Path, tmp_path: Path) -> None:
    answer(start(project / "lab"))  # its environment may be another test's to make
    (tmp_path / "bin").mkdir()
    (tmp_path / "between").symlink_to(project / "lab")
    (tmp_path / "bin" / "nap").symlink_to("../between")
    # dash and bash give a script the path by which PATH led to it
    process = subprocess.Popen(
        ["sh", "-c", "nap --list"], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert answer(process) == (0, listed(project, f"{tmp_path}/bin/nap"), "")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.long
def test_a_moved_project_makes_its_environment_anew(project: Path) -> None:
    moved = project.rename(project.with_name("second place"))
    status, out, said = answer(start(moved / "lab"))
    assert (status, out) == (0, listed(moved)), said
    assert "making .venv" in said
    assert answer(start(moved / "lab")) == (0, listed(moved), "")


def test_a_python_that_is_too_old_or_missing_is_told(project: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(PROJECT / "nanonap", tmp_path / "copy" / "nanonap")).parent
    for name in ("lab", "requirements.lock", "pyproject.toml"):
        shutil.copy2(PROJECT / name, copied)
    status, out, said = answer(start(copied / "lab", PYTHON="/nosuch"))
    assert (status, out) == (2, "")
    assert said == "lab: Python 3.11 or later is needed; name one with PYTHON=/path/to/python3\n"
