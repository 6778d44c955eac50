"""A patch checked and undone: by its manifest, or where that is lost by the undo record that the binary carries."""

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from nanonap import __version__
from nanonap.base.errors import UsageError
from nanonap.base.files import beside, place_of
from patcher import record
from patcher.edit.edit import Edit, Proof
from patcher.errors import ManifestMismatch, ManifestMissing, NotPatched
from patcher.file.changes import Change, edited
from patcher.file.content import check_file, mapped, opened, pieces
from patcher.file.facts import FileFacts
from patcher.golang.functions import Functions
from patcher.golang.image import read_changed, read_image
from patcher.isolation import isolated
from patcher.manifest import Manifest, find_manifest, read_manifest
from patcher.patching import make_manifest
from patcher.recognise import strategies_present
from patcher.rewrite import Copy, check_output, copy_attributes, other_names
from patcher.source import AnyPath, Content, Readable, name_of, readable
from patcher.strategies.strategy import Options
from patcher.strategies.table import STRATEGIES
from patcher.wait import Wait


@dataclass(frozen=True)
class Verified:
    """A patched file that is what its manifest says, its proof run again; ``by``: "manifest" or "record"."""

    path: Path
    manifest: Manifest
    proof: Proof
    by: str


@dataclass(frozen=True)
class Reverted:
    """The original: where it is, what it was made by ("manifest" or "record"), its SHA-256.

    ``written`` is False where it was only checked. ``warnings`` tell what could not be kept of the patched file's
    attributes.
    """

    out: Path
    by: str
    sha256: str
    written: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Undone:
    """What undoes a patch, known to be right; ``manifest`` is None where the record in the binary told it.

    ``changes`` laid over the file, which is ``found``, give ``original``.
    """

    changes: tuple[Change, ...]
    found: FileFacts
    original: FileFacts
    strategy: str
    slack_ns: int | None
    wait: Wait
    tool: str
    manifest: Manifest | None

    @property
    def by(self) -> str:
        return "manifest" if self.manifest else "record"


def verify(program: AnyPath | Content, name: str | None = None) -> Verified:
    """Compare a file with its manifest, byte for byte, and prove its stubs anew.

    Without a manifest, as of a content or an open file, the undo record says what the patch was. Errors call the
    program ``name``. Raises NotPatched, ManifestMissing, ManifestMismatch (naming the first difference) or ProofFailed.
    """
    name = name or name_of(program)
    with readable(program, name) as source:
        check_file(source.path)
        with _stock_is_told(source):
            checked = isolated(source.path, f"{__name__}:verified", Verified, keep=source.keep)
    return replace(checked, path=Path(name))


def verified(path: Path) -> Verified:
    """What ``verify`` finds: its job in the child process."""
    with opened(path) as descriptor:
        undone = _undone(path, descriptor)
        if undone.manifest and undone.found != undone.manifest.output:
            raise ManifestMismatch(
                f"{path}: not the file that its manifest describes: its SHA-256 differs; put its own there"
            )
        strategy = STRATEGIES.get(undone.strategy)
        if strategy is None:
            raise ManifestMismatch(f"{path}: its {undone.by} names an unknown strategy ({undone.strategy})")
        try:
            strategy.check(Options(undone.slack_ns, undone.wait))
        except UsageError as error:
            raise ManifestMismatch(f"{path}: its {undone.by} has invalid options ({error})") from error
        # The edits are made anew, not believed: a manifest that lies about what they are proves nothing.
        remade, edits = _made_anew(path, descriptor, undone)
        if (undone.manifest and edits != undone.manifest.edits) or undone.found != remade.output:
            made_by = f"was made by version {undone.tool}; verify it with that version" * (undone.tool != __version__)
            raise ManifestMismatch(
                f"{path}: the {undone.by}'s edits are not those that version {__version__} makes for strategy "
                f"{undone.strategy}; {made_by or f'the {undone.by} was altered'}"
            )
        gc.collect()  # the emulator and its hooks hold each other, and the content of the file that was
        strategy.check_patched(Functions(read_changed(path, descriptor, ())))
    return Verified(path, undone.manifest or remade, remade.proof, undone.by)


def _made_anew(path: Path, descriptor: int, undone: _Undone) -> tuple[Manifest, tuple[Edit, ...]]:
    """The patch of what the file was; of that nothing is held when this returns."""
    functions = Functions(read_changed(path, descriptor, undone.changes))
    return make_manifest(functions, undone.strategy, undone.slack_ns, undone.wait)


