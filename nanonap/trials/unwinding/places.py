"""Where a program was loaded: addresses of a process turned into those that the file was linked at."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from patcher.golang.image import read_image


@dataclass(frozen=True)
class CodeMap:
    """A process's map of a file's code: ``start`` is where the file's byte ``offset`` lies."""

    path: Path
    start: int
    offset: int

    def linked(self, address: int) -> int:
        """The address in the file that an address of the process is. They differ in a PIE alone."""
        segment_address, segment_offset = _code_segment(self.path)
        return address - self.start + self.offset - segment_offset + segment_address


def code_map(pid: int, path: Path) -> CodeMap:
    """That of a process which runs ``path``. Raises LookupError without code."""
    return code_map_in(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace"), path)


def code_map_in(maps: str, path: Path) -> CodeMap:
    """Read a process's maps (proc_pid_maps(5)), in which ``path`` is what it runs. Raises LookupError without code."""
    for line in maps.splitlines():
        span, permissions, offset, _device, _inode, *name = line.split(maxsplit=5)
        if "x" in permissions and name and name[0] == str(path.resolve()):
            return CodeMap(path, int(span.partition("-")[0], 16), int(offset, 16))
    raise LookupError(f"the process maps no code of {path}")


@cache
def _code_segment(path: Path) -> tuple[int, int]:
    """Address and file offset of the executable segment."""
    segment = next(each for each in read_image(path).segments if each.executable)
    return segment.address, segment.offset
