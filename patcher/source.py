"""What the library is asked to read: a path, bytes, or an open binary file."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanonap.base.errors import NanonapError

AnyPath = str | os.PathLike[str]
Content = bytes | BinaryIO
_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True)
class Readable:
    """Where a source can be read: ``path``, and the descriptor ``keep`` that it names, if it is no path by itself."""

    path: Path
    keep: int | None = None


@contextlib.contextmanager
def readable(source: AnyPath | Content, name: str | None = None) -> Iterator[Readable]:
    """A source that any process of ours can read from its start; errors call it ``name`` (default: its own)."""
    if isinstance(source, str | os.PathLike):
        yield Readable(Path(source))
        return
    if isinstance(source, bytes):
        descriptor = os.memfd_create("program")
        _write(descriptor, source)
    else:
        descriptor = fcntl.fcntl(source.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    path = _DESCRIPTORS / str(descriptor)
    try:
        yield Readable(path, descriptor)
    except NanonapError as error:
        named = str(error).replace(str(path), name or name_of(source))
        raise type(error)(named, parameters=error.parameters) from error
    finally:
        os.close(descriptor)


def can_be_typed(path: Path) -> bool:
    """Whether a command can be told of what is read there: not of content that came without a path."""
    return path.parent != _DESCRIPTORS


def name_of(source: AnyPath | Content) -> str:
    """What errors call a source."""
    own = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return os.fspath(own) if isinstance(own, str | os.PathLike) else "the program"


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
