"""Bytes on their way: a blob that is read once from its start, hashed as it goes by, and what its compression hides."""

import hashlib
import importlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from patcher.images.errors import BadImage, EngineFailed, ImageTooLarge

CHUNK = 1 << 18  # bytes that are read at a time
PIECE = 1 << 20  # the most that comes out of a decompressor at a time
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # RFC 8878, 3.1.2
_MOST_WINDOW = 1 << 27  # bytes; what `zstd -d` itself takes without being told to
_FREE = 4 << 30  # bytes that anything may expand to
_MOST_DOCUMENTS = 8 << 20  # bytes; registries take manifests of 4 MiB
_RATIO = 200  # beyond that: bytes for each byte that is read
_MOST_MEMBERS = 1 << 16
_LONGEST_HEADER = 1 << 12


@dataclass
class Budget:
    """What one command reads and what that expands to: a bomb ends here."""

    raw: int = 0
    plain: int = 0
    documents: int = 0

    def spend_document(self, name: str, size: int) -> None:
        """A document that is kept: parsed, it takes some twenty times its size. Raises ImageTooLarge."""
        self.documents += size
        if self.documents > _MOST_DOCUMENTS:
            raise ImageTooLarge(f"{name}: the image's documents have more than {_MOST_DOCUMENTS >> 20} MiB")

    def spend(self, name: str, raw: int, plain: int) -> None:
        """Raises ImageTooLarge."""
        self.raw += raw
        self.plain += plain
        if self.plain > _FREE + _RATIO * self.raw:
            raise ImageTooLarge(f"{name}: expands to more than {_RATIO} times its size; this is no honest image")


@dataclass
class Raw:
    """A blob's bytes as they lie, ``size`` of them from ``offset`` of a descriptor, read in order."""

    name: str
    descriptor: int
    offset: int
    size: int
    budget: Budget
    at: int = 0
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def read(self, count: int = CHUNK) -> bytes:
        """The next bytes, none at the end. Raises BadImage where the file ends early or cannot be read."""
        wanted = min(count, self.size - self.at)
        try:
            piece = os.pread(self.descriptor, wanted, self.offset + self.at)
        except OSError as error:
            raise BadImage(f"{self.name}: cannot be read ({os.strerror(error.errno or 0)})") from error
        if wanted and not piece:
            raise BadImage(f"{self.name}: ends early, after {self.at} of {self.size} bytes")
        self.at += len(piece)
        self._hash.update(piece)
        self.budget.spend(self.name, len(piece), 0)
        return piece

    def digest(self) -> str:
        """``sha256:…`` of all of it: what was not read yet is read."""
        while self.read():
            pass
        return f"sha256:{self._hash.hexdigest()}"


@dataclass(frozen=True)
class Member:
    """One of the members of a gzip file: where it begins in what the file expands to, and its header's bytes.

    ``packed``: the compressed bytes that follow the header, as far as they were read, and ``plain``, some of what they
    expand to; both of the first member alone.
    """

    start: int
    header: bytes
    packed: bytes = b""
    plain: bytes = b""


