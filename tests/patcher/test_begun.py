"""A child that is made before it is known for which file: confined before it prepares, used once, never left over."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import SystemIncomplete
from nanonap.base.paths import PROJECT
from nanonap.cli.program import _begin
from patcher import begun, child, inspection, isolation, patching
from patcher.begun import begin, take
from patcher.child import Request
from patcher.errors import NotEnoughMemory
from patcher.isolation import isolated
from patcher.source import readable
from tests.patience import PATIENCE_S, wait_until

prepared: list[str] = []


@pytest.fixture(autouse=True)
def _nobody_waits_afterwards() -> Iterator[None]:
    yield
    begun._end()


def each_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every child that can be one begun first."""

    def taken(request: Request) -> tuple[int, int] | None:
        if request.keep is None and not request.limits.file_size:
            begin(request.job, list)
        return take(request)

    monkeypatch.setattr(isolation, "take", taken)


def prepare(folder: Path) -> None:
    """What the file system says to a child that prepares itself, and what it has open."""
    try:
        (folder / "written").write_bytes(b"1")
        prepared.append("written")
    except OSError as error:
        prepared.append(errno.errorcode[error.errno or 0])
    prepared.extend(str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if os.path.lexists(each))


def tells(_: Path) -> tuple[str, ...]:
    return (str(os.getpid()), *prepared)


JOB = f"{__name__}:tells"
JOBS = ("patcher.patching:planned", "patcher.inspection:inspected")


def test_it_prepares_itself_confined_and_is_used_once(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        begin(JOB, lambda: prepare(tmp_path))
        pid, written, *files = isolated(tmp_path, JOB, tuple[str, ...])
    assert int(pid) != os.getpid()
    assert written in ("EACCES", "EFBIG")
    assert not [each for each in files if each.startswith(str(tmp_path))]
    again, *nothing = isolated(tmp_path, JOB, tuple[str, ...])
    assert again != pid
    assert nothing == []


def test_what_came_without_a_path_is_for_another_child(tmp_path: Path) -> None:
    begin(JOB, lambda: prepare(tmp_path))
    with readable(b"content") as source:
        _, *nothing = isolated(source.path, JOB, tuple[str, ...], keep=source.keep)
    assert nothing == []
    assert isolated(tmp_path, JOB, tuple[str, ...])[1:]


def test_one_that_has_ended_meanwhile_is_an_error_as_any(tmp_path: Path) -> None:
    begin(JOB, lambda: os.kill(os.getpid(), 9))
    with pytest.raises(NotEnoughMemory):
        isolated(tmp_path, JOB, tuple[str, ...])


def test_a_failure_to_prepare_is_no_error(tmp_path: Path) -> None:
    begin(JOB, lambda: int("none"))
    assert len(isolated(tmp_path, JOB, tuple[str, ...])) == 1


def test_one_that_cannot_confine_itself_says_so_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EACCES, "denied")

    looked = tmp_path / "looked"
    begin("another:job", list)
    monkeypatch.setattr(child, "_confine", refused)
    begin(JOB, looked.touch, tmp_path)
    with pytest.raises(SystemIncomplete, match="denied"):
        isolated(tmp_path, JOB, tuple[str, ...])
    assert not looked.exists()


def test_what_is_expected_is_looked_at_before_it_is_asked_for(tmp_path: Path) -> None:
    path, fifo = tmp_path / "file", tmp_path / "fifo"
    path.touch()
    os.mkfifo(fifo)
    begin(JOB, lambda: prepared.append(fifo.read_text()), path)
    pid = begun._waiting[JOB][0]

    def written() -> bool:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads
            return False
        with os.fdopen(descriptor, "w") as stream:
            stream.write("before")
        return True

    wait_until(written)
    assert isolated(path, JOB, tuple[str, ...]) == (str(pid), "before")


@pytest.mark.parametrize("what", ["another file", "written to", "another of that name"])
def test_what_was_not_expected_is_for_another_child(tmp_path: Path, what: str) -> None:
    expected, other = tmp_path / "expected", tmp_path / "other"
    for each in (expected, other):
        each.touch()
    begin(JOB, lambda: prepare(tmp_path), expected)
    pid = begun._waiting[JOB][0]
    if what == "written to":
        expected.write_bytes(b"")
    if what == "another of that name":
        other.replace(expected)
    meant = other if what == "another file" else expected
    told = isolated(meant, JOB, tuple[str, ...])
    assert told[0] != str(pid)
    assert told[1:] == ()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("words", ["--complete -- nanonap patch --binary=a", "patch --binary=a -h", "inspect --help"])
def test_what_patches_and_inspects_nothing_makes_none(words: str) -> None:
    _begin(["nanonap", *words.split()])
    assert not {"patcher.patching:planned", "patcher.inspection:inspected"} & set(begun._waiting)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("patch --binary service --json", "service"),
        ("patch --strategy sleep --binary=service", "service"),
        ("inspect --json service", "service"),
        ("--search-root . inspect service", "service"),
        ("inspect --json", None),
        ("revert service inspect service", ""),
        ("verify other patch --binary service", ""),
    ],
)
def test_the_file_that_a_command_names_is_expected(words: str, path: str | None) -> None:
    _begin(["nanonap", *words.split()])
    waiting = [begun._waiting[each] for each in JOBS if each in begun._waiting]
    assert [expected and str(expected[0]) for *_, expected in waiting] == ([] if path == "" else [path])


COMMAND = """
import os, sys, time
from pathlib import Path
from patcher.begun import begin
begin("a:job", lambda: time.sleep(600))
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
sys.stdin.read(1)
"""


@pytest.mark.parametrize("way", ["ends", "is killed"])
def test_a_command_that_comes_to_nothing_leaves_no_process(way: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        made = Path("/proc", process.stdout.readline().strip())
        assert made.exists()
        process.kill() if way == "is killed" else process.communicate("x", timeout=PATIENCE_S)
        wait_until(lambda: not made.exists() or ") Z " in (made / "stat").read_text())


@pytest.mark.parametrize(
    ("begun_for", "call"),
    [(patching.begin, lambda path: patcher.patch(path, path.with_name("out"))), (inspection.begin, patcher.inspect)],
    ids=["patch", "inspect"],
)
def test_those_that_are_made_early_are_the_ones_that_are_used(
    program: Path, begun_for: Callable[[], None], call: Callable[[Path], object]
) -> None:
    begun_for()
    assert begun._waiting
    call(program)
    assert not begun._waiting
