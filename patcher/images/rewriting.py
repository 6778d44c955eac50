"""A layer written anew, with other bytes in place of some files' data: of the same size, so no header is touched."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from patcher.errors import MalformedBinary
from patcher.file.changes import Change, edited
from patcher.file.content import LARGEST, pieces
from patcher.images.errors import BadImage
from patcher.images.packing import Behind, GzipPacker, Recipe, packer
from patcher.images.sink import Sink
from patcher.images.store import Blob, scratch
from patcher.images.streams import Plain
from patcher.images.tree import File, Scanned

#: What is to be done with a program, which is an open file: gives the changes to lay over it.
Job = Callable[[BinaryIO], tuple[Change, ...]]


@dataclass(frozen=True)
class Rewritten:
    """A new layer. ``recipe``: how the old one's compressed bytes can be made again, if that is known."""

    digest: str
    size: int
    diff_id: str
    kind: str
    recipe: Recipe | None


def rewrite(
    blob: Blob, scanned: Scanned, jobs: Mapping[File, Job], sink: Sink, recipe: Recipe | None = None
) -> Rewritten:
    """Write a layer with the jobs' changes in it, compressed as it is or by a recipe.

    Raises what a job raises, and BadImage where the layer is not what was scanned.
    """
    stream, plain = Plain(blob.read()), hashlib.sha256()
    with sink.blob() as writer:
        pack = packer(stream, writer.write, recipe)
        with Behind(pack) as behind:

            def write(piece: bytes) -> None:
                plain.update(piece)
                behind.write(piece)

            for file in sorted(jobs, key=lambda each: each.offset):
                for piece in stream.pieces(file.offset - stream.at):
                    write(piece)
                with program(stream, file) as content:
                    behind.rest()
                    for piece in edited(pieces(content.fileno()), jobs[file](content)):
                        write(piece)
            for piece in stream.pieces():
                write(piece)
            behind.finish()
        if stream.raw.digest() != scanned.digest:
            raise BadImage(f"{stream.raw.name}: changed while it was read; try again")
    own = pack.recipe if isinstance(pack, GzipPacker) and len(stream.members) == 1 else None
    return Rewritten(writer.digest, writer.size, f"sha256:{plain.hexdigest()}", stream.kind, own)


@contextlib.contextmanager
def visited(blob: Blob, file: File) -> Iterator[BinaryIO]:
    """A program of a layer, in a file without a name."""
    stream = Plain(blob.read())
    for _ in stream.pieces(file.offset):
        pass
    with program(stream, file) as content:
        yield content


@contextlib.contextmanager
def program(stream: Plain, file: File) -> Iterator[BinaryIO]:
    """The program that comes next in a layer, in a file without a name."""
    if file.size > LARGEST:
        raise MalformedBinary(
            f"{stream.raw.name}: a file of {file.size >> 20} MiB; a program has at most {LARGEST >> 20} MiB"
        )
    with scratch(stream.pieces(file.size)) as content:
        yield content
