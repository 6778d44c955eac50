"""LIEF, Capstone, Keystone and Unicorn are loaded in the process that reads a file, and in no other."""

import subprocess
import sys
from pathlib import Path

from nanonap.base.paths import PROJECT

NATIVE = ("lief", "capstone", "keystone", "unicorn")
PUBLIC = (
    "out = path.with_name('out')",
    "patcher.inspect(path)",
    "patcher.patch(path, out)",
    "patcher.verify(out)",
    "patcher.revert(out)",
)


def imported(program: Path, *statements: str) -> set[str]:
    """The first names of the modules that a fresh interpreter imports for these statements."""
    text = "\n".join(["import pathlib, sys", f"path = pathlib.Path({str(program)!r})", "import patcher", *statements])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", text], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    told = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {each.partition(".")[0] for each in told}


def test_the_library_is_imported_without_them(program: Path) -> None:
    found = imported(program)
    assert "patcher" in found
    assert found.isdisjoint(NATIVE)


def test_the_process_that_writes_files_never_has_them(program: Path) -> None:
    found = imported(program, *PUBLIC)
    assert found.isdisjoint(NATIVE)
    assert program.with_name("out").read_bytes() == program.read_bytes()  # patched, verified and reverted


def test_what_is_done_in_the_child_takes_only_what_it_needs(program: Path) -> None:
    """A look at a file proves nothing; a patch has another process read the headers a second time."""
    inspected = imported(program, "from patcher.inspection import inspected", "inspected(path)")
    assert inspected & {*NATIVE} == {"capstone", "keystone"}
    planned = imported(program, "from patcher.patching import planned", "planned(path, 'netpoll', None)")
    assert planned & {*NATIVE} == {"capstone", "keystone", "unicorn"}
    read = imported(program, "from patcher.golang.image import read_twice", "read_twice(path)")
    assert read & {*NATIVE} == {"lief"}
