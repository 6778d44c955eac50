"""The patch of an image: programs patched where they lie in an image's layers, and the documents that then follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from patcher.errors import ManifestMismatch, WrongArchitecture
from patcher.file.changes import edited
from patcher.file.content import pieces
from patcher.file.facts import FileFacts
from patcher.golang.seccomp import Filters
from patcher.images import documents, places
from patcher.images.choosing import USUAL, Program, check_platform, wanted
from patcher.images.reading import Digests, Image, check_one, images, read
from patcher.images.tree import File
from patcher.images.working import PlannedProgram, Work
from patcher.images.writing import Made, Writer
from patcher.manifest import Manifest
from patcher.patching import check_asked, plan_patch
from patcher.source import AnyPath
from patcher.strategies.table import DEFAULT_STRATEGY
from patcher.wait import PRECISE, Wait


@dataclass(frozen=True)
class PatchedProgram:
    """A program of an image that was patched: its path, the patch, and what shows that it may set a filter itself."""

    path: str
    manifest: Manifest
    filters: Filters


@dataclass(frozen=True)
class ChangedLayer:
    """A layer by its place, lowest first, and its digests before and after; ``before`` is None of a new one on top.

    ``same_again``: a revert will give the old compressed bytes, as far as that can be told; else what they expand to.
    """

    index: int
    before: str | None
    after: str
    diff_id_before: str | None
    diff_id_after: str
    same_again: bool


@dataclass(frozen=True)
class PatchedImage:
    """An image that was patched: its names, its platform, its digests before and after.

    Before, there is no manifest in an archive of docker's.
    """

    names: tuple[str, ...]
    platform: str
    before: Digests
    after: Digests
    programs: tuple[PatchedProgram, ...]
    layers: tuple[ChangedLayer, ...]


@dataclass(frozen=True)
class LeftImage:
    """An image that was carried over as it is, and why."""

    names: tuple[str, ...]
    platform: str
    digest: str
    reason: str


@dataclass(frozen=True)
class PatchedImages:
    """All that became of what was given: where it went, the images patched and left, and what is to be known.

    ``digest``: by which a registry knows it; None where it went elsewhere.
    """

    out: str
    images: tuple[PatchedImage, ...]
    left: tuple[LeftImage, ...]
    warnings: tuple[str, ...]
    digest: str | None = None


def patch_image(
    image: AnyPath,
    out: AnyPath,
    strategy: str = DEFAULT_STRATEGY,
    *,
    path: Sequence[str] = (),
    all: bool = False,
    platform: str | None = None,
    append_layer: bool = False,
    slack_ns: int | None = None,
    wait: Wait = PRECISE,
    accept_thread_cost: bool = False,
    force: bool = False,
) -> PatchedImages:
    """Patch programs in a container image into a new image; nothing is written unless every proof holds.

    ``image`` and ``out``: an OCI layout's folder, an archive, "-", or a name behind ``oci:``, ``oci-archive:``,
    ``docker-archive:``, ``docker:``, ``podman:`` or ``registry:``. ``path``: the programs, by their paths in the image;
    without any, the one that it starts, or with ``all`` every Go program. ``platform``: as in linux/amd64/v3.
    ``append_layer``: put the programs into a layer of their own on top. The other options are those of ``patch``.
    Raises a subclass of NanonapError that says what is wrong and what to do.
    """
    origin, goal = places.place(image), places.goal(out)
    check_asked(origin.shown, strategy, slack_ns, wait, accept_thread_cost)
    check_platform(platform)

    def plan(content: BinaryIO, name: str) -> PlannedProgram:
        found = plan_patch(
            content, strategy, slack_ns=slack_ns, wait=wait, accept_thread_cost=accept_thread_cost, name=name
        )
        changes = tuple(each.done for each in found.manifest.edits)
        if FileFacts.of_pieces(edited(pieces(content.fileno()), changes)) != found.manifest.output:
            raise ManifestMismatch(f"{name}: changed while it was read; try again")
        return PlannedProgram(found.manifest, found.filters, changes)

    with places.target(goal, origin, force=force) as target, places.source(origin) as store:
        root = read(store)
        if target.tag is not None:
            check_one(root, goal.shown)
        work = Work(target.sink, plan, append_layer)
        for _, each in images(root):
            if not wanted(each, platform):
                reason = f"not {platform}" if platform else f"where no platform is named, {USUAL}'s images are patched"
                work.left.append((each, WrongArchitecture(f"{each.name}: {each.platform}: {reason}")))
            else:
                work.take(each, path, every=all)
        work.check_any()
        writer = Writer(store, target.sink, {id(each): made for each, made, _ in work.done}, target.tag)
        writer.write(root)
    digests = writer.written.digests
    dropped = tuple(f"left out: {each}; it would not hold for the new image" for each in writer.written.dropped)
    return PatchedImages(
        goal.shown if goal.kind != places.STREAM else places.STREAM,
        tuple(_told(each, made, found, work.planned, digests[id(each)]) for each, made, found in work.done),
        tuple(LeftImage(each.tags, each.platform, each.digest, str(error)) for each, error in work.left),
        (*work.warnings, *dropped),
        target.digest,
    )


def _told(
    image: Image, made: Made, found: list[Program], planned: dict[File, PlannedProgram], digest: str
) -> PatchedImage:
    layers = [
        ChangedLayer(
            index=index,
            before=(image.layers[index].descriptor or {}).get("digest"),
            after=new.digest,
            diff_id_before=image.layers[index].diff_id,
            diff_id_after=new.diff_id,
            same_again=new.recipe is not None or new.kind == "tar",
        )
        for index, new in sorted(made.layers.items())
    ]
    if made.top is not None:
        layers.append(ChangedLayer(len(image.layers), None, made.top.digest, None, made.top.diff_id, same_again=True))
    return PatchedImage(
        names=image.tags,
        platform=image.platform,
        before=image.digests,
        after=Digests(digest, documents.digest_of(made.config)),
        programs=tuple(
            PatchedProgram(each.path, planned[each.file].manifest, planned[each.file].filters) for each in found
        ),
        layers=tuple(layers),
    )
