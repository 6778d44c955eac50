"""``<binary>.patch.json``: what was changed and why, enough to check the patch and to undo it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanonap import __version__
from patcher.answers import WrongShape, decode
from patcher.edit.edit import Edit, Proof
from patcher.errors import ManifestMismatch, ManifestMissing
from patcher.file.facts import FileFacts
from patcher.golang.image import GoImage
from patcher.wait import PRECISE, Wait, wait_of

SCHEMA = 1
SUFFIX = ".patch.json"
_LARGEST = 1 << 20  # bytes; a manifest has some kilobytes


@dataclass(frozen=True)
class Go:
    """What a program was built by: the release (``go1.27.3``), GOARCH, the recorded build settings."""

    version: str
    arch: str
    settings: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """One patch of one file."""

    strategy: str
    slack_ns: int | None
    go: Go
    input: FileFacts
    output: FileFacts
    edits: tuple[Edit, ...]
    new_syscalls: tuple[str, ...]
    proof: Proof
    wait: Wait = PRECISE
    tool: str = __version__
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The JSON document: integers for addresses and offsets, hex for bytes."""
        document = {**asdict(self), **self.wait.to_json()}
        for edit in document["edits"]:
            edit["old"], edit["new"] = edit["old"].hex(), edit["new"].hex()
        order = (
            "schema",
            "tool",
            "strategy",
            "slack_ns",
            "quantum_ns",
            "dense_ns",
            "spin_ns",
            "go",
            "input",
            "output",
            "edits",
            "new_syscalls",
            "proof",
        )
        return {key: document[key] for key in order}

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.to_json(), indent=1) + "\n"


def path_of(binary: Path) -> Path:
    """Where a binary's manifest lies: beside it."""
    return binary.parent / (binary.name + SUFFIX)


def find_manifest(binary: Path) -> Path:
    """Where to look for a binary's manifest: beside the file, or if there is none beside the link that leads to it."""
    own = path_of(Path(os.path.realpath(binary)))
    return own if os.path.lexists(own) or not os.path.lexists(path_of(binary)) else path_of(binary)


def describe_go(image: GoImage) -> Go:
    """What the image was built by."""
    return Go(image.build.version, image.isa.name, dict(image.build.settings))


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest. Raises ManifestMissing or ManifestMismatch."""
    try:
        text = path.read_bytes()[: _LARGEST + 1]
    except OSError as error:
        raise ManifestMissing(
            f"{path}: no readable manifest beside the binary; `patch` wrote it: put it back beside its binary"
        ) from error
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"larger than {_LARGEST} bytes")
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ManifestMismatch(
                f"{path}: schema {document['schema']}, this version reads {SCHEMA}; use the version that wrote it"
            )
        return checked(decode(Manifest, {**document, "wait": wait_of(document).to_json()}, "the manifest"))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, WrongShape) as error:
        raise ManifestMismatch(f"{path}: not a manifest of a patch ({type(error).__name__}: {error})") from error


def checked(manifest: Manifest) -> Manifest:
    """The same. Raises WrongShape for edits that can be none of its input's."""
    for each in manifest.edits:
        if len(each.old) != len(each.new) or each.offset + len(each.old) > manifest.input.size:
            raise WrongShape(f"the edit at offset {each.offset:#x} replaces bytes by more or fewer, or lies outside")
    return manifest
