"""The files of an image as a container sees them: layer laid over layer, whiteouts taken out, links followed inside.

Whiteouts are those of the OCI image specification (layer.md). Nothing here is ever looked up on the host.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from patcher.errors import InputNotFound, NotARegularFile
from patcher.images.errors import BadImage, ImageTooLarge
from patcher.images.streams import Plain
from patcher.images.tar import DIRECTORY, HARD, REGULAR, SYMBOLIC, Entry, entries

MOST_ENTRIES = 500_000
_MOST_KEPT = 128 << 20  # bytes
_MOST_HOPS = 40  # MAXSYMLINKS of Linux
_DEEPEST = 256
_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
_ELF, _BUILD_INFO = b"\x7fELF\x02\x01", b"\xff Go buildinf:"  # of 64 bits and little-endian; debug/buildinfo
_STARGZ = (b"stargz.index.json", b".no.prefetch.landmark", b".prefetch.landmark")  # estargz.md


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A regular file: its layer's blob, its data's place and size in what that expands to; hard links share one.

    ``go``: an ELF file with Go's build information. ``name`` and ``headers`` are kept of ELF files alone.
    """

    layer: str
    offset: int
    size: int
    sparse: bool
    go: bool
    name: bytes
    headers: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A link by its target; a hard one leads to another entry of the image, from the image's root."""

    target: bytes
    hard: bool


@dataclass(slots=True)
class Folder:
    """A folder, and the header blocks that made it. ``opaque``: what lower layers have in it is hidden.

    ``gone``: names in it that lower layers have and this one takes away.
    """

    inside: "dict[bytes, Node]" = field(default_factory=dict)
    headers: bytes = b""
    gone: set[bytes] = field(default_factory=set)
    opaque: bool = False


Node = File | Link | Folder | None
"""None for devices, FIFOs and whatever else has a name and no content."""


@dataclass(frozen=True)
class Scanned:
    """A layer that was read to its end: its files, and the digests of the blob and of what it expands to.

    ``stargz``: it has eStargz's own table of contents.
    """

    root: Folder
    digest: str
    diff_id: str
    kind: str
    stargz: bool


@dataclass
class Counted:
    """How many entries a command has seen, and how many bytes of names, links and headers it keeps of them.

    ``headers``: whether they are kept at all, for a layer on top.
    """

    headers: bool = False
    entries: int = 0
    kept: int = 0

    def keep(self, name: str, size: int) -> None:
        """Some bytes more. Raises ImageTooLarge."""
        self.kept += size
        if self.kept > _MOST_KEPT:
            raise ImageTooLarge(f"{name}: more than {_MOST_KEPT >> 20} MiB of names and headers of folders")

    def headers_of(self, entry: Entry, stream: Plain) -> bytes:
        """An entry's headers, if they are kept. Raises ImageTooLarge."""
        if not self.headers:
            return b""
        self.keep(stream.raw.name, len(entry.headers))
        return entry.headers

    def one_more(self, name: str) -> None:
        """One more entry. Raises ImageTooLarge for more than any honest image has."""
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise ImageTooLarge(f"{name}: more than {MOST_ENTRIES} entries")


def scan(stream: Plain, counted: Counted) -> Scanned:
    """Read a layer. Raises BadImage or ImageTooLarge."""
    root, stargz = Folder(), False
    for entry in entries(stream):
        counted.one_more(stream.raw.name)
        counted.keep(stream.raw.name, len(entry.name) + len(entry.link))
        stargz = stargz or entry.name in _STARGZ
        _add(root, entry, stream, counted)
    diff_id = stream.digest()
    return Scanned(root, stream.raw.digest(), diff_id, stream.kind, stargz)


def _add(root: Folder, entry: Entry, stream: Plain, counted: Counted) -> None:
    path = parts(entry.name, stream.raw.name)
    if not path:
        root.headers = counted.headers_of(entry, stream)
        return
    folder = _made(root, path[:-1], stream.raw.name)
    last = path[-1]
    if last == _OPAQUE:
        folder.opaque = True
    elif last.startswith(_WHITEOUT):
        folder.gone.add(last.removeprefix(_WHITEOUT))
    elif entry.kind == DIRECTORY:
        before = folder.inside.get(last)
        here = before if isinstance(before, Folder) else Folder()
        here.headers = counted.headers_of(entry, stream)
        folder.inside[last] = here
    elif entry.kind == HARD:
        target = at(root, parts(entry.link, stream.raw.name))
        folder.inside[last] = target if isinstance(target, File) else Link(entry.link, hard=True)
    elif entry.kind == SYMBOLIC:
        folder.inside[last] = Link(entry.link, hard=False)
    elif entry.kind == REGULAR:
        elf, go = _looked_at(stream, entry.size)
        name, headers = (entry.name, counted.headers_of(entry, stream)) if elf else (b"", b"")
        folder.inside[last] = File(stream.raw.name, entry.offset, entry.size, entry.sparse, go, name, headers)
    else:
        folder.inside[last] = None


