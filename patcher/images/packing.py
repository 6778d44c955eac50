"""A layer compressed again, as it was: the same members with the same headers, by the same compressor if it is zlib.

Which compressor wrote a layer is found by trying: zlib gives the same bytes for the same level again. What Go's
compress/gzip wrote (docker, BuildKit, podman), and others, cannot be made again: it gets
zlib's level 4, which takes half the time of the usual 6 for 3 % more bytes.
"""

import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, Self

from patcher.images.streams import GZIP, Member, Plain, zstd

_TRIED = 1 << 19  # bytes; enough for several blocks of any level
_LEVELS = (6, 9, 1, 5, 4, 3, 2, 7, 8)
_OTHERWISE = 4
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no system: as Go's compress/gzip writes it
_ZSTD_USUAL = 3
_MOST_WAITING = 8  # pieces of up to a MiB


@dataclass(frozen=True)
class Recipe:
    """How zlib makes a layer's bytes: its level and memLevel (zlib.h), and the gzip header before them."""

    level: int
    memory: int
    header: bytes

    @property
    def possible(self) -> bool:
        """Whether it can be one: an image's label may say anything."""
        return 1 <= self.level <= 9 and 1 <= self.memory <= 9 and self.header[:3] == GZIP + b"\x08"


class Packer(Protocol):
    """Takes what a layer expands to, piece by piece."""

    def write(self, piece: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """There are no more."""


def packer(stream: Plain, write: Callable[[bytes], None], recipe: Recipe | None) -> Packer:
    """One that compresses as a layer's stream is compressed, or by a recipe."""
    if recipe is not None:
        return GzipPacker([Member(0, recipe.header)], write, recipe)
    if stream.kind == "gzip":
        return GzipPacker(stream.members, write, None)
    return ZstdPacker(write, stream.first) if stream.kind == "zstd" else _AsItIs(write)


def new_packer(kind: str, write: Callable[[bytes], None]) -> Packer:
    """One for a new layer, compressed as others are."""
    if kind == "gzip":
        return GzipPacker([Member(0, _HEADER)], write, Recipe(_OTHERWISE, zlib.DEF_MEM_LEVEL, _HEADER))
    return ZstdPacker(write) if kind == "zstd" else _AsItIs(write)


class Behind:
    """Packs in a thread of its own, some pieces behind whoever writes: zlib and zstd let go of Python's lock."""

    def __init__(self, pack: Packer) -> None:
        """To be used in a ``with`` block."""
        self._pack, self._thread = pack, ThreadPoolExecutor(1)
        self._waiting = deque[Future[None]]()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """What was not begun is dropped."""
        self._thread.shutdown(cancel_futures=True)

    def write(self, piece: bytes) -> None:
        """As ``Packer``'s."""
        self._waiting.append(self._thread.submit(self._pack.write, piece))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().result()

    def rest(self) -> None:
        """Wait until all is packed; then there is no thread, and this process may fork, until the next piece."""
        for each in self._waiting:
            each.result()
        self._waiting.clear()
        self._thread.shutdown()
        self._thread = ThreadPoolExecutor(1)  # its thread starts with its first work

    def finish(self) -> None:
        """As ``Packer``'s."""
        self.rest()
        self._pack.finish()


class _AsItIs:
    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write

    def finish(self) -> None:
        pass


class GzipPacker:
    """Gzip members that begin where those of another file do; the list of them may grow while this is at work."""

    def __init__(self, members: list[Member], write: Callable[[bytes], None], recipe: Recipe | None) -> None:
        """``recipe``: found by trying where there is none."""
        self._members, self._write, self.recipe = members, write, recipe
        self._at, self._begun = 0, 0
        self._crc, self._size, self._deflate = 0, 0, zlib.compressobj()

    def write(self, piece: bytes) -> None:
        """As ``Packer``'s."""
        while True:
            while self._begun < len(self._members) and self._members[self._begun].start <= self._at:
                self._begin()
            more = self._members[self._begun :][:1]
            here = min(len(piece), more[0].start - self._at) if more else len(piece)
            self._crc = zlib.crc32(piece[:here], self._crc)
            self._size += here
            self._at += here
            self._write(self._deflate.compress(piece[:here]))
            piece = piece[here:]
            if not piece:
                return

    def finish(self) -> None:
        """As ``Packer``'s."""
        while self._begun < len(self._members):
            self._begin()
        self._end()

    def _begin(self) -> None:
        member = self._members[self._begun]
        if self._begun:
            self._end()
        else:
            self.recipe = self.recipe or tried(member)
        self._begun += 1
        level, memory = (self.recipe.level, self.recipe.memory) if self.recipe else (_OTHERWISE, zlib.DEF_MEM_LEVEL)
        self._write(member.header)
        self._crc, self._size = 0, 0
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, memory)

    def _end(self) -> None:
        self._write(self._deflate.flush())
        self._write(self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little"))


def tried(member: Member) -> Recipe | None:
    """The recipe by which zlib makes a member's first bytes again; None where it does not."""
    plain = member.plain[:_TRIED]
    for memory in (zlib.DEF_MEM_LEVEL, 9):
        for level in _LEVELS:
            deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, memory)
            made = deflate.compress(plain) or deflate.flush()
            if member.packed.startswith(made):
                return Recipe(level, memory, member.header)
    return None


class ZstdPacker:
    """One zstd frame, with a checksum if another frame, of which these are the first bytes, has one."""

    def __init__(self, write: Callable[[bytes], None], like: bytes = b"") -> None:
        """At its start."""
        zstandard = zstd("a layer")
        try:
            checksum = zstandard.get_frame_parameters(like).has_checksum
        except (zstandard.ZstdError, ValueError):  # there is none, or one that is to be skipped
            checksum = True
        self._write = write
        self._compress = zstandard.ZstdCompressor(level=_ZSTD_USUAL, write_checksum=checksum).compressobj()

    def write(self, piece: bytes) -> None:
        """As ``Packer``'s."""
        self._write(self._compress.compress(piece))

    def finish(self) -> None:
        """As ``Packer``'s."""
        self._write(self._compress.flush())
