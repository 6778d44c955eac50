"""Files that are whole or absent: written beside their place, then renamed."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nanonap.errors import DiskFull, NanonapError, OutputNotWritable


def as_ours(error: OSError, target: Path) -> NanonapError:
    """The NanonapError that says what an OSError on writing ``target`` means to a user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"{target}: no room on the file system; free some or choose another folder")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputNotWritable(f"{target}: cannot be written ({reason}); choose a folder you may write to")


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield an empty temporary file in ``target``'s folder; rename it to ``target`` if the block ends well.

    The data reaches the disk before the name does (fsync, then rename(2)). On any error, Ctrl-C included,
    the temporary file is removed. Raises DiskFull or OutputNotWritable.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise as_ours(error, target) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        raise as_ours(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write ``target`` whole or not at all (UTF-8). Raises DiskFull or OutputNotWritable."""
    with beside(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
