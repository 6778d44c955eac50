"""A patch checked and undone: by its manifest, or where that is lost by the undo record that the binary carries."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanonap import __version__
from nanonap.files import beside
from patcher import record
from patcher.content import check_file, read_file
from patcher.errors import ManifestMismatch, ManifestMissing
from patcher.facts import FileFacts
from patcher.image import parse_image
from patcher.isolation import isolated
from patcher.manifest import Manifest, from_json, path_of, read_manifest
from patcher.patching import STRATEGIES, make_manifest
from patcher.proof import Proof
from patcher.rewrite import check_output, copy_attributes, undo, write_bytes
from patcher.strategies import netpoll
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
    """The original's content and what the patch was; ``manifest`` is None where the record in the binary told it."""

    original: bytes
    strategy: str
    slack_ns: int | None
    wait: Wait
    tool: str
    manifest: Manifest | None

    @property
    def by(self) -> str:
        return "manifest" if self.manifest else "record"


def verify(path: Path) -> Verified:
    """Compare a file with its manifest, byte for byte, and prove its stubs anew.

    Without a manifest, the undo record says what the patch was. Raises ManifestMissing, ManifestMismatch (naming the
    first difference) or ProofFailed.
    """
    check_file(path)
    document = isolated(path, f"{__name__}:verified")
    manifest, proof = from_json(document["manifest"]), Proof(**document["proof"])
    return Verified(path, manifest, proof, document["by"])


def verified(path: Path) -> dict[str, Any]:
    """What ``verify`` found, as JSON: its job in the child process."""
    data = read_file(path)
    undone = _undone(path, data)
    if undone.manifest and FileFacts.of(data) != undone.manifest.output:
        raise ManifestMismatch(f"{path}: not the file that its manifest describes: its SHA-256 differs")
    if undone.strategy not in STRATEGIES or (undone.strategy == "slack" and undone.slack_ns is None):
        raise ManifestMismatch(f"{path}: its {undone.by} names no known strategy ({undone.strategy})")
    if undone.wait.asked and undone.strategy != netpoll.NAME:
        raise ManifestMismatch(f"{path}: its {undone.by} names options that strategy {undone.strategy} does not have")
    # The edits are made anew, not believed: a manifest that lies about what they are proves nothing.
    remade, edits = make_manifest(parse_image(path, undone.original), undone.strategy, undone.slack_ns, undone.wait)
    if (undone.manifest and edits != undone.manifest.edits) or FileFacts.of(data) != remade.output:
        made_by = f"was made by version {undone.tool}; verify it with that version" * (undone.tool != __version__)
        raise ManifestMismatch(
            f"{path}: the {undone.by}'s edits are not those that version {__version__} makes for strategy "
            f"{undone.strategy}; {made_by or f'the {undone.by} was altered'}"
        )
    manifest = undone.manifest or remade
    return {"manifest": manifest.to_json(), "proof": asdict(remade.proof), "by": undone.by}


def revert(path: Path, out: Path | None = None, *, force: bool = False, check: bool = False) -> Reverted:
    """Write the original, byte for byte: in place of ``path`` (its manifest goes too), or to ``out``.

    With ``check`` nothing is written: it is only made and its SHA-256 compared. Raises ManifestMissing,
    ManifestMismatch, or what writing can raise.
    """
    data = read_file(path)
    undone = _undone(path, data)
    sha256 = FileFacts.of(undone.original).sha256
    if out is not None:
        check_output(path, out, force)
    if check:
        return Reverted(out or path, undone.by, sha256, False, ())
    with beside(out or path) as temporary:
        write_bytes(temporary, undone.original, out or path)
        warnings = copy_attributes(path, temporary)
    if out is None:
        path_of(path).unlink(missing_ok=True)
    return Reverted(out or path, undone.by, sha256, True, tuple(warnings))


def _undone(path: Path, data: bytes) -> _Undone:
    try:
        manifest = read_manifest(path_of(path))
    except ManifestMissing as missing:
        if os.path.lexists(path_of(path)):  # something is there and cannot be read
            raise
        return _by_record(path, data, missing)
    except ManifestMismatch as error:
        raise ManifestMismatch(f"{error}{_hint(data)}") from error
    try:
        original = _original(path, data, manifest)
        return _Undone(original, manifest.strategy, manifest.slack_ns, manifest.wait, manifest.tool, manifest)
    except ManifestMismatch as error:
        raise ManifestMismatch(f"{error}{_hint(data)}") from error


def _by_record(path: Path, data: bytes, missing: ManifestMissing) -> _Undone:
    found = None
    for found in record.find(data):
        original = found.original(data)
        if original is not None:
            return _Undone(original, found.strategy, found.slack_ns, found.wait, found.tool, None)
    if found is None:
        raise ManifestMissing(f"{missing}; the binary itself carries no undo record") from missing
    raise ManifestMismatch(
        f"{path}: no manifest beside it; the binary carries an undo record, but with that undone its SHA-256 is not "
        "the input's: the file was changed after it was patched"
    ) from missing


def _hint(data: bytes) -> str:
    """What a wrong manifest's victim can still do."""
    good = any(each.original(data) is not None for each in record.find(data))
    return "; the binary carries a good undo record: move the manifest away, and revert works from that" * good


def _original(path: Path, data: bytes, manifest: Manifest) -> bytes:
    """The input, made of the output and the manifest's old bytes, and known to be right by its SHA-256."""
    for edit in manifest.edits:
        found = data[edit.offset : edit.offset + len(edit.new)]
        if found != edit.new:
            raise ManifestMismatch(
                f"{path}: {edit.function} at offset {edit.offset:#x}: expected the manifest's bytes, found others; "
                "this file was changed after it was patched, or the manifest is another's"
            )
    original = undo(data, manifest.edits)
    if FileFacts.of(original) != manifest.input:
        raise ManifestMismatch(
            f"{path}: changed outside the patch; with the edits undone its SHA-256 is not the input's"
        )
    return original
