"""Where a new image goes: a folder or an archive with the OCI layout in it, whole or not at all.

An archive also has the list that `docker load` reads (manifest.json), as `docker save` writes it since version 25.
"""

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from patcher.images.documents import digest_of
from patcher.images.errors import BadImage
from patcher.images.store import Blob

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Writer:
    """A blob on its way: its bytes are hashed and counted as they come."""

    def __init__(self, stream: BinaryIO) -> None:
        """Into an open file."""
        self._stream, self._hash, self.size = stream, hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        """The next bytes."""
        self._hash.update(piece)
        self.size += len(piece)
        self._stream.write(piece)

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"


class Sink:
    """What all places have in common: blobs by their digests, once each."""

    def __init__(self) -> None:
        """Nothing is there yet."""
        self._there = dict[str, int]()

    @contextlib.contextmanager
    def blob(self) -> Iterator[Writer]:
        """A new blob, named by what was written when the block ends well."""
        raise NotImplementedError
        yield

    def file(self, name: str, data: bytes) -> None:
        """A document by its name."""
        raise NotImplementedError

    def put(self, data: bytes) -> str:
        """A blob that is at hand; gives its digest."""
        if digest_of(data) not in self._there:
            with self.blob() as writer:
                writer.write(data)
        return digest_of(data)

    def copy(self, blob: Blob, expected: str | None) -> tuple[str, int]:
        """A blob as it lies; gives its digest and size. Raises BadImage where it is not the one expected."""
        if expected is not None and expected in self._there:
            return expected, blob.size
        raw = blob.read()
        with self.blob() as writer:
            while piece := raw.read():
                writer.write(piece)
            if expected not in (None, writer.digest):
                raise BadImage(f"{blob.name}: its content is not that of its digest, {expected}")
        return writer.digest, writer.size

    def drop(self, digest: str) -> None:
        """Take a blob away again."""
        raise NotImplementedError

    def finish(self, index: bytes, listed: bytes) -> None:
        """The documents that lead to the blobs."""
        self.file("oci-layout", _LAYOUT)
        self.file("index.json", index)


class NoSink(Sink):
    """Keeps nothing: what an image would be is only computed."""

    @contextlib.contextmanager
    def blob(self) -> Iterator[Writer]:
        """As ``Sink``'s."""
        with Path(os.devnull).open("wb") as stream:
            writer = Writer(stream)
            yield writer
        self._there[writer.digest] = 0

    def file(self, name: str, data: bytes) -> None:
        """As ``Sink``'s."""

    def drop(self, digest: str) -> None:
        """As ``Sink``'s."""


class FolderSink(Sink):
    """An OCI layout in a folder that is empty."""

    def __init__(self, folder: Path) -> None:
        """Makes the folders in it."""
        super().__init__()
        self._folder, self._blobs = folder, folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)

    @contextlib.contextmanager
    def blob(self) -> Iterator[Writer]:
        """As ``Sink``'s."""
        temporary = self._blobs / "new"
        try:
            with temporary.open("wb") as stream:
                writer = Writer(stream)
                yield writer
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        temporary.rename(self._blobs / writer.digest.removeprefix("sha256:"))
        self._there[writer.digest] = 0

    def file(self, name: str, data: bytes) -> None:
        """As ``Sink``'s."""
        (self._folder / name).write_bytes(data)

    def drop(self, digest: str) -> None:
        """As ``Sink``'s."""
        if self._there.pop(digest, None) is not None:
            (self._blobs / digest.removeprefix("sha256:")).unlink()


class ArchiveSink(Sink):
    """A tar archive in a file that can be written at any place: a blob's header follows when its digest is known."""

    def __init__(self, stream: BinaryIO) -> None:
        """Into an empty file."""
        super().__init__()
        self._stream = stream

    @contextlib.contextmanager
    def blob(self) -> Iterator[Writer]:
        """As ``Sink``'s."""
        start = self._stream.tell()
        self._stream.seek(start + tarfile.BLOCKSIZE)
        writer = Writer(self._stream)
        try:
            yield writer
        except BaseException:
            self._stream.seek(start)
            self._stream.truncate()
            raise
        self._pad(writer.size)
        end = self._stream.tell()
        self._stream.seek(start)
        if writer.digest in self._there:
            self._stream.truncate()
            return
        self._stream.write(_header(f"blobs/{writer.digest.replace(':', '/')}", writer.size))
        self._stream.seek(end)
        self._there[writer.digest] = start

    def file(self, name: str, data: bytes) -> None:
        """As ``Sink``'s."""
        self._stream.write(_header(name, len(data)) + data)
        self._pad(len(data))

    def drop(self, digest: str) -> None:
        """As ``Sink``'s, if it came last; else it stays, which does no harm."""
        if self._there and digest == list(self._there)[-1]:
            self._stream.seek(self._there.pop(digest))
            self._stream.truncate()

    def finish(self, index: bytes, listed: bytes) -> None:
        """As ``Sink``'s, and the list for `docker load`."""
        super().finish(index, listed)
        self.file("manifest.json", listed)
        self._stream.write(bytes(2 * tarfile.BLOCKSIZE))
        self._stream.flush()

    def _pad(self, size: int) -> None:
        self._stream.write(bytes(-size % tarfile.BLOCKSIZE))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)
