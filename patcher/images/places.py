"""Where images come from and go to: a folder, an archive, a pipe, a container engine, a registry.

An engine is asked by its own command (`docker save`, `docker load`), a registry by skopeo. No shell is involved.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanonap.base.errors import DiskFull, UsageError
from nanonap.base.files import as_ours, beside, beside_folder, temporary_failed
from patcher.errors import InputNotFound
from patcher.images import registry
from patcher.images.errors import EngineFailed
from patcher.images.sink import ArchiveSink, FolderSink, Sink
from patcher.images.store import Store, opened
from patcher.images.streams import Budget
from patcher.rewrite import check_output
from patcher.source import AnyPath

STREAM = "-"
_FILES = ("oci", "oci-archive", "docker-archive")
_ENGINES = ("docker", "podman")
_REGISTRY = "registry"
_PACKAGES = {"docker": "docker.io", "podman": "podman", "skopeo": "skopeo"}


@dataclass(frozen=True)
class Place:
    """One place: ``kind`` is the prefix, "" where there was none, or STREAM; ``name`` what follows it."""

    kind: str
    name: str
    shown: str

    @property
    def path(self) -> Path | None:
        """Of a file or folder."""
        return Path(self.name) if self.kind in ("", *_FILES) else None


def place(text: AnyPath) -> Place:
    """Read a place's name. Raises UsageError."""
    shown = os.fspath(text)
    if shown == STREAM:
        return Place(STREAM, "", "the archive on standard input")
    kind, colon, name = shown.partition(":")
    if isinstance(text, str) and colon and kind in (*_FILES, *_ENGINES, _REGISTRY):
        if kind == "docker" and name.startswith("//"):
            raise UsageError(f"{shown}: an image in a registry is registry:{name[2:]} here")
        if not name or (kind in (*_ENGINES, _REGISTRY) and name.startswith("-")):
            raise UsageError(f"{shown}: no name behind {kind}:")
        return Place(kind, name, shown)
    if not shown:
        raise UsageError("an image without a name")
    return Place("", shown, shown)


def goal(text: AnyPath) -> Place:
    """The same of a place that an image goes to, which cannot have its digest yet. Raises UsageError."""
    where = place(text)
    if where.kind in (*_ENGINES, _REGISTRY) and "@" in where.name:
        raise UsageError(
            f"{where.shown}: the new image has another digest, which is known when it is made: name a tag",
            parameters=("out",),
        )
    return where


@contextlib.contextmanager
def source(where: Place) -> Iterator[Store]:
    """The image that lies there. Raises UsageError, InputNotFound, BadImage, EngineFailed."""
    budget = Budget()
    with contextlib.ExitStack() as stack:
        if where.path is not None:
            found: Path | BinaryIO = where.path
        elif where.kind == STREAM:
            found = stack.enter_context(_stdin(where))
        else:
            found = stack.enter_context(_fetched(where))
        yield stack.enter_context(opened(found, where.shown, budget))


def _stdin(where: Place) -> BinaryIO:
    try:
        if os.isatty(0):
            raise UsageError("standard input is a terminal: send an archive into it", parameters=("image",))
        return os.fdopen(os.dup(0), "rb", buffering=0)
    except OSError as error:
        raise InputNotFound(f"{where.shown}: cannot be read ({os.strerror(error.errno or 0)})") from error


@contextlib.contextmanager
def _fetched(where: Place) -> Iterator[Path | BinaryIO]:
    """An engine's image as an archive, in a file that nobody else sees; a registry's in a folder."""
    with _workplace() as inside:
        image = inside / "image"
        if where.kind == _REGISTRY:
            _run(registry.fetching(where.name, image), where)
            registry.make_layout(image, where.shown, None if "@" in where.name else _tag(where))
            yield image
            return
        _run([where.kind, "save", "-o", str(image), where.name], where)
        stream = image.open("rb", buffering=0)
        image.unlink()
        with stream:
            yield stream