def parts(name: bytes, image: str) -> list[bytes]:
    """A name of an entry, step by step from the root. Raises BadImage for one that leads out of the image."""
    found = list[bytes]()
    for each in name.split(b"/"):
        if each == b".." and not found:
            raise BadImage(f"{image}: an entry whose name leads out of the image")
        if each == b"..":
            found.pop()
        elif each not in (b"", b"."):
            found.append(each)
    if len(found) > _DEEPEST:
        raise BadImage(f"{image}: an entry more than {_DEEPEST} folders deep")
    return found


def _made(root: Folder, path: list[bytes], image: str) -> Folder:
    """The folder of that path in this layer, made where it is none yet."""
    here = root
    for each in path:
        below = here.inside.get(each)
        if not isinstance(below, Folder):
            here.inside[each] = below = Folder()
        here = below
    return here


def at(root: Folder, path: list[bytes]) -> Node:
    """What lies there, no link followed; None where there is nothing, too."""
    here: Node = root
    for each in path:
        if not isinstance(here, Folder):
            return None
        here = here.inside.get(each)
    return here


def _looked_at(stream: Plain, size: int) -> tuple[bool, bool]:
    """Whether what comes next in a stream is an ELF file, and whether it is a Go program, by its looks."""
    before = stream.read(min(size, len(_ELF)))
    if before != _ELF:
        return False, False
    for piece in stream.pieces(size - len(before)):
        if _BUILD_INFO in before + piece[: len(_BUILD_INFO)] or _BUILD_INFO in piece:
            return True, True
        before = (before + piece)[-len(_BUILD_INFO) :]
    return True, False


def laid_over(lower: Folder, upper: Folder) -> Folder:
    """A layer over those below it; the lower is changed, the upper not."""
    if upper.opaque:
        lower.inside.clear()
    for each in upper.gone:
        lower.inside.pop(each, None)
    for name, node in upper.inside.items():
        before = lower.inside.get(name)
        if isinstance(node, Folder):
            lower.inside[name] = laid_over(before if isinstance(before, Folder) else Folder(), node)
        else:
            lower.inside[name] = node
    lower.headers = upper.headers or lower.headers
    return lower


def programs(root: Folder) -> Iterator[tuple[bytes, File]]:
    """Every Go program that can be seen, by one of its names: the first in the order of names."""
    seen = set[int]()

    def below(folder: Folder, path: bytes) -> Iterator[tuple[bytes, File]]:
        for name, node in sorted(folder.inside.items()):
            if isinstance(node, Folder):
                yield from below(node, path + name + b"/")
            elif isinstance(node, File) and node.go and id(node) not in seen:
                seen.add(id(node))
                yield path + name, node

    yield from below(root, b"/")


def resolved(root: Folder, path: bytes, image: str) -> tuple[bytes, File]:
    """The file that a path of the image leads to, and its own path.

    Raises InputNotFound where there is none, NotARegularFile where something else is there.
    """
    shown = f"{path.decode(errors='backslashreplace')} in {image}"
    steps, here, hops = _steps(path), list[bytes](), 0
    while steps:
        each = steps.pop()
        if each == b"..":
            del here[-1:]
            continue
        node = at(root, [*here, each])
        if isinstance(node, Link):
            hops += 1
            if hops > _MOST_HOPS:
                raise InputNotFound(f"{shown}: more than {_MOST_HOPS} links, or links that lead to each other")
            if node.hard or node.target.startswith(b"/"):
                here = []
            steps += _steps(node.target)
            if len(steps) > _DEEPEST * 2:
                raise InputNotFound(f"{shown}: links that lead too deep")
            continue
        here.append(each)
        if steps and not isinstance(node, Folder):
            raise InputNotFound(f"{shown}: no such file in the image; check the path")
    found = at(root, here)
    if isinstance(found, File):
        return b"/" + b"/".join(here), found
    name = here[-1] if here else b""
    parent = at(root, here[:-1])
    if isinstance(found, Folder) or (isinstance(parent, Folder) and name in parent.inside):
        raise NotARegularFile(f"{shown}: not a regular file; name a Go executable")
    raise InputNotFound(f"{shown}: no such file in the image; check the path")


def _steps(path: bytes) -> list[bytes]:
    """A path's steps, the first one last."""
    return [each for each in reversed(path.split(b"/")) if each not in (b"", b".")]


def names_of(root: Folder, file: File) -> int:
    """How many names a file has: hard links share its data."""

    def below(folder: Folder) -> int:
        return sum(below(each) if isinstance(each, Folder) else each is file for each in folder.inside.values())

    return below(root)
