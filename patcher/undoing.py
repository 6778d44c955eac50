"""A patch checked against its manifest, and undone from it."""

from dataclasses import dataclass
from pathlib import Path

from nanonap import __version__
from nanonap.files import beside
from patcher.errors import ManifestMismatch
from patcher.image import parse_image, read_file
from patcher.manifest import FileFacts, Manifest, path_of, read_manifest
from patcher.patching import STRATEGIES, make_manifest
from patcher.proof import Proof
from patcher.rewrite import check_output, copy_attributes, undo, write_bytes


@dataclass(frozen=True)
class Verified:
    """A patched file that is what its manifest says, its proof run again."""

    path: Path
    manifest: Manifest
    proof: Proof


@dataclass(frozen=True)
class Reverted:
    """Where the original is, and what could not be kept of the patched file's attributes."""

    out: Path
    warnings: tuple[str, ...]


def verify(path: Path) -> Verified:
    """Compare a file with its manifest, byte for byte, and prove its stubs anew.

    Raises ManifestMissing, ManifestMismatch (naming the first difference) or ProofFailed.
    """
    data = read_file(path)
    manifest = read_manifest(path_of(path))
    original = _original(path, data, manifest)
    if FileFacts.of(data) != manifest.output:
        raise ManifestMismatch(f"{path}: not the file that its manifest describes: its SHA-256 differs")
    if manifest.strategy not in STRATEGIES or (manifest.strategy == "slack" and manifest.slack_ns is None):
        raise ManifestMismatch(f"{path}: its manifest names no known strategy ({manifest.strategy})")
    # The edits are made anew, not believed: a manifest that lies about what they are proves nothing.
    remade, edits = make_manifest(parse_image(path, original), manifest.strategy, manifest.slack_ns)
    if edits != manifest.edits:
        made_by = f"was made by version {manifest.tool}; verify it with that version" * (manifest.tool != __version__)
        raise ManifestMismatch(
            f"{path}: the manifest's edits are not those that version {__version__} makes for strategy "
            f"{manifest.strategy}; {made_by or 'the manifest was altered'}"
        )
    return Verified(path, manifest, remade.proof)


def revert(path: Path, out: Path | None = None, *, force: bool = False) -> Reverted:
    """Write the original, byte for byte: in place of ``path`` (its manifest goes too), or to ``out``.

    Raises ManifestMissing, ManifestMismatch, or what writing can raise.
    """
    data = read_file(path)
    manifest = read_manifest(path_of(path))
    original = _original(path, data, manifest)
    if out is not None:
        check_output(path, out, force)
    with beside(out or path) as temporary:
        write_bytes(temporary, original, out or path)
        warnings = copy_attributes(path, temporary)
    if out is None:
        path_of(path).unlink(missing_ok=True)
    return Reverted(out or path, tuple(warnings))


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