@dataclass
class Target:
    """Where a new image goes: what takes it, and the name that it gets there (None: those that it has).

    ``digest``: by which a registry knows it, once it is there; None of other places.
    """

    sink: Sink
    tag: str | None
    digest: str | None = None


@contextlib.contextmanager
def target(where: Place, source_of: Place, *, force: bool) -> Iterator[Target]:
    """What takes a new image; it is there when the block has ended well, and nothing is if not.

    Raises OutputExists, SameFile, OutputNotWritable, DiskFull, EngineFailed.
    """
    if where.path is not None:
        folder = where.kind == "oci" or (where.kind == "" and source_of.path is not None and source_of.path.is_dir())
        with (_folder if folder else _archive)(where.path, source_of.path, force) as sink:
            yield Target(sink, None)
        return
    with _workplace() as inside:
        image, digest = inside / "image", inside / "digest"
        try:
            with (_folder if where.kind == _REGISTRY else _archive)(image, None, False) as sink:
                made = Target(sink, None if where.kind == STREAM else _tag(where))
                yield made
        except DiskFull as error:
            raise temporary_failed() from error
        if where.kind == STREAM:
            _send(image)
        elif where.kind == _REGISTRY:
            _run(registry.sending(where.name, image, digest), where)
            made.digest = digest.read_text(encoding="ascii").strip()
        else:
            _run([where.kind, "load", "-i", str(image)], where)


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    """A folder that is there meanwhile. Raises DiskFull or OutputNotWritable."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="nanonap-")
    except OSError as error:
        raise temporary_failed(error) from error
    with folder as name:
        yield Path(name)


def _tag(where: Place) -> str:
    """The name that an engine is to give, in full: podman's own are those of localhost."""
    first, slash, _ = where.name.partition("/")
    known = slash and ("." in first or ":" in first or first == "localhost")
    name = f"localhost/{where.name}" if where.kind == "podman" and not known else where.name
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


@contextlib.contextmanager
def _folder(path: Path, _source: Path | None, _force: bool) -> Iterator[Sink]:
    with beside_folder(path) as temporary:
        yield FolderSink(temporary)


@contextlib.contextmanager
def _archive(path: Path, source_path: Path | None, force: bool) -> Iterator[Sink]:
    try:
        streams = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:
        raise as_ours(error, path) from error
    out = path if streams else check_output(source_path or Path(os.devnull), path, force)
    with beside(out, replace=force) as temporary:
        try:
            with temporary.open("wb+") as stream:
                yield ArchiveSink(stream)
        except OSError as error:
            raise as_ours(error, path) from error
        temporary.chmod(0o644)


def check_stdout() -> None:
    """Raises UsageError where an archive would go to a terminal."""
    if os.isatty(1):
        raise UsageError("standard output is a terminal: send the archive to a file or a command", parameters=("out",))


def _send(archive: Path) -> None:
    """An archive to standard output, when all of it is there."""
    sys.stdout.flush()
    try:
        with archive.open("rb") as stream, os.fdopen(os.dup(1), "wb") as out:
            shutil.copyfileobj(stream, out)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_ours(error, Path("stdout")) from error


def _run(words: list[str], where: Place) -> None:
    """Have an engine do something. Raises EngineFailed, in its own words."""
    program = words[0]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError as error:
        besides = "; or name an archive or an OCI layout that another tool has fetched" if program == "skopeo" else ""
        raise EngineFailed(
            f"{where.shown}: there is no {program} command here; install it (apt-get install "
            f"{_PACKAGES[program]}){besides}"
        ) from error
    except OSError as error:
        raise EngineFailed(f"{where.shown}: {program} cannot be started ({error})") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        told = registry.plain_words(said[-1]) if program == "skopeo" else said[-1]
        raise EngineFailed(f"{where.shown}: {' '.join(words[:2])} failed: {told}")
