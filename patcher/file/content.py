"""A file's bytes: mapped, not read, so that a sparse file of any size costs nothing before its headers are checked."""

import contextlib
import errno
import io
import mmap
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Union

from patcher import errors
from patcher.file.changes import Change, lay_over

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

Content = Union[bytes, "Mapped"]
LARGEST = 4 << 30  # bytes; the largest Go programs have some hundred MiB
_MAY_BE_HOLES = 256 << 20  # bytes; reading so many zeros takes no time that anybody would notice
_MOST_PIECES = 4096
_PIECE = 1 << 20  # bytes of a file that are in memory at a time
_SAMPLE = 1 << 12
_RARE = 1 << 11  # one in so many bytes
_WORTH_A_PATTERN = 1 << 18  # bytes; to make one takes as long as to look through some hundred thousand


class Mapped(mmap.mmap):
    """A file's content, read from the disk where it is looked at; what was looked through is not kept in memory."""

    changed: tuple[Change, ...] = ()

    def find(self, needle: "ReadableBuffer", start: int = 0, stop: int | None = None, /) -> int:
        """As of bytes; ``re`` looks for the first byte twice as fast as mmap.find does for all of them."""
        end, wanted = len(self) if stop is None else min(stop, len(self)), bytes(needle)
        if end - start < _WORTH_A_PATTERN:
            return super().find(wanted, start, end)
        pattern = re.compile(re.escape(wanted), re.DOTALL)
        for low in range(start, end, _PIECE):
            if hit := pattern.search(self, low, min(low + _PIECE + len(wanted) - 1, end)):
                return hit.start()
            self.forget(low, low + _PIECE)
        return -1

    def forget(self, start: int, stop: int) -> None:
        """Give back the memory of the whole pages in ``[start, stop)``; they are read again where they are needed.

        Changes that are laid over the file lie in memory alone: what is near them stays.
        """
        first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, min(stop, len(self)) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last and not any(offset < last and offset + len(new) > first for offset, new in self.changed):
            self.madvise(mmap.MADV_DONTNEED, first, last - first)


def forget(data: Content, start: int, stop: int) -> None:
    """Of a content that is mapped, ``Mapped.forget``."""
    if isinstance(data, Mapped):
        data.forget(start, stop)


def matches(
    pattern: re.Pattern[bytes], first: bytes, data: Content, start: int, stop: int
) -> Iterator[re.Match[bytes]]:
    """As ``pattern.finditer`` of a piece of a file, for a pattern that takes the byte ``first`` and looks around it.

    ``re`` compares every byte with that one; where it is rare, bytes.find (memchr(3)) is there ten times as soon.
    """
    if data[start : min(start + _SAMPLE, stop)].count(first) <= _SAMPLE // _RARE:
        piece, at = data[start:stop], -1
        for _ in range(len(piece) // _RARE + 1):
            at = piece.find(first, at + 1)
            if at == -1:
                return
            if hit := pattern.match(data, start + at, stop):
                yield hit
        start += at + 1
    yield from pattern.finditer(data, start, stop)


def check_file(path: Path) -> None:
    """Raises as ``opened`` where a path names no file that can be read."""
    with opened(path):
        pass


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file of a size that can be. Raises InputNotFound, NotARegularFile, MalformedBinary."""
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > LARGEST:
            raise errors.MalformedBinary(
                f"{path}: has {size >> 20} MiB; a program has at most {LARGEST >> 20} MiB: name a Go program"
            )
        if size > _MAY_BE_HOLES and _written(descriptor, size) < size // 2:
            raise errors.MalformedBinary(
                f"{path}: most of its {size >> 20} MiB are holes, as in no program: name a Go program"
            )
        yield descriptor


def _written(descriptor: int, size: int) -> int:
    """How many bytes of a file are no holes (lseek(2), SEEK_DATA); what lies behind very many pieces counts as none."""
    found = end = 0
    with contextlib.suppress(OSError):  # ENXIO: there is no more data
        for _ in range(_MOST_PIECES):
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
            found += end - start
        found += size - end
    os.lseek(descriptor, 0, os.SEEK_SET)
    return found


def mapped(descriptor: int) -> Content:
    """A file's content, read from the disk where it is looked at; writes of others to the file are seen."""
    if os.fstat(descriptor).st_size == 0:
        return b""
    return Mapped(descriptor, 0, prot=mmap.PROT_READ)


def mapped_with(descriptor: int, changes: Iterable[Change]) -> Content:
    """The same with changes laid over it, of which the file learns nothing: only their pages are copied."""
    if os.fstat(descriptor).st_size == 0:
        return b""
    content = Mapped(descriptor, 0, access=mmap.ACCESS_COPY)
    content.changed = tuple(changes)
    for offset, new in content.changed:
        content[offset : offset + len(new)] = new
    return content


def pieces(descriptor: int) -> Iterator[bytes]:
    """A file's content from its start, a piece at a time."""
    at = 0
    while piece := os.pread(descriptor, _PIECE, at):
        yield piece
        at += len(piece)


def pieces_of(data: Content) -> Iterator[memoryview]:
    """A content in pieces, none of which is a copy."""
    whole = memoryview(data)
    for at in range(0, len(data), _PIECE):
        yield whole[at : at + _PIECE]
        forget(data, at, at + _PIECE)


class Reader(io.RawIOBase):
    """A file with changes laid over it, to read from; ``mapped_with`` is the same, but what is read there stays."""

    def __init__(self, descriptor: int, changes: Iterable[Change]) -> None:
        """At its start."""
        self._descriptor, self._changes, self._at = descriptor, tuple(changes), 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As a file's."""
        size = os.fstat(self._descriptor).st_size
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """As a file's."""
        view = memoryview(buffer).cast("B")
        count = os.preadv(self._descriptor, [view], self._at)
        lay_over(view[:count], self._at, self._changes)
        self._at += count
        return count


class Beginning(io.RawIOBase):
    """The first ``size`` bytes of a stream, as if it ended there."""

    def __init__(self, source: io.BufferedIOBase, size: int) -> None:
        """At its start."""
        self._source, self._size, self._at = source, size, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As a file's."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """As a file's."""
        self._source.seek(self._at)
        count = self._source.readinto(memoryview(buffer).cast("B")[: max(0, self._size - self._at)])
        self._at += count
        return count


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait for its writer
    except FileNotFoundError as error:
        raise errors.InputNotFound(f"{path}: no such file; check the path") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket cannot be opened at all
            raise _irregular(path) from error
        raise errors.InputNotFound(f"{path}: cannot be read ({os.strerror(error.errno or 0)})") from error
    except ValueError as error:  # a null character in the name
        raise errors.InputNotFound(f"{str(path)!r}: cannot be read ({error})") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _irregular(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _irregular(path: Path) -> errors.NotARegularFile:
    return errors.NotARegularFile(f"{path}: not a regular file; name a Go executable")
