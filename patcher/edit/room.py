"""Where new bytes may lie: in place of old code, or in the page padding behind a segment's content."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from patcher.edit.edit import Code, Edit
from patcher.errors import NoRoom, ShapeMismatch
from patcher.file.elf import Section
from patcher.golang.image import GoImage, Padding
from patcher.isa.instruction import Kind

#: Why a segment's header changes where its last section cannot grow with it: by (code lies there).
GROWS_ALONE = {
    True: "the segment grows over new code that no section can hold: strip this program before it is patched, "
    "stripped afterwards it would crash",
    False: "the segment grows over the undo record, which no section can hold: strip would lose it",
}
_ALIGN = 16
_P_FILESZ = 32  # offset of p_filesz in an ELF64 program header; p_memsz follows (elf(5))
_SH_SIZE = 32  # offset of sh_size in an ELF64 section header (elf(5))


def replace_run(image: GoImage, function: str, purpose: str, *, start: int, end: int, text: str) -> tuple[Edit, Code]:
    """An edit that puts ``text`` in place of ``[start, end)``, and the instructions to prove.

    What is left over is filled: by nops where the new code runs on into ``end``, else by traps, which no path
    reaches. Raises ShapeMismatch where the room is too small.
    """
    isa = image.isa
    new = isa.assemble(text, start)
    if len(new) > end - start:
        raise ShapeMismatch(f"{function}: expected {len(new)} bytes of room at {start:#x}, found {end - start}")
    last = list(isa.decode(new, start))[-1].kind
    filler = isa.trap if last in (Kind.JUMP, Kind.RETURN) else isa.nop
    edit = Edit(
        function=function,
        purpose=purpose,
        address=start,
        offset=image.offset_of(start, end - start),
        old=image.read(start, end - start),
        new=new + filler * ((end - start - len(new)) // len(filler)),
        assembly=text,
    )
    return edit, Code(start, start + len(new))


@dataclass
class Room:
    """Hands out the free bytes behind the segments, from their start on, and knows how much is in use."""

    image: GoImage
    _used: dict[Padding, int] = field(default_factory=dict)
    _with_code: set[Padding] = field(default_factory=set)

    @property
    def keeps_code(self) -> bool:
        """True where code behind the code becomes part of a section that is no table, so that strip keeps it."""
        return self.image.padding is not None and _growing(self.image.padding, code=False) is not None

    def place(self, purpose: str, text: str) -> tuple[Edit, Code]:
        """An edit that puts ``text`` behind the code. Raises NoRoom with the sizes where it does not fit."""
        padding = self.image.padding
        used, free = (self._used.get(padding, 0), _free(padding, code=True)) if padding else (0, 0)
        start = (padding.address + used + _ALIGN - 1) // _ALIGN * _ALIGN if padding else 0
        new = self.image.isa.assemble(text, start)
        if padding is None or start + len(new) > padding.address + free:
            raise NoRoom(
                f"{self.image.path}: {len(new)} bytes are needed in the padding behind the code, {free - used} are "
                "free; use strategy netpoll without a timer slack, which needs none"
            )
        self._with_code.add(padding)
        return self._edit(padding, start, purpose, new, text), Code(start, start + len(new))

    def place_record(self, purpose: str, encode: Callable[[tuple[Edit, ...]], bytes]) -> Edit | None:
        """An edit that puts data into the first padding with room for it; None where no padding has.

        Those come first that become part of a section. ``encode`` is given the edits of the headers that grow then,
        whose new sizes are not to be relied on.
        """
        for padding in sorted(self.image.paddings, key=lambda each: self._section(each) is None):
            used = self._used.get(padding, 0)
            grown = (edit for each in {**self._used, padding: used} for edit in self._grown(each, 0))
            data = encode(tuple(grown))
            if used + len(data) <= _free(padding, code=padding in self._with_code):
                return self._edit(padding, padding.address + used, purpose, data, "")
        return None

    def _edit(self, padding: Padding, start: int, purpose: str, new: bytes, text: str) -> Edit:
        self._used[padding] = start + len(new) - padding.address
        offset = padding.offset + start - padding.address
        return Edit("(padding)", purpose, start, offset, bytes(len(new)), new, text)

    def growth(self) -> tuple[Edit, ...]:
        """The edits of the headers that make used padding part of its segment and of the section before it.

        The kernel maps whole pages and would run the code without them; tools that copy a file by its segments
        (llvm-strip) or sections (strip, eu-strip) would lose it.
        """
        return tuple(edit for padding, used in self._used.items() for edit in self._grown(padding, used))

    def _section(self, padding: Padding) -> Section | None:
        return _growing(padding, code=padding in self._with_code)

    def _grown(self, padding: Padding, used: int) -> Iterator[Edit]:
        section = self._section(padding)
        used += -(section.size + used) % section.step if section else 0
        size = padding.segment.file_size + used
        lost = section is None and bool(self.image.sections)
        yield self._header_edit(
            "(program header)",
            GROWS_ALONE[padding in self._with_code] if lost else "the segment grows over what lies in its padding",
            padding.segment.header + _P_FILESZ,
            struct.pack("<QQ", size, size),
        )
        if section is not None:
            yield self._header_edit(
                "(section header)",
                f"{section.name} grows with its segment, so that strip keeps what lies there",
                section.header + _SH_SIZE,
                struct.pack("<Q", section.size + used),
            )

    def _header_edit(self, function: str, purpose: str, offset: int, new: bytes) -> Edit:
        old = self.image.data[offset : offset + len(new)]
        return Edit(function, purpose, address_of_header(self.image, offset), offset, old, new, "")


def _growing(padding: Padding, *, code: bool) -> Section | None:
    """The section that grows over what lies in a padding; a table of code does for code alone."""
    section = padding.section
    return section if section and section.step and (code or not section.table) else None


def _free(padding: Padding, *, code: bool) -> int:
    """How many bytes of a padding can be used so that its section grows by whole steps."""
    section = _growing(padding, code=code)
    return max(0, padding.size - (section.size + padding.size) % section.step) if section else padding.size


def address_of_header(image: GoImage, offset: int) -> int:
    """The virtual address of a byte of the ELF headers; the offset itself where no segment holds them."""
    for segment in image.segments:
        if segment.offset <= offset < segment.offset + segment.file_size:
            return segment.address + offset - segment.offset
    return offset
