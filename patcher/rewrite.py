"""Edits laid over a file: in place, of equal size, written beside and renamed, and nothing else changed."""

import contextlib
import hashlib
import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from io import FileIO
from pathlib import Path
from types import TracebackType

from nanonap.base.errors import OutputExists, OutputNotWritable, SystemIncomplete
from nanonap.base.files import as_ours, place_of, state_of
from patcher.edit.edit import Edit
from patcher.errors import MalformedBinary, ManifestMismatch, ProofFailed, SameFile, ShapeMismatch
from patcher.file.changes import Change, edited
from patcher.file.content import Content, pieces, pieces_of
from patcher.file.facts import FileFacts
from patcher.golang.image import GoImage

_SET_ID = 0o6000
_PIECE = 1 << 20  # bytes in memory at a time
_MOST_AT_ONCE = 64 << 20  # bytes; Ctrl-C is heard between two calls


def check_output(source: Path, out: Path, force: bool) -> Path:
    """Refuse an output that cannot be before any work is done; where it is to be written (files.place_of).

    Raises SameFile, OutputExists (without ``force``) or OutputNotWritable.
    """
    try:
        place = place_of(out)
        _check_output(source, place, force)
        return place
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise as_ours(error, out) from error


def _check_output(source: Path, out: Path, force: bool) -> None:
    if out.exists() and source.exists() and out.samefile(source):
        raise SameFile(
            f"{out}: output and input are the same file; choose another output (revert undoes a patch)",
            parameters=("out",),
        )
    if out.exists() and not force:
        raise OutputExists(
            f"{out}: exists already; choose another output, or allow to overwrite it", parameters=("out", "force")
        )
    if not out.parent.is_dir():
        raise OutputNotWritable(f"{out.parent}: no such folder; make it, or choose another output", parameters=("out",))
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputNotWritable(f"{out.parent}: not writable for this user; choose another output", parameters=("out",))


def check_edits(image: GoImage, edits: Sequence[Edit]) -> None:
    """Edits must not overlap, must replace what is there, and no relocation may write into one."""
    ordered = sorted(edits, key=lambda each: each.offset)
    for edit in ordered:
        if len(edit.old) != len(edit.new) or image.data[edit.offset : edit.offset + len(edit.old)] != edit.old:
            raise ProofFailed(
                f"{edit.function} at {edit.address:#x}: the edit does not fit the file; please report this"
            )
    for before, after in itertools.pairwise(ordered):
        if before.offset + len(before.old) > after.offset:
            raise ProofFailed(f"the edits at {before.address:#x} and {after.address:#x} overlap; please report this")
    for address in image.relocated_addresses():
        for edit in edits:
            if edit.address - 8 < address < edit.end:
                raise ShapeMismatch(
                    f"{edit.function}: expected no relocation at {edit.address:#x} … {edit.end:#x}, "
                    f"found one at {address:#x}"
                )


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """The file with the edits' new bytes. Raises MalformedBinary where an edit lies beyond its end."""
    changed = bytearray(data)
    for edit in edits:
        if edit.offset < 0 or edit.offset + len(edit.new) > len(changed):
            raise MalformedBinary(f"an edit at offset {edit.offset:#x} lies beyond the file's end")
        changed[edit.offset : edit.offset + len(edit.new)] = edit.new
    return bytes(changed)


def facts_with(data: Content, changes: Iterable[Change]) -> FileFacts:
    """The facts of a file's content with changes laid over it, without a copy of it."""
    return FileFacts.of_pieces(edited(pieces_of(data), changes))


