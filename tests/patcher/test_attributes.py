"""Owner, mode and extended attributes of the input are the output's too; what could not be kept is told."""

import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import patcher
from tests.patcher.conftest import Invoke

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away and set capabilities")

# struct vfs_cap_data, revision 2, effective, CAP_NET_BIND_SERVICE permitted (linux/include/uapi/linux/capability.h)
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
# posix_acl_xattr, version 2: owner rwx, user 1234 r-x, group r-x, mask r-x, others nothing
ACCESS_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, who)
    for tag, permissions, who in (
        (1, 7, 0xFFFFFFFF),
        (2, 5, 1234),
        (4, 5, 0xFFFFFFFF),
        (16, 5, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    )
)
IN_A_RAMFS = 'mount -t ramfs none "$1" && d=$1 && shift && "$@"'


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def patched(program: Path) -> patcher.Patched:
    return patcher.patch(program, program.with_name("out"))


@pytest.mark.parametrize("mode", [0o755, 0o500, 0o4755, 0o2751, 0o6711, 0o644, 0o1755])
def test_the_mode_is_kept(program: Path, mode: int) -> None:
    program.chmod(mode)
    done = patched(program)
    assert stat.S_IMODE(done.out.stat().st_mode) == mode
    assert done.warnings == ()


def test_the_umask_does_not_matter(program: Path) -> None:
    program.chmod(0o777)
    before = os.umask(0o077)
    try:
        done = patched(program)
    finally:
        os.umask(before)
    assert stat.S_IMODE(done.out.stat().st_mode) == 0o777


def test_users_attributes_are_kept(program: Path) -> None:
    os.setxattr(program, "user.origin", b"here\0there")
    os.setxattr(program, "user.empty", b"")
    done = patched(program)
    assert attributes(done.out) == {"user.origin": b"here\0there", "user.empty": b""}
    assert done.warnings == ()


def test_an_access_list_is_kept(program: Path) -> None:
    os.setxattr(program, "system.posix_acl_access", ACCESS_LIST)
    done = patched(program)
    assert attributes(done.out)["system.posix_acl_access"] == ACCESS_LIST
    assert done.out.stat().st_mode == program.stat().st_mode


@needs_root
def test_owner_set_user_id_and_capabilities_are_kept_together(program: Path) -> None:
    """chown(2) clears the other two, so the order of setting them matters."""
    os.chown(program, 12345, 54321)
    program.chmod(0o6755)
    os.setxattr(program, "security.capability", CAPABILITY)
    done = patched(program)
    status = done.out.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o6755)
    assert attributes(done.out) == {"security.capability": CAPABILITY}
    assert done.warnings == ()


@needs_root
def test_revert_keeps_them_too(program: Path) -> None:
    os.chown(program, 12345, 54321)
    program.chmod(0o6755)
    os.setxattr(program, "security.capability", CAPABILITY)
    out = patched(program).out
    for reverted in (patcher.revert(out, program.with_name("elsewhere")).out, patcher.revert(out).out):
        status = reverted.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o6755)
        assert attributes(reverted) == {"security.capability": CAPABILITY}


def test_the_manifest_may_be_read_by_all(program: Path) -> None:
    program.chmod(0o700)
    assert stat.S_IMODE(Path(f"{patched(program).out}.patch.json").stat().st_mode) == 0o644


def test_an_attribute_that_cannot_be_kept_is_told(invoke: Invoke, program: Path) -> None:
    """ramfs has no extended attributes."""
    os.setxattr(program, "user.origin", b"here")
    folder = program.with_name("ramfs")
    folder.mkdir()
    privileges = () if os.geteuid() == 0 else ("--map-root-user",)
    wrapper = ("unshare", "--mount", *privileges, "sh", "-c", IN_A_RAMFS, "sh", str(folder))
    answer = invoke("patch", "--binary", program, "--out", folder / "out", wrapper=wrapper)
    assert answer.status == 0
    assert "extended attribute user.origin could not be kept (Operation not supported)" in answer.out


AS_ANOTHER_USER = """
import importlib.resources, os, sys
from pathlib import Path
import patcher
import patcher.patching, patcher.proving, patcher.isa.amd64.processor
import capstone, keystone, lief  # the other may not read where they lie
os.setegid(65534)
os.seteuid(65534)
print(*patcher.patch(Path(sys.argv[1]), Path(sys.argv[2])).warnings, sep="\\n")
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter and write to; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@needs_root
def test_an_owner_that_cannot_be_kept_is_told_and_takes_set_user_id_along(sleepbench: Path, open_folder: Path) -> None:
    """As cp(1) does: a set-user-ID program of root's must not become one of whoever copies it."""
    program, out = Path(shutil.copy(sleepbench, open_folder / "program")), open_folder / "out"
    program.chmod(0o4755)
    os.setxattr(program, "security.capability", CAPABILITY)
    command = [sys.executable, "-c", AS_ANOTHER_USER, str(program), str(out)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "owner 0:0 could not be kept (Operation not permitted)" in told
    assert "extended attribute security.capability could not be kept (Operation not permitted)" in told
    assert out.stat().st_uid == 65534
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    assert "mode 4755 could not be kept" in told


@needs_root
def test_revert_tells_what_could_not_be_kept(invoke: Invoke, program: Path) -> None:
    os.setxattr(program, "user.origin", b"here")
    out = patched(program).out
    folder = program.with_name("ramfs")
    folder.mkdir()
    wrapper = ("unshare", "--mount", "sh", "-c", IN_A_RAMFS, "sh", str(folder))
    answer = invoke("revert", out, "--out", folder / "original", wrapper=wrapper)
    assert answer.status == 0
    assert "extended attribute user.origin could not be kept" in answer.out + answer.err
