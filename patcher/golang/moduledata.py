"""runtime.firstmoduledata: what the runtime itself goes by (runtime/symtab.go, cmd/link/internal/ld/symtab.go).

Its beginning is the same from Go 1.18 on, in words of 8 bytes: pcHeader; the slices funcnametab, cutab, filetab,
pctab, pclntable and ftab; findfunctab; minpc, maxpc; text, etext.
"""

from dataclasses import dataclass

from patcher.errors import MalformedBinary
from patcher.file.elf import Segment
from patcher.golang.image import GoImage

_NAMES, _PCTAB, _PCLNTABLE, _FTAB, _FTAB_LENGTH = 1, 10, 13, 16, 17
_TEXT, _END_OF_TEXT, _TYPES = 22, 23, 35
_MOST_POINTERS = 64  # that point to pclntab; moduledata's is the only one in an honest program


@dataclass(frozen=True)
class Moduledata:
    """The module's own record: its address, and where its text starts."""

    image: GoImage
    address: int
    text: int

    def gofunc(self, has_start_line: bool) -> int:
        """The base of FUNCDATA offsets, from moduledata and, where there is one, the symbol: they must agree.

        How many words of moduledata come before it differs: Go 1.20 added covctrs and ecovctrs, Go 1.27
        typedesclen, itaboffset and itabsize. The first of these stands between types and etypes, and is a length.
        """
        first = _TYPES + 2 * has_start_line
        types, following, third = (self.image.read_pointer(self.address + 8 * (first + each)) for each in range(3))
        words = first + 3 + 3 * (types + following <= third)
        value = self.image.read_pointer(self.address + 8 * words)
        symbol = next((at for name in ("go:func.*", "go.func.*") if (at := self.image.symbol(name)) is not None), value)
        if symbol != value or self._segment(value) is None:
            raise MalformedBinary(
                f"{self.image.path}: moduledata of {self.image.build.version} should say where the stack maps are, but "
                f"says {value:#x} (the symbol says {symbol:#x}); it is malformed, or of a release that is not known yet"
            )
        return value

    def funcdata(self, gofunc: int, offset: int) -> int:
        """The address of a table at an offset from ``gofunc``, in the same segment."""
        segment = self._segment(gofunc)
        if segment is None or gofunc + offset >= segment.address + segment.file_size:
            raise MalformedBinary(f"{self.image.path}: a stack map at {gofunc:#x} + {offset:#x} is outside its segment")
        return gofunc + offset

    def _segment(self, address: int) -> Segment | None:
        """The segment that holds an address outside the functions: some linkers put code and constants into one."""
        if self.text <= address < self.image.read_pointer(self.address + 8 * _END_OF_TEXT):
            return None
        segments = self.image.segments
        return next((each for each in segments if each.address <= address < each.address + each.file_size), None)

    def check_end(self, size: int) -> None:
        """The text must lie in one executable segment. ``size``: from its start to the last function's end."""
        if not any(
            each.executable and each.address <= self.text and self.text + size <= each.address + each.file_size
            for each in self.image.segments
        ):
            raise MalformedBinary(
                f"{self.image.path}: by pclntab the functions end at {self.text + size:#x}, outside the code"
            )


def find_moduledata(image: GoImage, table: int, sizes: tuple[int, int, int, int], stated_text: int) -> Moduledata:
    """The record that points to the function table at ``table`` and repeats what its header says.

    ``sizes`` are the header's offsets of names, PC tables and functions, and the number of these. ``stated_text`` is
    the header's text start: 0 from Go 1.25 on and in every PIE. Raises MalformedBinary without such a record.
    """
    for _, address in zip(range(_MOST_POINTERS), image.pointers_to(table), strict=False):
        try:
            module = _read(image, address, table, sizes)
        except MalformedBinary:
            continue
        if module is None:
            continue
        if stated_text not in (0, module.text):
            raise MalformedBinary(
                f"{image.path}: pclntab's text start {stated_text:#x} and moduledata's {module.text:#x} differ"
            )
        return module
    raise MalformedBinary(f"{image.path}: no moduledata that points to pclntab at {table:#x} and agrees with it")


def _read(image: GoImage, address: int, table: int, sizes: tuple[int, int, int, int]) -> Moduledata | None:
    names, pctab, functions, count = sizes
    expected = {
        _NAMES: table + names,
        _PCTAB: table + pctab,
        _PCLNTABLE: table + functions,
        _FTAB: table + functions,
        _FTAB_LENGTH: count + 1,
    }
    if any(image.read_pointer(address + 8 * word) != value for word, value in expected.items()):
        return None
    return Moduledata(image, address, image.read_pointer(address + 8 * _TEXT))
