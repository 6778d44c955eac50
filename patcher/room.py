"""Where new code may lie: in place of old code, or in the executable segment's own page padding."""

import struct
from dataclasses import dataclass, field

from patcher.asm import assemble
from patcher.code import decode
from patcher.edit import Code, Edit
from patcher.errors import NoRoom, ShapeMismatch
from patcher.image import GoImage

_ALIGN = 16
_P_FILESZ = 32  # offset of p_filesz in an ELF64 program header; p_memsz follows (elf(5))
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
    """Hands out the executable segment's free page padding, from its start on, and knows how much is in use."""

    image: GoImage
    used: int = field(default=0)

    def place(self, purpose: str, text: str) -> tuple[Edit, Code]:
        """An edit that puts ``text`` into the padding. Raises NoRoom with the sizes where it does not fit."""
        padding = self.image.padding
        free = padding.size - self.used if padding else 0
        start = (padding.address + self.used + _ALIGN - 1) // _ALIGN * _ALIGN if padding else 0
        new = assemble(text, start)
        if padding is None or start + len(new) > padding.address + padding.size:
            raise NoRoom(
                f"{self.image.path}: {len(new)} bytes are needed in the padding behind the code, {free} are free; "
                "strategy netpoll without --slack-ns needs none"
            )
        self.used = start + len(new) - padding.address
        offset = padding.offset + start - padding.address
        edit = Edit("(padding)", purpose, start, offset, bytes(len(new)), new, text)
        return edit, Code(start, start + len(new))

    def growth(self) -> tuple[Edit, ...]:
        """The edit of the segment's program header that makes the used padding part of it; none if none is used.

        The kernel maps whole pages and would run the code without it; tools that copy segments by their size
        would lose it.
        """
        padding = self.image.padding
        if padding is None or not self.used:
            return ()
        segment = padding.segment
        offset = segment.header + _P_FILESZ
        size = segment.file_size + self.used
        return (
            Edit(
                function="(program header)",
                purpose="the executable segment grows over the stub in its padding",
                address=address_of_header(self.image, offset),
                offset=offset,
                old=self.image.data[offset : offset + 16],
                new=struct.pack("<QQ", size, size),
                assembly="",
            ),
        )


def address_of_header(image: GoImage, offset: int) -> int:
    """The virtual address of a byte of the ELF headers; the offset itself where no segment holds them."""
    for segment in image.segments:
        if segment.offset <= offset < segment.offset + segment.file_size:
            return segment.address + offset - segment.offset
    return offset
