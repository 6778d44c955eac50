"""The undoing of it: the programs undone by what they carry, and the image's own documents put back by its label."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from nanonap.base.errors import NanonapError, UsageError
from patcher.answers import WrongShape
from patcher.errors import ManifestMismatch, WrongArchitecture
from patcher.file.changes import Change, edited
from patcher.file.content import pieces
from patcher.file.facts import FileFacts
from patcher.images import documents, label, places
from patcher.images.choosing import Layers, Program, check_platform, chosen, wanted
from patcher.images.documents import Document
from patcher.images.errors import BadImage
from patcher.images.label import Label
from patcher.images.patching import LeftImage
from patcher.images.places import Target
from patcher.images.reading import Digests, Image, check_one, images, read
from patcher.images.rewriting import Job, Rewritten, rewrite
from patcher.images.sink import NoSink, Sink
from patcher.images.store import Store
from patcher.images.tree import File
from patcher.images.writing import Made, Writer
from patcher.source import AnyPath
from patcher.undoing import undo_by_record


@dataclass(frozen=True)
class RevertedLayer:
    """A layer that was changed back: its digest now, and that of what it expands to.

    ``same``: both are the original's, ``same_content``: the latter is; None where nothing tells what that was.
    """

    index: int
    digest: str
    diff_id: str
    same: bool | None
    same_content: bool | None


@dataclass(frozen=True)
class RevertedImage:
    """An image that was reverted: its programs, its digests before and after.

    ``same``: it is the original, byte for byte; ``same_config``: its configuration is the original's, and so is what
    every layer expands to.
    """

    names: tuple[str, ...]
    platform: str
    before: Digests
    after: Digests
    programs: tuple[str, ...]
    layers: tuple[RevertedLayer, ...]
    same: bool
    same_config: bool


@dataclass(frozen=True)
class RevertedImages:
    """All that became of what was given. ``written`` is False where it was only checked.

    ``digest``: by which a registry knows it; None where it went elsewhere.
    """

    out: str
    written: bool
    images: tuple[RevertedImage, ...]
    left: tuple[LeftImage, ...]
    digest: str | None = None


@dataclass(frozen=True)
class _Undone:
    image: Image
    made: Made
    programs: tuple[str, ...]
    layers: tuple[RevertedLayer, ...]
    same: bool
    same_config: bool


def revert_image(
    image: AnyPath,
    out: AnyPath | None,
    *,
    path: Sequence[str] = (),
    platform: str | None = None,
    force: bool = False,
    check: bool = False,
) -> RevertedImages:
    """Undo a patch of a container image, from what the image carries alone, into a new image.

    The places are those of ``patch_image``. ``path``: the programs, of an image without our label. With ``check``
    nothing is written. Raises NotPatched, ManifestMismatch, or what reading and writing can raise.
    """
    origin = places.place(image)
    check_platform(platform)
    done: list[_Undone] = []
    left: list[tuple[Image, NanonapError]] = []
    with _target(origin, out, force=force, check=check) as target, places.source(origin) as store:
        root, layers = read(store), Layers()
        if target.tag is not None:
            check_one(root, str(out))
        for _, each in images(root):
            try:
                if not wanted(each, platform):
                    raise WrongArchitecture(f"{each.name}: {each.platform}: not asked for")
                done.append(_undone(each, path, layers, target.sink))
            except NanonapError as error:
                left.append((each, error))
        if not done:
            raise next((error for each, error in left if wanted(each, platform)), left[0][1]) if left else _none(store)
        writer = Writer(store, target.sink, {id(each.image): each.made for each in done}, target.tag)
        writer.write(root)
    return RevertedImages(
        str(out),
        not check,
        tuple(_told(each, writer.written.digests[id(each.image)]) for each in done),
        tuple(LeftImage(each.tags, each.platform, each.digest, str(error)) for each, error in left),
        target.digest,
    )


def _none(store: Store) -> BadImage:
    return BadImage(f"{store.name}: there is no image in it")


@contextlib.contextmanager
def _target(origin: places.Place, out: AnyPath | None, *, force: bool, check: bool) -> Iterator[Target]:
    if check:
        yield Target(NoSink(), None)
        return
    if out is None:
        raise UsageError("where the original image goes is missing", parameters=("out",))
    with places.target(places.goal(out), origin, force=force) as target:
        yield target


def _undone(image: Image, paths: Sequence[str], layers: Layers, sink: Sink) -> _Undone:
    told = label.find(image.config)
    if told is not None and told.diff_ids != [each.diff_id for each in image.layers]:
        told = None  # a label that was inherited from the image that this one was built on
    if told is not None and paths:
        raise UsageError(f"{image.name}: says itself which programs were patched", parameters=("path",))
    files = layers.files(image)
    if told is not None and told.appended:
        return _without_top(image, told)
    found = chosen(files, image, paths or [each.path for each in told.programs] if told else paths, every=False)
    jobs: dict[int, dict[File, Job]] = {}
    for program in found:
        index, _, _ = layers.holding(image, program.file)
        jobs.setdefault(index, {})[program.file] = _job(image, program, told)
    new: dict[int, Rewritten] = {}
    for index, here in jobs.items():
        layer, scanned = image.layers[index], layers.scanned(image.layers[index])
        assert layer.blob is not None and scanned is not None  # noqa: S101 - a program lies in it
        before = next((each for each in told.layers if each.index == index), None) if told else None
        recipe = before.recipe if before is not None and scanned.kind == "gzip" else None
        recipe = recipe if recipe is not None and recipe.possible else None
        new[index] = rewrite(layer.blob, scanned, here, sink, recipe)
    ids = [new[index].diff_id if index in new else each.diff_id for index, each in enumerate(image.layers)]
    config = _original(told.config, image) if told else None
    same_config = config is not None and _ids(config, image) == ids
    if config is None or not same_config:
        config = _plain(image, ids)
    befores = {each.index: each for each in told.layers} if told else {}
    changed = tuple(
        RevertedLayer(
            index,
            each.digest,
            each.diff_id,
            each.digest == befores[index].digest if index in befores else None,
            each.diff_id == befores[index].diff_id if index in befores else None,
        )
        for index, each in sorted(new.items())
    )
    same = same_config and all(each.same for each in changed)
    manifest = _manifest(told, image, config) if told and same else None
    same = manifest is not None or (same and told is not None and told.manifest is None)
    made = Made(config, new, manifest=manifest)
    return _Undone(image, made, tuple(each.path for each in found), changed, same, same_config)


def _without_top(image: Image, told: Label) -> _Undone:
    config = _original(told.config, image)
    if _ids(config, image) != [each.diff_id for each in image.layers[:-1]]:
        raise ManifestMismatch(f"{image.name}: its label does not tell of the layers below the one on top")
    made = Made(config, {}, fewer=True, manifest=_manifest(told, image, config))
    same = made.manifest is not None or told.manifest is None
    return _Undone(image, made, tuple(each.path for each in told.programs), (), same, same_config=True)


def _job(image: Image, program: Program, told: Label | None) -> Job:
    """What gives a program back: its own record, or the label, for one that had no room for a record."""
    known = next((each for each in told.programs if each.path == program.path), None) if told else None
    name = f"{program.path} in {image.name}"

    def job(content: BinaryIO) -> tuple[Change, ...]:
        own = known.undo if known is not None else None
        changes = undo_by_record(content, name) if own is None else tuple(own)
        facts = FileFacts.of_pieces(edited(pieces(content.fileno()), changes))
        if known is not None and facts.sha256 != known.before:
            raise ManifestMismatch(f"{name}: does not give back the program that the image's label tells of")
        return changes

    return job


def _original(packed: str, image: Image) -> bytes:
    try:
        return label.unpacked(packed)
    except WrongShape as error:
        raise ManifestMismatch(f"{image.name}: its label is damaged ({error})") from error


def _ids(config: bytes, image: Image) -> list[str]:
    document = documents.parsed(config, f"the label of {image.name}")
    return documents.strings(documents.optional(document, "rootfs", dict, image.name), "diff_ids", image.name)


def _manifest(told: Label, image: Image, config: bytes) -> bytes | None:
    """The original manifest, if the image has one now and all that it names is as it was."""
    if told.manifest is None or image.manifest is None:
        return None
    raw = _original(told.manifest, image)
    document = documents.parsed(raw, f"the label of {image.name}")
    named = documents.optional(document, "config", dict, image.name).get("digest")
    return raw if named == documents.digest_of(config) else None


def _plain(image: Image, ids: list[str]) -> bytes:
    """The configuration without our labels, for an image whose original is not known."""
    config: Document = copy.deepcopy(image.config)
    config["rootfs"]["diff_ids"] = ids
    labels = documents.optional(documents.optional(config, "config", dict, image.name), "Labels", dict, image.name)
    if labels.pop(label.LABEL, None) is not None:
        labels.pop(label.BASE_DIGEST, None)
        labels.pop(label.BASE_NAME, None)
    return documents.written(config, image.config_raw)


def _told(done: _Undone, digest: str) -> RevertedImage:
    return RevertedImage(
        names=done.image.tags,
        platform=done.image.platform,
        before=done.image.digests,
        after=Digests(digest, documents.digest_of(done.made.config)),
        programs=done.programs,
        layers=done.layers,
        same=done.same,
        same_config=done.same_config,
    )
