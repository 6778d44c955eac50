"""The one way to write an output: whole or absent, made beside its place, then named; what is no file stays itself."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nanonap.base.errors import DiskFull, NanonapError, OutputExists, OutputNotWritable
from nanonap.base.interrupts import held

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_ours(error: OSError, target: Path) -> NanonapError:
    """The NanonapError that says what an OSError on writing ``target`` means to a user."""
    if error.errno in _FULL:
        return DiskFull(f"{target}: no room on the file system; free some or choose another folder")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputNotWritable(f"{target}: cannot be written ({reason}); choose a folder you may write to")


def temporary_failed(error: OSError | None = None) -> NanonapError:
    """The same of a temporary file, whose name says nothing to a user; without an error, that there is no room."""
    if error is None or error.errno in _FULL:
        return DiskFull("no room for temporary files; free some, or have TMPDIR name another folder")
    return OutputNotWritable(
        f"no temporary file can be made ({os.strerror(error.errno or 0)}); have TMPDIR name a folder you may write to"
    )


def place_of(target: Path) -> Path:
    """Where to write ``target`` so that only a regular file is ever replaced: of a symbolic link, what it names.

    Raises OutputNotWritable where something else is there.
    """
    mode = _mode(target)
    if stat.S_ISDIR(mode):
        raise OutputNotWritable(f"{target}: a directory; name a file")
    if mode and not stat.S_ISREG(mode):
        raise OutputNotWritable(f"{target}: not a regular file; name a file")
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def state_of(path: Path) -> tuple[int, ...]:
    """What changes where another file is put at a path, or its file is written to (stat(2)); empty if none is there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def check_place(target: Path) -> None:
    """Refuse an output that cannot be before long work is done for it. Raises as ``beside``."""
    if not _is_stream(target) and not os.access(place_of(target).parent, os.W_OK | os.X_OK):
        raise OutputNotWritable(f"{target}: its folder is missing or not writable for this user; name another")


def _mode(path: Path) -> int:
    """What stat(2) calls st_mode; 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise as_ours(error, path) from error


def _is_stream(target: Path) -> bool:
    """True for a character device and a FIFO, a terminal and /dev/null among them: they take bytes as they come."""
    mode = _mode(target)
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


@contextlib.contextmanager
def beside(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield an empty temporary file in ``target``'s folder; rename it to ``target`` if the block ends well.

    The data reaches the disk before the name does (fsync, then rename(2)). On any error, Ctrl-C included,
    the temporary file is removed. A symbolic link stays one: what it names is written. A character device or a FIFO is
    written to, at the block's end; whatever else is there and no regular file is refused.
    Raises DiskFull, OutputNotWritable, or without ``replace`` OutputExists.
    """
    if _is_stream(target):
        with _sent_to(target) as temporary:
            yield temporary
    else:
        with beside_all(target, replace=replace) as (temporary,):
            yield temporary


@contextlib.contextmanager
def _sent_to(stream: Path) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="nanonap-") as temporary:
        yield Path(temporary.name)
        try:
            with stream.open("wb") as sink:
                shutil.copyfileobj(temporary, sink)
        except OSError as error:
            raise as_ours(error, stream) from error


@contextlib.contextmanager
def beside_all(*targets: Path, replace: bool = True) -> Iterator[tuple[Path, ...]]:
    """As ``beside``, for files that belong together: all get their names, or none does. No streams.

    Named in the order given, with signals held back; should a later one fail, the earlier get their old content
    back. So put the large file last. Without ``replace`` a name that somebody else has taken meanwhile is theirs.
    """
    with held() as let_through:
        temporaries: list[Path] = []
        try:
            places = [place_of(each) for each in targets]
            for place in places:
                temporaries.append(_temporary(place))
            with let_through():
                yield tuple(temporaries)
            _name_all(temporaries, places, replace)
        except OSError as error:
            raise as_ours(error, targets[-1]) from error
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def beside_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target``; it gets this name if the block ends well, and is gone if not.

    An empty folder may be there already. Raises OutputExists for any other, DiskFull or OutputNotWritable.
    """
    with held() as let_through:
        temporary: Path | None = None
        try:
            if target.is_dir() and any(target.iterdir()):
                raise OutputExists(f"{target}: a folder that is not empty; choose another", parameters=("out",))
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:50]}.", suffix=".part", dir=target.parent))
            temporary.chmod(0o755)
            with let_through():
                yield temporary
            temporary.rename(target)
        except OSError as error:
            raise as_ours(error, target) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)


def _temporary(target: Path) -> Path:
    kept = os.fsdecode(os.fsencode(target.name)[:100])  # a name's length is limited in bytes
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{kept}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise as_ours(error, target) from error
    os.close(descriptor)
    return Path(name)


def _name_all(temporaries: list[Path], targets: list[Path], replace: bool) -> None:
    for temporary in temporaries:
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
    named: list[tuple[Path, Path, bytes | None]] = []
    try:
        for temporary, target in zip(temporaries, targets, strict=True):
            last = target is targets[-1]
            before = target.read_bytes() if replace and not last and target.exists() else None
            temporary.replace(target) if replace else _take_name(temporary, target)
            named.append((temporary, target, before))
    except (OSError, OutputExists):
        for temporary, target, before in named:
            if before is not None:
                target.write_bytes(before)
            elif not temporary.exists() or target.samefile(temporary):  # else it is another's by now
                target.unlink(missing_ok=True)
        raise


def _take_name(temporary: Path, target: Path) -> None:
    """Give a file a name that nobody has: link(2) replaces nothing, and where there are no links, nor does O_EXCL."""
    try:
        try:
            target.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:
            target.touch(exist_ok=False)
            temporary.replace(target)
    except FileExistsError as error:
        raise OutputExists(
            f"{target}: exists already: another process made it meanwhile; choose another --out"
        ) from error


def write_text(target: Path, text: str) -> None:
    """Write ``target`` whole or not at all (UTF-8). Raises DiskFull or OutputNotWritable."""
    with beside(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
