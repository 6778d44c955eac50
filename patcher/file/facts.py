"""What tells a file from another."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from patcher.file.content import Content, pieces_of


@dataclass(frozen=True)
class FileFacts:
    """A file's SHA-256 (hex) and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: Content) -> "FileFacts":
        """The facts of a file's content."""
        return cls.of_pieces(pieces_of(data))

    @classmethod
    def of_pieces(cls, pieces: Iterable[bytes | memoryview]) -> "FileFacts":
        """The facts of a content that comes in pieces."""
        digest, size = hashlib.sha256(), 0
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
        return cls(digest.hexdigest(), size)
