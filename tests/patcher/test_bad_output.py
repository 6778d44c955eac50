"""An output that cannot be ends in one line that says why, its own exit status, and nothing written."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused

# $1: tmpfs options, $2: where; then the command. What is left in the tmpfs is listed on stdout.
IN_A_TMPFS = 'mount -t tmpfs -o "$1" none "$2" && d=$2 && shift 2 && { "$@"; status=$?; ls -A "$d"; exit $status; }'


def in_a_tmpfs(options: str, folder: Path) -> tuple[str, ...]:
    """Run a command with a file system of its own on ``folder``, in a mount namespace that ends with it."""
    folder.mkdir(exist_ok=True)
    privileges = () if os.geteuid() == 0 else ("--map-root-user",)
    return ("unshare", "--mount", *privileges, "sh", "-c", IN_A_TMPFS, "sh", options, str(folder))


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Name → inode, mode and content of all in a folder."""
    found = {}
    for each in sorted(folder.iterdir()):
        status = each.lstat()
        found[each.name] = (status.st_ino, status.st_mode, each.read_bytes() if each.is_file() else b"")
    return found


def test_an_existing_output_is_kept_without_force(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    out.write_text("precious")
    before = snapshot(out.parent)
    assert_refused(invoke("patch", "--binary", program, "--out", out), 21, str(out), "--force")
    assert snapshot(out.parent) == before


def test_an_existing_manifest_is_kept_without_force(invoke: Invoke, program: Path) -> None:
    manifest = program.with_name("out.patch.json")
    manifest.write_text("precious")
    before = snapshot(program.parent)
    answer = invoke("patch", "--binary", program, "--out", program.with_name("out"))
    assert_refused(answer, 21, str(manifest), "--force")
    assert snapshot(program.parent) == before


def test_force_replaces_output_and_manifest(invoke: Invoke, program: Path) -> None:
    out, manifest = program.with_name("out"), program.with_name("out.patch.json")
    for each in (out, manifest):
        each.write_text("worthless")
    assert invoke("patch", "--binary", program, "--out", out, "--force").status == 0
    assert invoke("verify", out).status == 0


def itself(program: Path) -> Path:
    return program


def by_a_longer_way(program: Path) -> Path:
    return program.parent / "." / ".." / program.parent.name / program.name


def a_symbolic_link(program: Path) -> Path:
    program.with_name("link").symlink_to(program)
    return program.with_name("link")


def a_hard_link(program: Path) -> Path:
    program.with_name("link").hardlink_to(program)
    return program.with_name("link")


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
@pytest.mark.parametrize("name", [itself, by_a_longer_way, a_symbolic_link, a_hard_link])
def test_the_input_is_never_the_output(
    invoke: Invoke, program: Path, name: Callable[[Path], Path], force: tuple[str, ...]
) -> None:
    out = name(program)
    before = snapshot(program.parent)
    assert_refused(invoke("patch", "--binary", program, "--out", out, *force), 23, "same file")
    assert snapshot(program.parent) == before


def test_the_input_never_gives_way_to_the_manifest(invoke: Invoke, program: Path) -> None:
    source = program.rename(program.with_name("out.patch.json"))
    before = snapshot(source.parent)
    assert_refused(invoke("patch", "--binary", source, "--out", source.with_name("out"), "--force"), 23, str(source))
    assert snapshot(source.parent) == before


def test_an_output_in_a_missing_folder_is_refused(invoke: Invoke, program: Path) -> None:
    out = program.parent / "nosuch" / "out"
    assert_refused(invoke("patch", "--binary", program, "--out", out), 22, str(out.parent), "no such folder")
    assert not out.parent.exists()


def test_an_output_below_a_file_is_refused(invoke: Invoke, program: Path) -> None:
    assert_refused(invoke("patch", "--binary", program, "--out", program / "out"), 22, str(program))


def test_an_output_that_is_a_folder_is_refused(invoke: Invoke, program: Path) -> None:
    folder = program.with_name("folder")
    folder.mkdir()
    assert_refused(invoke("patch", "--binary", program, "--out", folder, "--force"), 22, "a directory")
    assert list(folder.iterdir()) == []


def test_an_output_with_too_long_a_name_is_refused(invoke: Invoke, program: Path) -> None:
    before = snapshot(program.parent)
    answer = invoke("patch", "--binary", program, "--out", program.with_name("x" * 300))
    assert_refused(answer, 22, "File name too long")
    assert snapshot(program.parent) == before


def test_an_output_whose_manifest_has_too_long_a_name_is_refused(invoke: Invoke, program: Path) -> None:
    before = snapshot(program.parent)
    answer = invoke("patch", "--binary", program, "--out", program.with_name("x" * 250))
    assert_refused(answer, 22, "File name too long")
    assert snapshot(program.parent) == before


def test_a_pipe_or_device_is_never_replaced(invoke: Invoke, program: Path) -> None:
    """With --out /dev/null --force a whole machine would lose its null device."""
    pipe = program.with_name("pipe")
    os.mkfifo(pipe)
    assert_refused(invoke("patch", "--binary", program, "--out", pipe, "--force"), 22, str(pipe))
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_read_only_file_system_is_refused(invoke: Invoke, program: Path) -> None:
    folder = program.with_name("readonly")
    wrapper = in_a_tmpfs("ro", folder)
    answer = invoke("patch", "--binary", program, "--out", folder / "out", wrapper=wrapper)
    assert_refused(answer, 22, str(folder), "not writable")


@pytest.mark.parametrize("room", ["none", "half", "all but the manifest's"])
def test_a_full_disk_leaves_nothing(invoke: Invoke, program: Path, room: str) -> None:
    pages = -(-program.stat().st_size // 4096)
    size = {"none": 4096, "half": pages // 2 * 4096, "all but the manifest's": pages * 4096}[room]
    folder = program.with_name("small")
    wrapper = in_a_tmpfs(f"size={size}", folder)
    answer = invoke("patch", "--binary", program, "--out", folder / "out", wrapper=wrapper)
    assert_refused(answer, 24, f"{folder / 'out'}", "no room on the file system")


def test_a_full_disk_is_full_by_a_little(invoke: Invoke, program: Path) -> None:
    """With room for the manifest the same command succeeds: the test above fails for want of room and nothing else."""
    folder = program.with_name("small")
    size = -(-program.stat().st_size // 4096) * 4096 + 8192
    answer = invoke("patch", "--binary", program, "--out", folder / "out", wrapper=in_a_tmpfs(f"size={size}", folder))
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.endswith("\nout\nout.patch.json\n")


def test_a_file_without_a_readable_name_is_patched_all_the_same(invoke: Invoke, program: Path) -> None:
    """File names are bytes; one that is no UTF-8 cannot be shown as it is, and that is no reason to fail."""
    source = program.rename(program.with_name(os.fsdecode(b"pro\xffgram")))
    out = program.with_name(os.fsdecode(b"o\xfft"))
    wrapper = ("env", "PYTHONIOENCODING=utf-8:strict")
    answer = invoke("patch", "--binary", source, "--out", out, wrapper=wrapper)
    assert (answer.status, answer.err) == (0, "")
    subprocess.run([out, "-plan", "1us*1"], capture_output=True, check=True)
