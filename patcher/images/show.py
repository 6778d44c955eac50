"""What a person is told of an image, line by line, and the JSON that a script gets."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from patcher.answers import encode
from patcher.images.inspecting import InspectedImage, VerifiedImage
from patcher.images.patching import ChangedLayer, LeftImage, PatchedImage, PatchedImages
from patcher.images.places import STREAM
from patcher.images.reading import Digests
from patcher.images.undoing import RevertedImages
from patcher.show import verified_json

Say = Callable[[str], None]


def patched_json(done: PatchedImages) -> dict[str, Any]:
    """The dataclass as it stands, each program with its manifest."""
    document: dict[str, Any] = encode(done)
    for shown, each in zip(document["images"], done.images, strict=True):
        shown["programs"] = [
            {"path": one.path, "seccomp": asdict(one.filters), "manifest": one.manifest.to_json()}
            for one in each.programs
        ]
    return document


def show_patched(done: PatchedImages, say: Say) -> None:
    """What was patched, what was left, the new digests, how to undo it."""
    for each in done.images:
        _show_one(each, say)
    _show_left(done.left, say)
    for warning in done.warnings:
        say(f"  warning       {warning}")
    if done.out != STREAM:
        at = f" as {done.digest}" if done.digest else ""
        say(f"{done.out}: written{at}; the digests are new: sign it again")


def _show_one(image: PatchedImage, say: Say) -> None:
    say(f"{_named(image.names, image.platform)}: patched")
    _show_digests(image.before, image.after, say)
    for program in image.programs:
        manifest = program.manifest
        changed = sum(len(each.new) for each in manifest.edits)
        how = manifest.strategy + (f", slack {manifest.slack_ns} ns" if manifest.slack_ns else "")
        say(f"  patched       {program.path} ({how}), {manifest.go.version}; {changed} bytes changed")
        say(f"  newly calls   {', '.join(manifest.new_syscalls)} (a seccomp profile that kills for them kills it)")
        if program.filters:
            say(f"  warning       {program.path} may set a seccomp filter itself ({program.filters})")
        say(f"  proof         {manifest.proof.passed} of {manifest.proof.cases} cases hold")
    for layer in image.layers:
        say(f"  layer         {_layer(layer)}")


def _show_digests(before: Digests, after: Digests, say: Say) -> None:
    if before.manifest is not None:
        say(f"  manifest      {before.manifest} → {after.manifest}")
    say(f"  image ID      {before.config} → {after.config}")


def _show_left(left: Iterable[LeftImage], say: Say) -> None:
    for each in left:
        say(f"{_named(each.names, each.platform)}: carried over as it is: {each.reason}")


def show_inspected(found: Iterable[InspectedImage], say: Say) -> None:
    """Each Go program in a line."""
    for image in found:
        say(f"{_named(image.names, image.platform)}: {image.digest}, {len(image.layers)} layers")
        for each in image.programs:
            if each.seen is None:
                say(f"  {each.path}: layer {each.layer + 1}, {each.reason}")
                continue
            patched = each.seen.patched
            applies = [name for name, one in each.seen.strategies.items() if one.applies]
            can = f"patched ({patched.strategy})" if patched else f"can be patched by {', '.join(applies) or 'nothing'}"
            say(f"  {each.path}: layer {each.layer + 1}, {each.seen.go.version}, {can}")
        if not image.programs:
            say("  no Go program in it")


def verified_image_json(found: Iterable[VerifiedImage]) -> dict[str, Any]:
    """Of each program what ``verify`` tells in JSON."""
    images = [
        {
            "names": list(each.names),
            "platform": each.platform,
            "digest": each.digest,
            "programs": [verified_json(one) for one in each.programs],
            "reason": each.reason,
        }
        for each in found
    ]
    return {"images": images}


def show_verified(found: Iterable[VerifiedImage], say: Say) -> None:
    """Each patched program in a line."""
    for image in found:
        for each in image.programs:
            cases = f"{each.proof.passed} of {each.proof.cases} cases hold"
            say(f"{_named(image.names, image.platform)}: {each.path}: as its undo record says; {cases}")
        if image.reason is not None:
            say(f"{_named(image.names, image.platform)}: not patched: {image.reason}")


def reverted_json(done: RevertedImages) -> dict[str, Any]:
    """The dataclass as it stands."""
    document: dict[str, Any] = encode(done)
    return document


def show_reverted(done: RevertedImages, say: Say) -> None:
    """What came back, and how much of it is the original byte for byte."""
    for image in done.images:
        say(f"{_named(image.names, image.platform)}: reverted")
        _show_digests(image.before, image.after, say)
        say(f"  undone        {', '.join(image.programs)}")
        for layer in image.layers:
            told = {
                (True, True): "the original, byte for byte",
                (False, True): "expands to the original; its compressed bytes could not be made again",
                (None, None): "nothing tells what the original was",
            }.get((layer.same, layer.same_content), "not the original: something else changed, too")
            say(f"  layer         {layer.index + 1}: {layer.digest}, {told}")
        if image.same:
            say("  image         the original, byte for byte")
        elif image.same_config:
            say("  image         the original configuration and contents, under another manifest")
        else:
            say("  image         the programs are the original's; nothing tells what the configuration was")
    _show_left(done.left, say)
    if not done.written:
        say("nothing was written")
    elif done.out != STREAM:
        say(f"{done.out}: written{f' as {done.digest}' if done.digest else ''}")


def _layer(layer: ChangedLayer) -> str:
    if layer.diff_id_before is None:
        return f"{layer.index + 1}, new on top: {layer.after}"
    undo = "" if layer.same_again else "; a revert will give back what it expands to, not its compressed bytes"
    before = layer.before or layer.diff_id_before
    return f"{layer.index + 1}: {before} → {layer.after}{undo}"


def _named(names: Iterable[str], platform: str) -> str:
    return " ".join([*names, platform])
