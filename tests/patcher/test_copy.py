"""A copy that is made beside other work: it is the source with the changes, or an error says what it is instead."""

import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

import patcher
from nanonap.base.dice import seeded
from nanonap.base.errors import DiskFull, NanonapError, SystemIncomplete
from patcher import rewrite
from patcher.errors import MalformedBinary, ManifestMismatch, ProofFailed, ShapeMismatch
from patcher.file.facts import FileFacts
from patcher.isolation import Job, both_isolated
from patcher.rewrite import Copy

SIZE = (3 << 20) + 123
CHANGES = ((0, b"first"), ((1 << 20) - 2, b"over a border"), (SIZE - 4, b"last"))
HOLES = 8 << 30


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(seeded(1).randbytes(SIZE))
    return path


@pytest.fixture
def copy(source: Path, tmp_path: Path) -> Copy:
    (tmp_path / "copy").touch()
    return Copy(source, tmp_path / "copy")


def facts(path: Path) -> FileFacts:
    return FileFacts.of(path.read_bytes())


def test_it_is_the_source_with_the_changes(source: Path, copy: Copy, tmp_path: Path) -> None:
    with copy:
        expected = bytearray(source.read_bytes())
    copy.edit(facts(source), CHANGES, tmp_path / "out")
    for at, new in CHANGES:
        expected[at : at + len(new)] = new
    assert (tmp_path / "copy").read_bytes() == expected


def test_where_the_kernel_cannot_copy_it_is_read_and_written(source: Path, tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as elsewhere:
        copy = Copy(source, Path(elsewhere.name))
        with copy:
            pass
        copy.edit(facts(source), (), tmp_path / "out")
        assert facts(Path(elsewhere.name)) == facts(source)


def test_a_source_that_is_another_by_then(copy: Copy, source: Path, tmp_path: Path) -> None:
    before = facts(source)
    with source.open("r+b") as stream:
        stream.write(b"changed")
    with copy:
        pass
    with pytest.raises(ManifestMismatch, match="changed while it was read"):
        copy.edit(before, CHANGES, tmp_path / "out")


def test_a_source_that_is_written_to_while_it_is_planned_for(copy: Copy, source: Path, tmp_path: Path) -> None:
    """After it was hashed: what is foretold later is of other bytes."""
    before = facts(source)
    with copy, source.open("r+b") as stream:
        copy._made.result()
        stream.write(b"changed")
    with pytest.raises(ManifestMismatch, match="changed while it was read"):
        copy.edit(before, CHANGES, tmp_path / "out")


def test_an_edit_of_other_bytes_than_are_there(copy: Copy, source: Path, tmp_path: Path) -> None:
    with copy:
        pass
    with pytest.raises(ProofFailed, match=f"at or after offset {1 << 20:#x}"):
        copy.edit(facts(source), CHANGES, tmp_path / "out", replaced=((1 << 20, b"others"),))


@pytest.mark.parametrize("at", [0, 1 << 20, SIZE - 1])
def test_a_copy_that_differs(
    monkeypatch: pytest.MonkeyPatch, copy: Copy, source: Path, tmp_path: Path, at: int
) -> None:
    fill = Copy._fill

    def wrong(self: Copy, descriptor: int, sink: FileIO) -> None:
        fill(self, descriptor, sink)
        sink.seek(at)
        sink.write(bytes([source.read_bytes()[at] ^ 1]))

    monkeypatch.setattr(Copy, "_fill", wrong)
    with copy:
        pass
    with pytest.raises(ProofFailed, match=f"at or after offset {at // (1 << 20) * (1 << 20):#x}"):
        copy.edit(facts(source), (), tmp_path / "out")


def test_a_change_beyond_the_end(copy: Copy, source: Path, tmp_path: Path) -> None:
    with copy:
        pass
    with pytest.raises(ProofFailed, match=f"at or after offset {SIZE:#x}"):
        copy.edit(facts(source), ((SIZE, b"more"),), tmp_path / "out")


def test_a_change_that_is_not_there_afterwards(
    monkeypatch: pytest.MonkeyPatch, copy: Copy, source: Path, tmp_path: Path
) -> None:
    with copy:
        pass
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(ProofFailed, match=f"at or after offset {CHANGES[0][0]:#x}"):
        copy.edit(facts(source), CHANGES, tmp_path / "out")


def test_no_room_is_told_by_the_target_and_only_when_asked(source: Path, tmp_path: Path) -> None:
    copy = Copy(source, Path("/dev/full"))
    with copy:
        pass
    with pytest.raises(DiskFull, match=str(tmp_path / "out")):
        copy.edit(facts(source), (), tmp_path / "out")


def test_an_error_in_the_block_ends_the_copying(copy: Copy, source: Path, tmp_path: Path) -> None:
    with source.open("r+b") as stream:
        stream.truncate(HOLES)
    with pytest.raises(KeyboardInterrupt), copy:
        raise KeyboardInterrupt
    assert (tmp_path / "copy").stat().st_size < HOLES


def test_a_file_that_changes_meanwhile_is_not_patched(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(path: Path, *jobs: Any, meanwhile: AbstractContextManager[object], **keep: Any) -> object:
        document = both_isolated(path, *jobs, **keep)
        with path.open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            stream.write(b"!")
        with meanwhile:  # it is copied by then
            return document

    monkeypatch.setattr("patcher.patching.both_isolated", changed)
    with pytest.raises(NanonapError, match="changed while it was read"):
        patcher.patch(program, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [program]


def test_ctrl_c_while_it_is_waited_for_ends_the_copying(
    monkeypatch: pytest.MonkeyPatch, copy: Copy, source: Path, tmp_path: Path
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with source.open("r+b") as stream:
        stream.truncate(HOLES)
    monkeypatch.setattr(rewrite, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), copy:
        pass
    assert (tmp_path / "copy").stat().st_size < HOLES


@pytest.mark.parametrize("there_are", [0, 1])
def test_without_threads_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch, copy: Copy, source: Path, tmp_path: Path, there_are: int
) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def starting(self: threading.Thread) -> None:
        if len(started) == there_are:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starting)
    with pytest.raises(SystemIncomplete, match=r"can't start new thread.*pids\.max"):
        with copy:
            pass
        copy.edit(facts(source), (), tmp_path / "out")


def refuses(path: Path) -> bool:
    raise ShapeMismatch(f"{path}: none")


def agrees(_: Path) -> bool:
    return True


@pytest.mark.parametrize("order", [(refuses, agrees), (agrees, refuses)], ids=["first", "second"])
def test_what_is_wrong_with_a_file_ends_the_copying(
    monkeypatch: pytest.MonkeyPatch, copy: Copy, source: Path, order: tuple[Callable[[Path], bool], ...]
) -> None:
    told: list[type[BaseException] | None] = []
    leave = Copy.__exit__

    def leaving(self: Copy, kind: type[BaseException] | None, *rest: Any) -> None:
        told.append(kind)
        leave(self, kind, *rest)

    monkeypatch.setattr(Copy, "__exit__", leaving)
    first, second = (Job(f"{__name__}:{each.__name__}", bool) for each in order)
    with pytest.raises(ShapeMismatch):
        both_isolated(source, first, second, meanwhile=copy)
    assert told == [ShapeMismatch]


def test_of_holes_nothing_is_copied(monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path) -> None:
    with source.open("r+b") as stream:
        stream.truncate(HOLES // 4)
    monkeypatch.setattr("patcher.patching.Copy", None)
    with pytest.raises(MalformedBinary, match="holes"):
        patcher.patch(source, tmp_path / "out")