class Plain:
    """What a blob expands to. ``kind``: "tar" (as it lies), "gzip" or "zstd", told by its first bytes."""

    def __init__(self, raw: Raw) -> None:
        """At its start."""
        self.raw, self.at, self.members = raw, 0, list[Member]()
        self.first = raw.read()
        self.kind = _kind(self.first)
        self._hash, self._pieces = hashlib.sha256(), self._expanded()
        self._piece, self._used = b"", 0

    def pieces(self, count: int | None = None) -> Iterator[bytes]:
        """The next ``count`` bytes, or all that are left, in pieces. Raises BadImage where there are fewer."""
        left = count
        while left is None or left > 0:
            if not self._more():
                if left is None:
                    return
                raise BadImage(f"{self.raw.name}: ends early, within an entry")
            piece = self._taken(len(self._piece) if left is None else left)
            left = None if left is None else left - len(piece)
            yield piece

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end alone."""
        found = self._taken(count)
        while len(found) < count and self._more():
            found += self._taken(count - len(found))
        return found

    def _more(self) -> bool:
        """Have a piece of which something is left. False at the end."""
        if self._used == len(self._piece):
            self._piece, self._used = next(self._pieces, b""), 0
        return bool(self._piece)

    def _taken(self, count: int) -> bytes:
        """What is left of the piece, but no more than that many bytes."""
        taken = self._piece[self._used : self._used + count]
        self._used += len(taken)
        self.at += len(taken)
        return taken

    def digest(self) -> str:
        """``sha256:…`` of all of it: what was not looked at yet is."""
        for _ in self.pieces():
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _expanded(self) -> Iterator[bytes]:
        expand = {"gzip": self._gunzipped, "zstd": self._unzstd, "tar": self._as_it_lies}[self.kind]
        for piece in expand():
            self._hash.update(piece)
            self.raw.budget.spend(self.raw.name, 0, len(piece))
            yield piece

    def _as_it_lies(self) -> Iterator[bytes]:
        piece = self.first
        while piece:
            yield piece
            piece = self.raw.read()

    def _gunzipped(self) -> Iterator[bytes]:
        data, made = self.first, 0
        while data:
            data = _at_least(self.raw, data, CHUNK)
            header = data[: _header_size(self.raw.name, data)]
            self.members.append(Member(made, header))
            if len(self.members) > _MOST_MEMBERS:
                raise ImageTooLarge(f"{self.raw.name}: more than {_MOST_MEMBERS} gzip members")
            inflater, ended, packed = zlib.decompressobj(31), False, data[len(header) :]
            while not inflater.eof:
                data = data or self.raw.read()
                ended = not data
                try:
                    piece = inflater.decompress(data, PIECE)
                except zlib.error as error:
                    raise BadImage(f"{self.raw.name}: damaged gzip data ({error})") from error
                if ended and not piece and not inflater.eof:
                    raise BadImage(f"{self.raw.name}: gzip data that ends early")
                if piece and not made:
                    self.members[0] = Member(0, header, packed, piece)
                data = inflater.unconsumed_tail
                made += len(piece)
                if piece:
                    yield piece
            data = inflater.unused_data or self.raw.read()

    def _unzstd(self) -> Iterator[bytes]:
        zstandard = zstd(self.raw.name)
        source: Any = _Source(self.raw, self.first)
        opener = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
        try:
            with opener.stream_reader(source, read_size=CHUNK, read_across_frames=True) as reader:
                while piece := reader.read(PIECE):
                    yield piece
        except zstandard.ZstdError as error:
            raise BadImage(f"{self.raw.name}: damaged zstd data ({error})") from error


def zstd(name: str) -> Any:  # noqa: ANN401 - a module
    """The library, which the core does without. Raises EngineFailed where it is not installed."""
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise EngineFailed(
            f"{name}: compressed by zstd; the package that reads it is not installed: pip install 'nanonap[zstd]'"
        ) from error


class _Source:
    """What a decompressor reads from: the first bytes, which are read already, and those that follow."""

    def __init__(self, raw: Raw, first: bytes) -> None:
        self._raw, self._first = raw, first

    def read(self, _size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or self._raw.read()


def _kind(first: bytes) -> str:
    if first.startswith(GZIP):
        return "gzip"
    if first.startswith(ZSTD) or int.from_bytes(first[:4], "little") in _SKIPPABLE:
        return "zstd"
    return "tar"


def _at_least(raw: Raw, data: bytes, count: int) -> bytes:
    while len(data) < count and (more := raw.read(count)):
        data += more
    return data


def _header_size(name: str, data: bytes) -> int:
    """Of a gzip member (RFC 1952, 2.3). Raises BadImage."""
    if len(data) < 10 or data[:3] != GZIP + b"\x08":
        raise BadImage(f"{name}: something that is no gzip data, behind or in place of it")
    flags, at = data[3], 10
    if flags & 4:  # FEXTRA
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (8, 16):  # FNAME, FCOMMENT
        if flags & flag:
            at = data.find(b"\0", at) + 1 or _LONGEST_HEADER + 1
    at += 2 if flags & 2 else 0  # FHCRC
    if at > min(_LONGEST_HEADER, len(data)):
        raise BadImage(f"{name}: a gzip header of more than {_LONGEST_HEADER} bytes, or one that ends early")
    return at
