"""A patch checked against its manifest, and undone from it."""

from dataclasses import dataclass
from pathlib import Path

from nanonap.files import beside
from patcher.edit import Plan
from patcher.errors import ManifestMismatch
from patcher.functions import Functions
from patcher.image import parse_image, read_file
from patcher.manifest import FileFacts, Manifest, path_of, read_manifest
from patcher.proof import Proof, prove
from patcher.rewrite import check_output, copy_attributes, undo, write_bytes


@dataclass(frozen=True)
class Verified:
    """A patched file that is what its manifest says, its proof run again."""

    path: Path
    manifest: Manifest
    proof: Proof


def verify(path: Path) -> Verified:
    """Compare a file with its manifest, byte for byte, and prove its stubs anew.

    Raises ManifestMissing, ManifestMismatch (naming the first difference) or ProofFailed.
    """
    data = read_file(path)
    manifest = read_manifest(path_of(path))
    original = _original(path, data, manifest)
    if FileFacts.of(data) != manifest.output:
        raise ManifestMismatch(f"{path}: not the file that its manifest describes: its SHA-256 differs")
    functions = Functions(parse_image(path, original))
    proofs = [prove(functions, each, manifest.slack_ns) for each in _plans(manifest)]
    total = sum(each.cases for each in proofs)
    return Verified(path, manifest, Proof(total, sum(each.passed for each in proofs)))


def revert(path: Path, out: Path | None = None, *, force: bool = False) -> Path:
    """Write the original, byte for byte: in place of ``path`` (its manifest goes too), or to ``out``.

    Raises ManifestMissing, ManifestMismatch, or what writing can raise.
    """
    data = read_file(path)
    manifest = read_manifest(path_of(path))
    original = _original(path, data, manifest)
    if out is not None:
        check_output(path, out, force)
    with beside(out or path) as temporary:
        write_bytes(temporary, original)
        copy_attributes(path, temporary)
    if out is None:
        path_of(path).unlink(missing_ok=True)
    return out or path


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


def _plans(manifest: Manifest) -> list[Plan]:
    """The manifest's edits as plans again: the strategy's own, and the entry stub's where a slack is set."""
    stubs = {each.address for each in manifest.edits if "slack" in each.purpose or each.function == "(ELF header)"}
    own = tuple(each for each in manifest.edits if each.address not in stubs and each.function != "(program header)")
    entry = tuple(each for each in manifest.edits if each.address in stubs)
    plans = []
    for strategy, edits in ((manifest.strategy, own), ("slack", entry)):
        code = tuple(c for c in manifest.code if any(e.address <= c.start < e.end for e in edits))
        if edits:
            plans.append(Plan(strategy, edits, code, manifest.new_syscalls))
    return plans
