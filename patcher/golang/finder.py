"""Where an image's function table lies, or why there is none that can be read."""

import struct
from collections.abc import Iterator

from patcher.errors import MalformedBinary, NotGo, UnsupportedGo
from patcher.file.elf_tables import Span, hits
from patcher.golang.buildinfo import UNKNOWN
from patcher.golang.image import PCLNTAB, GoImage
from patcher.golang.pclntab import MAGIC_118, MAGIC_120, OBFUSCATED, OLD_MAGICS, FunctionTable

_MOST_CANDIDATES = 64
# A library that a program of gccgo's needs, one of its sections, the sources of its runtime in messages.
_GCCGO = (b"\0libgo.so.", b"\0.go_export\0", b"/libgo/runtime/")


def find_function_table(image: GoImage) -> FunctionTable:
    """The image's table: where its section says, or else at the first header that moduledata agrees with.

    Raises what is wrong with the first where none is whole, and NotGo where nothing but its bytes says that it is one.
    """
    first: MalformedBinary | UnsupportedGo | None = None
    for address in _candidates(image):
        try:
            return FunctionTable(image, address)
        except (MalformedBinary, UnsupportedGo) as error:
            first = first or error
    told = image.build != UNKNOWN or image.section(*PCLNTAB) is not None
    if first is not None and (told or isinstance(first, UnsupportedGo)):
        raise first
    if told:
        raise NotGo(f"{image.path}: no function table (pclntab) of Go 1.18 or later; {OBFUSCATED}")
    if any(image.data.find(each) != -1 for each in _GCCGO):
        raise UnsupportedGo(
            f"{image.path}: built by gccgo, whose runtime is not that of the Go toolchain; build it with go build, "
            "then patch"
        )
    raise NotGo(
        f"{image.path}: an ELF file without Go build information and function table; name a program built by Go 1.19 "
        "or later"
    )


def _candidates(image: GoImage) -> Iterator[int]:
    section = image.section(*PCLNTAB)
    if section is not None:
        yield section.address
    left = _MOST_CANDIDATES
    for magic in (MAGIC_120, MAGIC_118, *OLD_MAGICS):
        needle = struct.pack("<IBBBB", magic, 0, 0, image.isa.quantum, 8)
        for segment in image.segments:
            for at in hits(image.path, image.data, needle, Span(segment.offset, segment.file_size)):
                yield segment.address + at - segment.offset
                left -= 1
                if not left:
                    return
