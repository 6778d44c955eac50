"""A layer on top with the patched programs in it, all their attributes as they were: their headers are copied."""

import hashlib
from collections.abc import Sequence

from patcher.file.changes import edited
from patcher.file.content import pieces
from patcher.images.choosing import Layers, Program
from patcher.images.errors import LayerFixed
from patcher.images.packing import new_packer
from patcher.images.reading import Image
from patcher.images.rewriting import Job, Rewritten, visited
from patcher.images.sink import Sink
from patcher.images.tar import BLOCK
from patcher.images.tree import Folder, at, parts


def append(image: Image, files: Folder, found: Sequence[tuple[Program, Job]], layers: Layers, sink: Sink) -> Rewritten:
    """Write such a layer, compressed as the one below it. The folders that lead to a program are in it, too.

    Raises what a job raises, and LayerFixed where an entry cannot be copied.
    """
    scanned = [each for layer in image.layers if (each := layers.scanned(layer)) is not None]
    kind, plain, folders = scanned[-1].kind, hashlib.sha256(), set[bytes]()
    with sink.blob() as writer:
        pack = new_packer(kind, writer.write)

        def write(piece: bytes) -> None:
            plain.update(piece)
            pack.write(piece)

        for program, job in found:
            own = parts(program.file.name, image.name)
            if program.file.sparse or at(files, own) is not program.file:
                raise LayerFixed(f"{program.path} in {image.name}: its entry cannot be copied into a layer on top")
            for depth in range(len(own)):
                folder = at(files, own[:depth])
                name = b"/".join(own[:depth])
                if isinstance(folder, Folder) and name not in folders:
                    folders.add(name)
                    write(folder.headers)
            _, blob, _ = layers.holding(image, program.file)
            with visited(blob, program.file) as content:
                changes = job(content)
                write(program.file.headers)
                for piece in edited(pieces(content.fileno()), changes):
                    write(piece)
                write(bytes(-program.file.size % BLOCK))
        write(bytes(2 * BLOCK))
        pack.finish()
    return Rewritten(writer.digest, writer.size, f"sha256:{plain.hexdigest()}", kind, None)
