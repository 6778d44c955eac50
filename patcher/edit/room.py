"""Where new bytes may lie: in place of old code, or in the page padding behind a segment's content."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from patcher.asm import assemble
from patcher.code import decode
from patcher.edit import Code, Edit
from patcher.elf import Section
from patcher.errors import NoRoom, ShapeMismatch
from patcher.image import GoImage, Padding

_ALIGN = 16
_P_FILESZ = 32  # offset of p_filesz in an ELF64 program header; p_memsz follows (elf(5))
_SH_SIZE = 32  # offset of sh_size in an ELF64 section header (elf(5))
_NOP, _INT3 = b"\x90", b"\xcc"


def replace_run(image: GoImage, function: str, purpose: str, *, start: int, end: int, text: str) -> tuple[Edit, Code]:
    """An edit that puts ``text`` in place of ``[start, end)``, and the instructions to prove.

    What is left over is filled: by nops where the new code runs on into ``end``, else by int3, which no path
    reaches. Raises ShapeMismatch where the room is too small.
    """
    new = assemble(text, start)
    if len(new) > end - start:
        raise ShapeMismatch(f"{function}: expected {len(new)} bytes of room at {start:#x}, found {end - start}")
    last = list(decode(new, start))[-1].mnemonic
    filler = _INT3 if last in ("jmp", "ret") else _NOP
    edit = Edit(
        function=function,
        purpose=purpose,
        address=start,
        offset=image.offset_of(start, end - start),
        old=image.read(start, end - start),
        new=new.ljust(end - start, filler),
        assembly=text,
    )
    return edit, Code(start, start + len(new))


@dataclass
class Room:
    """Hands out the free bytes behind the segments, from their start on, and knows how much is in use."""

    image: GoImage
    _used: dict[Padding, int] = field(default_factory=dict)

    def place(self, purpose: str, text: str) -> tuple[Edit, Code]:
        """An edit that puts ``text`` behind the code. Raises NoRoom with the sizes where it does not fit."""
        padding = self.image.padding
        start = (padding.address + self._used.get(padding, 0) + _ALIGN - 1) // _ALIGN * _ALIGN if padding else 0
        new = assemble(text, start)
        if padding is None or start + len(new) > padding.address + padding.size:
            free = padding.size - self._used.get(padding, 0) if padding else 0
            raise NoRoom(
                f"{self.image.path}: {len(new)} bytes are needed in the padding behind the code, {free} are free; "
                "strategy netpoll without --slack-ns needs none"
            )
        return self._edit(padding, start, purpose, new, text), Code(start, start + len(new))

    def place_record(self, purpose: str, encode: Callable[[tuple[Edit, ...]], bytes]) -> Edit | None:
        """An edit that puts data into the first padding with room for it; None where no padding has.

        ``encode`` is given the edits of the headers that grow then, whose new sizes are not to be relied on.
        """
        for padding in self.image.paddings:
            used = self._used.get(padding, 0)
            grown = (edit for each in {**self._used, padding: used} for edit in self._grown(each, 0))
            data = encode(tuple(grown))
            if used + len(data) <= padding.size:
                return self._edit(padding, padding.address + used, purpose, data, "")
        return None

    def _edit(self, padding: Padding, start: int, purpose: str, new: bytes, text: str) -> Edit:
        self._used[padding] = start + len(new) - padding.address
        offset = padding.offset + start - padding.address
        return Edit("(padding)", purpose, start, offset, bytes(len(new)), new, text)

    def growth(self) -> tuple[Edit, ...]:
        """The edits of the headers that make used padding part of its segment and of the section before it.

        The kernel maps whole pages and would run the code without them; tools that copy a file by its segments
        (objcopy) or sections (strip) would lose it.
        """
        return tuple(edit for padding, used in self._used.items() for edit in self._grown(padding, used))

    def _grown(self, padding: Padding, used: int) -> Iterator[Edit]:
        segment, size = padding.segment, padding.segment.file_size + used
        yield self._header_edit(
            "(program header)",
            "the segment grows over what lies in its padding",
            segment.header + _P_FILESZ,
            struct.pack("<QQ", size, size),
        )
        last = next((each for each in self.image.sections if each.size and _end(each) == padding.offset), None)
        if last is not None:
            yield self._header_edit(
                "(section header)",
                f"{last.name} grows with its segment, so that strip keeps what lies there",
                last.header + _SH_SIZE,
                struct.pack("<Q", last.size + used),
            )

    def _header_edit(self, function: str, purpose: str, offset: int, new: bytes) -> Edit:
        old = self.image.data[offset : offset + len(new)]
        return Edit(function, purpose, address_of_header(self.image, offset), offset, old, new, "")


def _end(section: Section) -> int:
    return section.offset + section.size


def address_of_header(image: GoImage, offset: int) -> int:
    """The virtual address of a byte of the ELF headers; the offset itself where no segment holds them."""
    for segment in image.segments:
        if segment.offset <= offset < segment.offset + segment.file_size:
            return segment.address + offset - segment.offset
    return offset
