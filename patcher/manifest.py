"""``<binary>.patch.json``: what was changed and why, enough to check the patch and to undo it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanonap import __version__
from patcher.edit import Edit
from patcher.errors import ManifestMismatch, ManifestMissing
from patcher.facts import FileFacts
from patcher.image import GoImage
from patcher.proof import Proof
from patcher.wait import PRECISE, Wait, wait_of

SCHEMA = 1
SUFFIX = ".patch.json"
_LARGEST = 1 << 20  # bytes; a manifest has some kilobytes


@dataclass(frozen=True)
class Manifest:
    """One patch of one file."""

    strategy: str
    slack_ns: int | None
    go: dict[str, Any]
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


def describe_go(image: GoImage) -> dict[str, Any]:
    """The manifest's ``go``: release, architecture, recorded build settings."""
    return {"version": image.build.version, "arch": "amd64", "settings": image.build.settings}


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest. Raises ManifestMissing or ManifestMismatch."""
    try:
        text = path.read_bytes()[: _LARGEST + 1]
    except OSError as error:
        raise ManifestMissing(
            f"{path}: no readable manifest beside the binary; it is written by patch, put it back beside its binary"
        ) from error
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"larger than {_LARGEST} bytes")
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ManifestMismatch(f"{path}: schema {document['schema']}, this version reads schema {SCHEMA}")
        return from_json(document)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ManifestMismatch(f"{path}: not a manifest of a patch ({type(error).__name__}: {error})") from error


def from_json(document: dict[str, Any]) -> Manifest:
    """The manifest of a JSON document. Raises what reading a wrong one raises: ValueError, KeyError, TypeError."""
    edits = tuple(
        Edit(
            function=str(each["function"]),
            purpose=str(each["purpose"]),
            address=int(each["address"]),
            offset=int(each["offset"]),
            old=bytes.fromhex(each["old"]),
            new=bytes.fromhex(each["new"]),
            assembly=str(each["assembly"]),
        )
        for each in document["edits"]
    )
    if any(len(each.old) != len(each.new) or each.offset < 0 for each in edits):
        raise ValueError("an edit's old and new bytes differ in length")
    slack = document["slack_ns"]
    return Manifest(
        strategy=str(document["strategy"]),
        slack_ns=None if slack is None else int(slack),
        go=dict(document["go"]),
        input=FileFacts(str(document["input"]["sha256"]), int(document["input"]["size"])),
        output=FileFacts(str(document["output"]["sha256"]), int(document["output"]["size"])),
        edits=edits,
        new_syscalls=tuple(str(each) for each in document["new_syscalls"]),
        wait=wait_of(document),
        proof=Proof(int(document["proof"]["cases"]), int(document["proof"]["passed"])),
        tool=str(document["tool"]),
    )
