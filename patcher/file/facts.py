"""What tells a file from another."""

import hashlib
from dataclasses import dataclass

from patcher.content import Content


@dataclass(frozen=True)
class FileFacts:
    """A file's SHA-256 (hex) and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: Content) -> "FileFacts":
        """The facts of a file's content."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))