def revert(path: AnyPath, out: AnyPath | None = None, *, force: bool = False, check: bool = False) -> Reverted:
    """Write the original, byte for byte: in place of ``path`` (its manifest goes too), or to ``out``.

    A symbolic link stays one: what it names is reverted. With ``check`` nothing is written: the original's SHA-256 is
    only computed and compared. Raises NotPatched, ManifestMissing, ManifestMismatch, or what writing can raise.
    """
    path = Path(path)
    with _stock_is_told(Readable(path)), opened(path) as descriptor:
        undone = _undone(path, descriptor)
    place = place_of(path) if out is None else check_output(path, Path(out), force)
    if check:
        return Reverted(place, undone.by, undone.original.sha256, False, ())
    manifest = find_manifest(path)
    with beside(place, replace=out is None or force) as temporary:
        with Copy(path, temporary) as copy:
            pass
        copy.edit(undone.found, undone.changes, place)
        warnings = copy_attributes(path, temporary)
        warnings += other_names(place, "the patched bytes" if out is None else "what was there")
    if out is None:
        manifest.unlink(missing_ok=True)
    return Reverted(place, undone.by, undone.original.sha256, True, tuple(warnings))


@contextlib.contextmanager
def _stock_is_told(source: Readable) -> Iterator[None]:
    """A file that nothing tells how to undo may be one that has nothing to undo."""
    try:
        yield
    except ManifestMissing as missing:
        if isolated(source.path, f"{__name__}:strategies", tuple[str, ...], keep=source.keep):
            raise
        raise NotPatched(f"{source.path}: not patched; there is nothing to verify or to revert") from missing


def undo_by_record(program: BinaryIO, name: str) -> tuple[Change, ...]:
    """What gives the original of an open program back, by the record that it carries.

    Raises ManifestMismatch where that does not, NotPatched where there is none.
    """
    records = _records(program.fileno())
    for each in records:
        if _with(program.fileno(), each.restored) == each.input:
            return each.restored
    if not records:
        raise NotPatched(f"{name}: not patched, or patched without room for an undo record")
    raise ManifestMismatch(f"{name}: its undo record does not give back the original: it was changed after the patch")


def strategies(path: Path) -> tuple[str, ...]:
    """The strategies whose stubs a binary holds: a job in the child process."""
    return strategies_present(Functions(read_image(path)))


def _undone(path: Path, descriptor: int) -> _Undone:
    place = find_manifest(path)
    try:
        manifest = read_manifest(place)
    except ManifestMissing as missing:
        if os.path.lexists(place):  # something is there and cannot be read
            raise
        return _by_record(path, descriptor, missing)
    except ManifestMismatch as error:
        raise ManifestMismatch(f"{error}{_hint(descriptor)}") from error
    try:
        return _by_manifest(path, descriptor, manifest)
    except ManifestMismatch as error:
        raise ManifestMismatch(f"{error}{_hint(descriptor)}") from error


def _by_manifest(path: Path, descriptor: int, manifest: Manifest) -> _Undone:
    """The manifest's old bytes give the input, which is known by its SHA-256."""
    found = FileFacts.of_pieces(pieces(descriptor))
    for edit in manifest.edits:
        if edit.offset > found.size or os.pread(descriptor, len(edit.new), edit.offset) != edit.new:
            raise ManifestMismatch(
                f"{path}: {edit.function} at offset {edit.offset:#x}: expected the manifest's bytes, found others; "
                "this file was changed after it was patched, or the manifest belongs to another file"
            )
    changes = tuple(each.undone for each in manifest.edits)
    original = _with(descriptor, changes)
    if original != manifest.input:
        raise ManifestMismatch(
            f"{path}: changed outside the patch; with the edits undone its SHA-256 is not the input's"
        )
    return _Undone(
        changes, found, original, manifest.strategy, manifest.slack_ns, manifest.wait, manifest.tool, manifest
    )


def _by_record(path: Path, descriptor: int, missing: ManifestMissing) -> _Undone:
    records = _records(descriptor)
    for each in records:
        if _with(descriptor, each.restored) == each.input:
            found = FileFacts.of_pieces(pieces(descriptor))
            return _Undone(each.restored, found, each.input, each.strategy, each.slack_ns, each.wait, each.tool, None)
    if not records:
        raise ManifestMissing(f"{missing}; the binary itself carries no undo record") from missing
    raise ManifestMismatch(
        f"{path}: no manifest beside it; the undo record in the binary does not give back the original (its SHA-256 "
        "differs): the file was changed after it was patched"
    ) from missing


def _records(descriptor: int) -> list[record.Record]:
    return list(record.find(mapped(descriptor)))


def _with(descriptor: int, changes: tuple[Change, ...]) -> FileFacts:
    return FileFacts.of_pieces(edited(pieces(descriptor), changes))


def _hint(descriptor: int) -> str:
    """What a wrong manifest's victim can still do."""
    good = any(_with(descriptor, each.restored) == each.input for each in _records(descriptor))
    return "; the binary carries a good undo record: move the manifest away, and revert works from that" * good
