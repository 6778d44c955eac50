"""Where an image lies: a folder or an archive with the OCI layout in it, or an archive as `docker save` writes them."""

import contextlib
import os
import posixpath
import re
import stat
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanonap.base.files import temporary_failed
from patcher.errors import InputNotFound
from patcher.images.errors import BadImage, ImageTooLarge
from patcher.images.streams import CHUNK, Budget, Plain, Raw
from patcher.images.tar import BLOCK, HARD, REGULAR, SYMBOLIC, entries

_MOST_FILES = 100_000  # of an archive; an image has a few for each layer
_MOST_HOPS = 8
_OWN = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")  # what a layout's folder has


@dataclass(frozen=True)
class Blob:
    """A file of an image: a part of an open archive, or a file of a folder, which is open while it is read.

    ``name`` tells it from all others.
    """

    name: str
    place: int | Path
    offset: int
    size: int
    budget: Budget

    def read(self) -> Raw:
        """It, from its start. Raises BadImage where it cannot be opened."""
        if isinstance(self.place, int):
            return Raw(self.name, self.place, self.offset, self.size, self.budget)
        descriptor = _opened(self.place)
        if descriptor is None:
            raise BadImage(f"{self.name}: is gone; try again")
        raw = Raw(self.name, descriptor, 0, self.size, self.budget)
        weakref.finalize(raw, os.close, descriptor)
        return raw

    def content(self) -> bytes:
        """All of a document. Raises ImageTooLarge, or BadImage."""
        self.budget.spend_document(self.name, self.size)
        raw, found = self.read(), bytearray()
        while piece := raw.read():
            found += piece
        return bytes(found)


class Store:
    """The files of an image by their names, as in the OCI layout: ``index.json``, ``blobs/sha256/…``."""

    def __init__(self, name: str, budget: Budget) -> None:
        """Called ``name`` in errors."""
        self.name, self.budget = name, budget

    def file(self, name: str) -> Blob | None:
        """A file by its name, None where there is none. Raises BadImage for what is no regular file."""
        raise NotImplementedError

    def needed(self, name: str) -> Blob:
        """The same. Raises BadImage where there is none."""
        found = self.file(name)
        if found is None:
            raise BadImage(f"{self.name}: has no {name}")
        return found

    def blob(self, digest: str) -> Blob | None:
        """What a digest names."""
        return self.file(f"blobs/{digest.replace(':', '/')}")


class FolderStore(Store):
    """An OCI layout in a folder. No link in it is followed, and no other file is read."""

    def __init__(self, name: str, folder: Path, budget: Budget) -> None:
        """Nothing is opened yet."""
        super().__init__(name, budget)
        self._folder = folder

    def file(self, name: str) -> Blob | None:
        """As ``Store``'s."""
        path = self._folder / name
        descriptor = _opened(path) if _OWN.fullmatch(name) else None
        if descriptor is None:
            return None
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(f"{path}: not a regular file")
        return Blob(str(path), path, 0, status.st_size, self.budget)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadImage(f"{path}: cannot be read ({os.strerror(error.errno or 0)})") from error


class ArchiveStore(Store):
    """An archive: its files are found once, by their headers."""

    def __init__(self, name: str, stream: BinaryIO, budget: Budget) -> None:
        """Raises BadImage where it is no archive."""
        super().__init__(name, budget)
        self._places, self._links = dict[str, tuple[int, int]](), dict[str, str]()
        self._descriptor = stream.fileno()
        size = os.fstat(self._descriptor).st_size
        if not size:
            raise BadImage(f"{name}: empty: see what the command said that was to write it")
        for entry in entries(_Seeking(Raw(name, self._descriptor, 0, size, budget))):
            own = _normal(entry.name)
            if len(self._places) + len(self._links) >= _MOST_FILES:
                raise ImageTooLarge(f"{name}: more than {_MOST_FILES} files")
            if entry.kind == REGULAR and not entry.sparse:
                self._places[own] = (entry.offset, entry.size)
            elif entry.kind == SYMBOLIC:
                self._links[own] = posixpath.join(posixpath.dirname(own), _normal(entry.link, keep_up=True))
            elif entry.kind == HARD:
                self._links[own] = _normal(entry.link)

    def file(self, name: str) -> Blob | None:
        """As ``Store``'s; links lead to other files of the archive alone."""
        name = posixpath.normpath(name)
        for _ in range(_MOST_HOPS):
            if name not in self._links:
                break
            name = posixpath.normpath(self._links[name])
        if name not in self._places:
            return None
        offset, size = self._places[name]
        return Blob(f"{name} in {self.name}", self._descriptor, offset, size, self.budget)


class _Seeking(Plain):
    """An archive as it lies, of which what is not asked for is not read."""

    def pieces(self, count: int | None = None) -> Iterator[bytes]:
        """Skips them. Raises BadImage where they end early; what fills the last block may be missing."""
        self.at += count or 0
        if self.at >= self.raw.size + BLOCK:
            raise BadImage(f"{self.raw.name}: ends early, after {self.raw.size} bytes: an archive that was cut off")
        self.raw.at = self.at = min(self.raw.size, self.at)
        return iter(())

    def read(self, count: int) -> bytes:
        """As of ``Plain``."""
        self.raw.at = self.at
        found = self.raw.read(count)
        self.at += len(found)
        return found


def _normal(name: bytes, *, keep_up: bool = False) -> str:
    text = os.fsdecode(name)
    return text if keep_up else posixpath.normpath(text.lstrip("/") or ".")


@contextlib.contextmanager
def opened(place: Path | BinaryIO, name: str, budget: Budget) -> Iterator[Store]:
    """A folder, an archive, or a stream of one. Raises InputNotFound or BadImage."""
    with contextlib.ExitStack() as stack:
        if isinstance(place, Path) and place.is_dir():
            yield FolderStore(name, place, budget)
            return
        stream = stack.enter_context(_file(place)) if isinstance(place, Path) else place
        yield ArchiveStore(name, stack.enter_context(_kept(stream, name, budget)), budget)


def _file(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise InputNotFound(f"{path}: no such file or folder; check the path") from error
    except (OSError, ValueError) as error:
        raise InputNotFound(f"{path}: cannot be read ({error})") from error


@contextlib.contextmanager
def _kept(stream: BinaryIO, name: str, budget: Budget) -> Iterator[BinaryIO]:
    """The stream itself where it is a file that can be read at any place; else a copy of it, which has no name.

    An archive's list of what is in it comes last, or is compressed with it: it takes two ways through.
    """
    with contextlib.ExitStack() as stack:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            stream = stack.enter_context(scratch(_all_of(stream, name)))
        plain = Plain(Raw(name, stream.fileno(), 0, os.fstat(stream.fileno()).st_size, budget))
        yield stream if plain.kind == "tar" else stack.enter_context(scratch(plain.pieces()))


def _all_of(stream: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        while piece := stream.read(CHUNK):
            yield piece
    except OSError as error:
        raise BadImage(f"{name}: cannot be read ({os.strerror(error.errno or 0)})") from error


def scratch(pieces: Iterable[bytes]) -> BinaryIO:
    """Some bytes in a file without a name, which the caller closes. Raises DiskFull or OutputNotWritable."""
    try:
        content = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            content.writelines(pieces)
            content.flush()
        except BaseException:
            content.close()
            raise
    except OSError as error:
        raise temporary_failed(error) from error
    return content
