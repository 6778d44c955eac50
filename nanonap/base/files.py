"""Files that are whole or absent: written beside their place, then renamed."""

import contextlib
import errno
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from nanonap.errors import DiskFull, NanonapError, OutputNotWritable


def as_ours(error: OSError, target: Path) -> NanonapError:
    """The NanonapError that says what an OSError on writing ``target`` means to a user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"{target}: no room on the file system; free some or choose another folder")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputNotWritable(f"{target}: cannot be written ({reason}); choose a folder you may write to")


@contextlib.contextmanager
def _held() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Hold SIGINT and SIGTERM back; what is yielded lets them through for the length of a block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    @contextlib.contextmanager
    def let_through() -> Iterator[None]:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])

    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        yield let_through
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield an empty temporary file in ``target``'s folder; rename it to ``target`` if the block ends well.

    The data reaches the disk before the name does (fsync, then rename(2)). On any error, Ctrl-C included,
    the temporary file is removed. Raises DiskFull or OutputNotWritable.
    """
    with beside_all(target) as (temporary,):
        yield temporary


@contextlib.contextmanager
def beside_all(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """As ``beside``, for files that belong together: all get their names, or none does.

    Renamed in the order given, with signals held back; should a later one fail, the earlier get their old content
    back. So put the large file last.
    """
    with _held() as let_through:
        temporaries: list[Path] = []
        try:
            for target in targets:
                temporaries.append(_temporary(target))
            with let_through():
                yield tuple(temporaries)
            _rename_all(temporaries, targets)
        except OSError as error:
            raise as_ours(error, targets[-1]) from error
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise as_ours(error, target) from error
    os.close(descriptor)
    return Path(name)


def _rename_all(temporaries: list[Path], targets: tuple[Path, ...]) -> None:
    for temporary in temporaries:
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
    replaced: list[tuple[Path, bytes | None]] = []
    try:
        for temporary, target in zip(temporaries, targets, strict=True):
            if target is not targets[-1]:
                replaced.append((target, target.read_bytes() if target.exists() else None))
            temporary.replace(target)
    except OSError:
        for target, content in replaced:
            if content is None:
                target.unlink(missing_ok=True)
            else:
                target.write_bytes(content)
        raise


def write_text(target: Path, text: str) -> None:
    """Write ``target`` whole or not at all (UTF-8). Raises DiskFull or OutputNotWritable."""
    with beside(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
