"""Where the things lie in a real binary that a mutant damages: headers, tables, the code that waits or begins."""

from dataclasses import dataclass
from pathlib import Path

from patcher.golang.functions import Functions
from patcher.golang.image import read_image

_ELF_HEADER = 64
_PROGRAM_HEADER, _SECTION_HEADER = 56, 64
_PCLNTAB_HEADER = 72
_MODULEDATA = 512
_BUILD_INFO = 512
_RECORD = 128
_CODE = ("runtime.netpoll", "time.Sleep", "runtime.usleep")


@dataclass(frozen=True)
class Place:
    """Bytes ``[offset, offset + size)`` made of fields of the given widths, over and over; (1,) for plain bytes."""

    offset: int
    size: int
    fields: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Base:
    """A real binary and its places, by kind of damage."""

    name: str
    path: Path
    data: bytes
    places: dict[str, tuple[Place, ...]]


def read_base(name: str, path: Path) -> Base:
    """Find the places of a binary with the patcher's own readers."""
    image = read_image(path)
    functions = Functions(image)
    table = functions.table
    data = bytes(image.data)
    programs, sections = (int.from_bytes(data[at : at + 8], "little") for at in (32, 40))
    program_count, section_count = (int.from_bytes(data[at : at + 2], "little") for at in (56, 60))
    start = image.offset_of(table.address)
    names, pctab, entries = (int.from_bytes(data[start + at : start + at + 8], "little") for at in (32, 56, 64))
    found = [functions.all(each) for each in _CODE]
    entry = functions.table.at(image.entry)
    changed = [*(f for each in found for f in each), *([entry] if entry else [])]
    code = tuple(Place(image.offset_of(f.start), f.end - f.start, (image.isa.quantum,)) for f in changed)
    records = tuple(Place(start + entries + f.record, _RECORD, (4,)) for each in found for f in each)
    info = data.find(b"\xff Go buildinf:")
    places = {
        "elf header": (Place(0, _ELF_HEADER, (1,) * 16 + (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2)),),
        "program headers": (Place(programs, _PROGRAM_HEADER * program_count, (4, 4, 8, 8, 8, 8, 8, 8)),),
        "section headers": (Place(sections, _SECTION_HEADER * section_count, (4, 4, 8, 8, 8, 8, 4, 4, 8, 8)),),
        "pclntab header": (Place(start, _PCLNTAB_HEADER, (4, 1, 1, 1, 1, 8)),),
        "pclntab tables": (
            Place(start + names, 4096),
            Place(start + pctab, 4096),
            Place(start + entries, 4096, (4,)),
            *records,
        ),
        "moduledata": (Place(image.offset_of(table.moduledata), _MODULEDATA, (8,)),),
        "code": code,
        "build info": (Place(info, _BUILD_INFO),),
        "other tables": tuple(
            Place(each.offset, min(each.size, 4096), (8,))
            for each in image.sections
            if each.size
            and each.name in (".dynamic", ".symtab", ".strtab", ".rela.dyn", ".rela", ".shstrtab", ".interp")
        ),
    }
    return Base(name, path, data, {kind: each for kind, each in places.items() if each})
