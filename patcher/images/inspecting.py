"""Images looked at and checked: what Go programs an image has, and whether its patched ones are right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanonap.base.errors import NanonapError, UsageError
from patcher.answers import encode
from patcher.errors import (
    InputNotFound,
    ManifestMismatch,
    NotARegularFile,
    NotGo,
    NotPatched,
    WrongArchitecture,
)
from patcher.images import label, places
from patcher.images.choosing import USUAL, Layers, Program, check_platform, chosen, wanted
from patcher.images.reading import Image, images, read
from patcher.images.rewriting import visited
from patcher.inspection import Inspection, inspect
from patcher.source import AnyPath
from patcher.undoing import Verified, verify

_NOT_PATCHED = (InputNotFound, NotARegularFile, NotGo, NotPatched, UsageError)  # what an image without our label may be


@dataclass(frozen=True)
class InspectedProgram:
    """A Go program of an image: its path, its layer (the lowest is 0), and what it is, or why that cannot be told."""

    path: str
    layer: int
    seen: Inspection | None
    reason: str | None


@dataclass(frozen=True)
class InspectedImage:
    """An image and its Go programs. ``patched``: the paths that our label names."""

    names: tuple[str, ...]
    platform: str
    digest: str
    layers: tuple[str, ...]
    programs: tuple[InspectedProgram, ...]
    patched: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document: the fields, and of each program what ``inspect`` tells in JSON."""
        document: dict[str, Any] = encode(replace(self, programs=()))
        document["programs"] = [
            {
                "path": each.path,
                "layer": each.layer,
                "reason": each.reason,
                "inspection": None if each.seen is None else each.seen.to_json(),
            }
            for each in self.programs
        ]
        return document


@dataclass(frozen=True)
class VerifiedImage:
    """An image whose patched programs are what their undo records say, each proven again.

    ``reason``: why there is none, of an image that was left as it was beside others that were patched.
    """

    names: tuple[str, ...]
    platform: str
    digest: str
    programs: tuple[Verified, ...]
    reason: str | None = None


def inspect_image(
    image: AnyPath, *, path: Sequence[str] = (), platform: str | None = None
) -> tuple[InspectedImage, ...]:
    """Look at the Go programs of a container image, or at those of these paths; of every platform that is meant.

    The places are those of ``patch_image``. Raises the errors of reading the image.
    """
    found = []
    with places.source(places.place(image)) as store:
        layers = Layers()
        for each in _meant(list(images(read(store))), platform):
            files = layers.files(each)
            try:
                programs = chosen(files, each, path, every=not path)
            except NanonapError:
                if path:
                    raise
                programs = []
            told = label.find(each.config)
            found.append(
                InspectedImage(
                    names=each.tags,
                    platform=each.platform,
                    digest=each.digest,
                    layers=tuple(layer.diff_id for layer in each.layers),
                    programs=tuple(_inspected(each, layers, one) for one in programs),
                    patched=tuple(one.path for one in told.programs) if told else (),
                )
            )
    return tuple(found)


def verify_image(image: AnyPath, *, path: Sequence[str] = (), platform: str | None = None) -> tuple[VerifiedImage, ...]:
    """Check a container image's patched programs by their undo records, and prove them again.

    ``path``: the programs; by default those that our label names or, without one, the one that the image starts.
    Raises NotPatched, ManifestMismatch or ProofFailed, and the errors of reading the image.
    """
    found, without = list[VerifiedImage](), list[NanonapError]()
    with places.source(places.place(image)) as store:
        layers = Layers()
        for each in _meant(list(images(read(store))), platform):
            told = label.find(each.config)
            files = layers.files(each)
            known = {one.path: one.after for one in told.programs} if told else {}
            programs, reason = tuple[Verified, ...](), None
            try:
                meant = chosen(files, each, path or list(known), every=False)
                programs = tuple(_verified(each, layers, one, known.get(one.path)) for one in meant)
            except _NOT_PATCHED as error:
                if told is not None:
                    raise
                without.append(error)
                reason = str(error)
            found.append(VerifiedImage(each.tags, each.platform, each.digest, programs, reason))
    if len(without) == len(found):
        raise without[0]
    return tuple(found)


def _meant(found: list[tuple[Any, Image]], platform: str | None) -> list[Image]:
    check_platform(platform)
    meant = [each for _, each in found if wanted(each, platform)]
    if not meant:
        there = ", ".join(sorted({each.platform for _, each in found})) or "none"
        raise WrongArchitecture(f"no image for {platform or USUAL}; there is {there}", parameters=("platform",))
    return meant


def _inspected(image: Image, layers: Layers, program: Program) -> InspectedProgram:
    index, blob, _ = layers.holding(image, program.file)
    try:
        with visited(blob, program.file) as content:
            seen = inspect(content)
    except NanonapError as error:
        return InspectedProgram(program.path, index, None, str(error))
    return InspectedProgram(program.path, index, replace(seen, path=Path(program.path)), None)


def _verified(image: Image, layers: Layers, program: Program, after: str | None) -> Verified:
    _, blob, _ = layers.holding(image, program.file)
    name = f"{program.path} in {image.name}"
    with visited(blob, program.file) as content:
        checked = verify(content, name)
    if after is not None and checked.manifest.output.sha256 != after:
        raise ManifestMismatch(f"{name}: a patch, but not the one that the image's label tells of")
    return replace(checked, path=Path(program.path))