class Copy(contextlib.AbstractContextManager["Copy"]):
    """A file's copy, which threads make and hash while the block of a ``with`` does something else.

    What goes wrong is told by ``edit``, so that what is wrong with the file itself is told first. An error in the block
    ends the copying.
    """

    def __init__(self, source: Path, temporary: Path) -> None:
        """``temporary``: an empty file. To be made before anybody reads the source for what is to be changed."""
        self._source, self._temporary, self._state = source, temporary, state_of(source)
        self._beside = ThreadPoolExecutor(2)  # one copies and hashes, one only waits for the disk
        self._ended = threading.Event()
        self._made: Future[FileFacts]

    def __enter__(self) -> "Copy":
        """Begin. Raises SystemIncomplete where there can be no thread."""
        try:
            self._made = self._beside.submit(self._make)
        except RuntimeError as error:
            raise _no_thread(self._source, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait until it is made; after an error, end it."""
        if kind is not None:
            self._ended.set()
        try:
            wait((self._made,))
        except BaseException:  # Ctrl-C
            self._ended.set()
            raise
        finally:
            self._beside.shutdown()

    def edit(self, before: FileFacts, changes: Iterable[Change], target: Path, replaced: Iterable[Change] = ()) -> None:
        """Lay changes over the copy, on its way to ``target``; to be called when the block has ended.

        The copy must be the file of the facts ``before``, with what is ``replaced`` in its place, and nobody may have
        written to the source meanwhile: what was planned and foretold for it later (``facts_with``) then is for the
        same bytes. What is laid over the copy is read again. Raises ManifestMismatch, ProofFailed, and as
        ``write_bytes``.
        """
        try:
            found = self._made.result()
            if state_of(self._source) != self._state:
                raise self._changed()
            wrong = None if found == before else self._difference(before)
            laid = tuple(changes)
            with self._temporary.open("r+b", buffering=0) as stream:
                wrong = _lacks(stream, replaced) if wrong is None else wrong
                for at, new in laid:
                    os.pwrite(stream.fileno(), new, at)
                wrong = _lacks(stream, laid) if wrong is None else wrong
                if os.fstat(stream.fileno()).st_size != before.size:
                    wrong = before.size
        except OSError as error:
            raise as_ours(error, target) from error
        except RuntimeError as error:
            raise _no_thread(self._source, error) from error
        if wrong is not None:
            raise ProofFailed(
                f"{self._temporary}: differs from what it is made of, or lacks an edit, at or after offset {wrong:#x}; "
                "please report this"
            )

    def _changed(self) -> ManifestMismatch:
        return ManifestMismatch(f"{self._source}: the file changed while it was read; nothing was written, try again")

    def _difference(self, before: FileFacts) -> int:
        """Where a wrong copy differs from its source. Raises ManifestMismatch where the source is another by now."""
        digest, size, wrong = hashlib.sha256(), 0, None
        with self._source.open("rb", buffering=0) as source, self._temporary.open("rb", buffering=0) as made:
            for expected, found in itertools.zip_longest(*map(pieces, (source.fileno(), made.fileno())), fillvalue=b""):
                digest.update(expected)
                if wrong is None and expected != found:
                    wrong = size
                size += len(expected)
        if wrong is None or FileFacts(digest.hexdigest(), size) != before:
            raise self._changed()
        return wrong

    def _make(self) -> FileFacts:
        """The facts of the copy."""
        with self._source.open("rb", buffering=0) as source, self._temporary.open("r+b", buffering=0) as sink:
            self._fill(source.fileno(), sink)
            if self._ended.is_set():  # nobody asks for it
                return FileFacts("", 0)
            on_disk = self._beside.submit(os.fsync, sink.fileno())
            made = itertools.takewhile(lambda _: not self._ended.is_set(), pieces(sink.fileno()))
            facts = FileFacts.of_pieces(made)
            on_disk.result()
        return facts

    def _fill(self, source: int, sink: FileIO) -> None:
        """All of a file, by the kernel: some file systems then share the blocks. What it does not copy is read and
        written.

        The file positions tell how far it came.
        """
        with contextlib.suppress(OSError):  # it cannot; or there is no room, which writing tells
            while not self._ended.is_set() and os.copy_file_range(source, sink.fileno(), _MOST_AT_ONCE):
                pass
        while not self._ended.is_set() and (rest := memoryview(os.read(source, _PIECE))):
            while rest:
                rest = rest[sink.write(rest) :]


def _lacks(file: FileIO, changes: Iterable[Change]) -> int | None:
    """The first offset at which a file has others than these bytes."""
    return next((at for at, each in changes if os.pread(file.fileno(), len(each), at) != each), None)


def _no_thread(source: Path, error: RuntimeError) -> SystemIncomplete:
    return SystemIncomplete(
        f"{source}: no thread to copy it ({error}); allow this user or this group more (ulimit -u, pids.max)"
    )


def copy_attributes(source: Path, target: Path) -> list[str]:
    """Give ``target`` the owner, mode and extended attributes of ``source``; a warning for each that it cannot.

    The order matters: chown(2) clears set-user-ID bits and file capabilities.
    """
    status, warnings = source.stat(), []
    mode = status.st_mode & 0o7777
    try:
        os.chown(target, status.st_uid, status.st_gid)
    except OSError as error:
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            warnings.append(f"owner {status.st_uid}:{status.st_gid} could not be kept ({_reason(error)})")
            if mode & _SET_ID:  # what was set-user-ID to one user must not become so to another, as with cp(1)
                warnings.append(f"mode {mode:o} could not be kept: without its owner it loses the set-user-ID bits")
                mode &= ~_SET_ID
    try:
        target.chmod(mode)
    except OSError as error:
        warnings.append(f"mode {mode:o} could not be kept ({_reason(error)})")
    if target.stat().st_mode & 0o7777 != mode:
        warnings.append(f"mode {mode:o} could not be kept (the file system or kernel changed it)")
    for name in _attributes(source, warnings):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            warnings.append(f"extended attribute {name} could not be kept ({_reason(error)})")
    return warnings


def _attributes(source: Path, warnings: list[str]) -> list[str]:
    try:
        return os.listxattr(source)
    except OSError as error:
        warnings.append(f"extended attributes could not be read ({_reason(error)})")
        return []


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def other_names(path: Path, what: str) -> list[str]:
    """A warning for a file that is replaced and has other names, which keep ``what`` it was."""
    try:
        others = path.stat().st_nlink - 1
    except FileNotFoundError:
        return []
    names = "another name" if others == 1 else f"{others} other names"
    return [f"{path} has {names} (hard links), which keep {what}"] if others else []


def write_bytes(temporary: Path, data: bytes, target: Path) -> None:
    """Fill a temporary file on its way to ``target``. Raises DiskFull or OutputNotWritable, naming ``target``."""
    try:
        temporary.write_bytes(data)
    except OSError as error:
        raise as_ours(error, target) from error
