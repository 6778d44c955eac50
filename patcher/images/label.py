"""What a patched image says of itself: a label of its configuration, from which the original can be made again.

The label is JSON. Manifests and annotations are lost where an engine loads an image; labels are not.
"""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

from patcher.answers import WrongShape, decode, encode
from patcher.images.packing import Recipe

LABEL = "nanonap.patch"
BASE_DIGEST, BASE_NAME = "org.opencontainers.image.base.digest", "org.opencontainers.image.base.name"
_SCHEMA = 1
_LONGEST = 8 << 20  # bytes of a document


@dataclass(frozen=True)
class Program:
    """A patched program: its path, the patch, its SHA-256 before and after.

    ``undo``: offsets and bytes that give the original back, of one that does not carry its undo record itself.
    """

    path: str
    strategy: str
    slack_ns: int | None
    quantum_ns: int | None
    dense_ns: int | None
    spin_ns: int | None
    before: str
    after: str
    undo: list[tuple[int, bytes]] | None


@dataclass(frozen=True)
class LayerBefore:
    """A layer that was changed: its place among the layers, and what it was."""

    index: int
    digest: str
    diff_id: str
    kind: str
    recipe: Recipe | None


@dataclass(frozen=True)
class Label:
    """The whole of it. ``config`` and ``manifest`` are the original documents, zlib-compressed, in base64.

    ``appended``: the programs lie in a layer on top, and the others are the original's.
    """

    tool: str
    image: str
    appended: bool
    programs: list[Program]
    layers: list[LayerBefore]
    diff_ids: list[str]
    config: str
    manifest: str | None
    schema: int = _SCHEMA

    def text(self) -> str:
        """The label's value."""
        return json.dumps(encode(self), separators=(",", ":"))


def packed(document: bytes) -> str:
    """A document as a label holds it."""
    return base64.b64encode(zlib.compress(document, 9)).decode()


def unpacked(text: str) -> bytes:
    """The same back. Raises WrongShape."""
    try:
        return zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _LONGEST)
    except (ValueError, zlib.error) as error:
        raise WrongShape("no packed document") from error


def find(config: dict[str, Any]) -> Label | None:
    """The label of a configuration; None where there is none that this version can read."""
    own = config.get("config")
    labels = own.get("Labels") if isinstance(own, dict) else None
    text = labels.get(LABEL) if isinstance(labels, dict) else None
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        label = decode(Label, json.loads(text), "the label")
    except (ValueError, RecursionError, WrongShape):
        return None
    return label if label.schema == _SCHEMA else None
