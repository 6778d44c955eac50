"""Archives of cpio's format newc, of which the kernel makes its first file system.

Linux: Documentation/driver-api/early-userspace/buffer-format.rst. Several may follow each other in one file; a later
one adds to what an earlier one made. Nothing of this machine is in them but names, modes and contents.
"""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_MAGIC = b"070701"
_END = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """``name``: relative to the root; ``mode``: as stat(2) has it; ``content``: of a file, or a link's target."""

    name: str
    mode: int
    content: bytes = b""


def entries_of(folder: Path) -> Iterator[Entry]:
    """What is below a folder: folders, files and symbolic links."""
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(mode):
            yield Entry(name, mode, str(path.readlink()).encode())
        elif stat.S_ISDIR(mode):
            yield Entry(name, mode)
        elif stat.S_ISREG(mode):
            yield Entry(name, mode, path.read_bytes())


def file_entries(files: Iterable[tuple[str, bytes]]) -> Iterator[Entry]:
    """Executable files by their absolute paths, with the folders that they lie in before them.

    A folder that is there already stays as it is, a symbolic link to one too: the kernel opens it by its path.
    """
    made: set[PurePosixPath] = set()
    for name, content in files:
        path = PurePosixPath(name.lstrip("/"))
        for parent in reversed(path.parents[:-1]):
            if parent not in made:
                made.add(parent)
                yield Entry(str(parent), stat.S_IFDIR | 0o755)
        yield Entry(str(path), stat.S_IFREG | 0o755, content)


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive, with its end."""
    pieces = [_packed(number, each) for number, each in enumerate(entries, 1)]
    return b"".join((*pieces, _packed(0, Entry(_END, 0))))


def _packed(number: int, entry: Entry) -> bytes:
    # inode, mode, user, group, links, time, size, numbers of devices (4), the name's size, checksum
    name = entry.name.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
    header = _MAGIC + b"".join(b"%08x" % each for each in fields) + name
    return _aligned(header) + _aligned(entry.content)


def _aligned(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
