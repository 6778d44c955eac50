"""Which programs of an image are meant: those that are named, the one that it starts, or all that Go built."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from nanonap.base.errors import UsageError
from patcher.errors import InputNotFound, NotARegularFile, NotGo
from patcher.images.documents import Document, optional, strings
from patcher.images.errors import BadImage
from patcher.images.reading import Image, Layer
from patcher.images.store import Blob
from patcher.images.streams import Plain
from patcher.images.tree import Counted, File, Folder, Scanned, laid_over, programs, resolved, scan

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # what engines set without any
_MOST_TOLD = 20
#: The platform whose images are meant where none is named.
USUAL = "linux/amd64"


@dataclass(frozen=True)
class Program:
    """A program of an image by its path there, links followed."""

    path: str
    file: File


class Layers:
    """The layers of images, each read once, however many have it."""

    def __init__(self, *, headers: bool = False) -> None:
        """None was read yet. ``headers``: those of folders and programs are needed, too."""
        self._scanned, self._counted = dict[str, Scanned](), Counted(headers)

    def scanned(self, layer: Layer) -> Scanned | None:
        """What is in a layer; None of one that is not there. Raises BadImage where a digest is wrong."""
        blob = layer.blob
        if blob is None:
            return None
        if blob.name not in self._scanned:
            self._scanned[blob.name] = scan(Plain(blob.read()), self._counted)
        found = self._scanned[blob.name]
        if layer.descriptor is not None and found.digest != layer.descriptor["digest"]:
            raise BadImage(f"{blob.name}: its content is not that of its digest, {layer.descriptor['digest']}")
        if found.diff_id != layer.diff_id:
            raise BadImage(f"{blob.name}: expands to {found.diff_id}, not to {layer.diff_id} as the image says")
        return found

    def files(self, image: Image) -> Folder:
        """The image's files, as a container sees them."""
        found = [each.root for layer in image.layers if (each := self.scanned(layer)) is not None]
        return reduce(laid_over, found, Folder())

    def holding(self, image: Image, file: File) -> tuple[int, Blob, Scanned]:
        """The layer that a file is seen in, its place from the lowest up first; of equal layers the topmost."""
        for index, layer in reversed(list(enumerate(image.layers))):
            if layer.blob is not None and layer.blob.name == file.layer:
                return index, layer.blob, self._scanned[file.layer]
        raise AssertionError(f"{file.layer}: of another image")


def chosen(root: Folder, image: Image, paths: Sequence[str], *, every: bool) -> list[Program]:
    """The programs that are meant, each once.

    Raises InputNotFound or NotARegularFile for a path; NotGo where the image has no Go program, UsageError where it has
    some and starts none of them.
    """
    if paths:
        named = [_shown(resolved(root, _absolute(each, image), image.name)) for each in paths]
        return list({id(each.file): each for each in reversed(named)}.values())[::-1]
    if every:
        found = [_shown(each) for each in programs(root)]
        if not found:
            raise NotGo(f"{image.name}: no Go program in it ({image.platform})")
        return found
    started, words = _started(root, image)
    if started is not None:
        return [started]
    told = [_shown(each).path for each in programs(root)]
    what = f"what it starts ({', '.join(words)}) is no Go program" if words else "it does not say what it starts"
    if not told:
        raise NotGo(f"{image.name}: {what}, and there is no other in it ({image.platform})")
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    raise UsageError(
        f"{image.name}: {what}; its Go programs are {', '.join(told[:_MOST_TOLD])}{more}: name one, or take all",
        parameters=("path", "all"),
    )


def _started(root: Folder, image: Image) -> tuple[Program | None, list[str]]:
    """The Go program that a container of the image starts, and what was looked at."""
    name = f"the configuration of {image.name}"
    config = run_config(image.config, name)
    words = [each[0] for key in ("Entrypoint", "Cmd") if (each := strings(config, key, name))]
    for word in words:
        for candidate in _candidates(word, config, image):
            try:
                found = resolved(root, candidate, image.name)
            except (InputNotFound, NotARegularFile):
                continue
            if found[1].go:
                return _shown(found), words
            break
    return None, words


def _candidates(word: str, config: Document, image: Image) -> list[bytes]:
    """Where a command's first word may lie (execvp(3))."""
    if "/" in word:
        return [_absolute(word, image)]
    name = f"the configuration of {image.name}"
    path = next((each for each in reversed(strings(config, "Env", name)) if each.startswith("PATH=")), _PATH)
    return [_bytes(f"{each}/{word}") for each in path.removeprefix("PATH=").split(":")]


def _absolute(path: str, image: Image) -> bytes:
    """From the working folder, if it does not begin at the root."""
    folder = optional(run_config(image.config, image.name), "WorkingDir", str, image.name)
    return _bytes(path if path.startswith("/") else f"{folder}/{path}")


def _bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # JSON may hold what no file's name can
        return path.encode(errors="backslashreplace")


def run_config(config: Document, name: str) -> Document:
    """The part of a configuration that says how a container runs."""
    found: Document = optional(config, "config", dict, name)
    return found


def _shown(found: tuple[bytes, File]) -> Program:
    return Program(found[0].decode(errors="surrogateescape"), found[1])


def wanted(image: Image, platform: str | None) -> bool:
    """Whether an image is for the platform that is asked for; without any, for the usual one."""
    asked = platform or USUAL
    return image.platform == asked or image.platform.startswith(f"{asked}/")


def check_platform(platform: str | None) -> None:
    """Raises UsageError for what names no platform."""
    if platform is not None and not 2 <= len([each for each in platform.split("/") if each]) <= 3:
        raise UsageError(f"{platform}: not a platform, as {USUAL} is", parameters=("platform",))
