"""An output that cannot be ends in one line that says why, its own exit status, and nothing written."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import PROJECT
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused
from tests.patience import PATIENCE_S
from tests.warm import INVOKE

# $1: tmpfs options, $2: where; then the command. What is left in the tmpfs is listed on stdout.
IN_A_TMPFS = 'mount -t tmpfs -o "$1" none "$2" && d=$2 && shift 2 && { "$@"; status=$?; ls -A "$d"; exit $status; }'


REFUSE = str(Path(__file__).with_name("refuse.py"))
_UNSHARED = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))


def in_a_tmpfs(options: str, folder: Path) -> tuple[str, ...]:
    """Run a command with a file system of its own on ``folder``, in a mount namespace that ends with it."""
    folder.mkdir(exist_ok=True)
    return (*_UNSHARED, "sh", "-c", IN_A_TMPFS, "sh", options, str(folder))


def namespace(script: str) -> tuple[str, ...]:
    """Run a command in a mount namespace of its own, after what the script changes there."""
    return (*_UNSHARED, "sh", "-c", f'{script} && exec "$@"', "sh")


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


def test_of_two_patches_at_once_one_is_told_that_the_output_exists(program: Path) -> None:
    out = program.with_name("out")
    command = [INVOKE, "patch", "--binary", str(program), "--out", str(out), "--strategy", "slack", "--slack-ns"]
    both = [
        subprocess.Popen([*command, slack], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for slack in ("1000", "2000")
    ]
    said = [each.communicate(timeout=PATIENCE_S)[1] for each in both]
    statuses = [each.returncode for each in both]
    assert sorted(statuses) == [0, 21], said
    assert "exists already" in said[statuses.index(21)]
    assert patcher.verify(out).manifest.slack_ns == (1000, 2000)[statuses.index(0)]
    assert sorted(each.name for each in program.parent.iterdir()) == ["out", "out.patch.json", "program"]


@pytest.mark.parametrize("taken", ["first", "second"])
@pytest.mark.parametrize("links", ["with links", "without links"])
def test_a_name_that_is_taken_meanwhile_is_anothers(tmp_path: Path, taken: str, links: str) -> None:
    """Without hard links, as on FAT: link(2) is refused by a filter."""
    code = f"""
from pathlib import Path
from nanonap.base.errors import OutputExists
from nanonap.base.files import beside_all
here = Path({str(tmp_path)!r})
try:
    with beside_all(here / "first", here / "second", replace=False) as ours:
        for each in ours:
            each.write_text("ours")
        (here / {taken!r}).write_text("another's")
except OutputExists as error:
    print(error)
"""
    wrapper = () if links == "with links" else (sys.executable, REFUSE, "86", str(errno.EPERM))
    command = [*wrapper, sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / taken}: exists already")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {taken: "another's"}


def test_a_file_system_without_links_is_written_to(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    answer = invoke(
        "patch", "--binary", program, "--out", out, wrapper=(sys.executable, REFUSE, "86", str(errno.EPERM))
    )
    assert (answer.status, answer.err) == (0, "")
    assert patcher.verify(out).by == "manifest"
    assert sorted(each.name for each in program.parent.iterdir()) == ["out", "out.patch.json", "program"]
