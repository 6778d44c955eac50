"""A second reading of an ELF file's headers, by LIEF: the one place that calls it.

Edits rely on the headers that ``elf`` read. Where another reader finds others, the file is not changed.
"""

import contextlib
import gc
import io
import sys
from collections.abc import Iterator
from enum import EnumType
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patcher import errors
from patcher.file.content import Beginning, Content
from patcher.file.elf import (
    PT_DYNAMIC,
    PT_LOAD,
    PT_TLS,
    SHT_DYNAMIC,
    SHT_SYMTAB,
    USED_SECTIONS,
    USED_SEGMENTS,
    USED_TAGS,
    read_dynamic,
    read_sections,
)
from patcher.file.elf_header import ELF_HEADER_SIZE, PT_INTERP, Header

if TYPE_CHECKING:
    import lief

_PERMISSIONS = 7  # PF_R, PF_W, PF_X


def check_reading(path: Path, data: Content, source: io.BufferedIOBase, header: Header) -> None:
    """``source`` gives the same bytes as ``data``. LIEF's own copy of the file is gone when this returns.

    LIEF copies all that it is given: so it is given the file up to where its headers end. Raises MalformedBinary where
    LIEF reads no headers, or others, and does so of the whole file, too.
    """
    needed = _end_of_headers(data, header)
    if needed < len(data) and not _said(Beginning(source, needed), data, header):
        return
    source.seek(0)
    if said := _said(source, data, header):
        raise errors.MalformedBinary(f"{path}: {said}")


def _end_of_headers(data: Content, header: Header) -> int:
    """Where all has been told that is compared: the tables, what they name of the dynamic linker's."""
    ends = [ELF_HEADER_SIZE, header.table.end, header.sections.end]
    ends += [each.offset + each.file_size for each in header.programs if each.kind in (PT_DYNAMIC, PT_INTERP)]
    ends += [each.offset + each.size for each in read_sections(data, header) if each.kind == SHT_DYNAMIC]
    return max(ends)


def _said(source: io.IOBase, data: Content, header: Header) -> str:
    """What is wrong with LIEF's reading of a file; empty where it agrees."""
    load()
    import lief

    lief.logging.disable()
    parsed = lief.ELF.parse(source, _parser_config())
    if parsed is None:
        return "has an ELF header and no readable tables behind it; is it truncated?"
    for what, ours, theirs in _readings(data, header, parsed):
        if ours != theirs:
            return f"two readers of its {what} do not agree ({_difference(ours, theirs)}); it cannot be patched"
    return ""


def load() -> None:
    """Import LIEF, which takes longer than all that it does here."""
    with _quickly():
        import lief  # noqa: F401 - its users import it


@contextlib.contextmanager
def _quickly() -> Iterator[None]:
    """LIEF makes some hundred thousand objects as it is imported, all to stay: to look for garbage among them meanwhile
    and later takes a fifth as long as to make them. Most are members of enumerations, each set as an attribute of its
    class: to look each time, in Python, whether there is one of that name already takes another fifth.
    """
    if "lief" in sys.modules:
        yield
        return
    on, checked = gc.isenabled(), EnumType.__setattr__
    gc.disable()
    EnumType.__setattr__ = type.__setattr__  # type: ignore[method-assign]
    try:
        yield
    finally:
        EnumType.__setattr__ = checked  # type: ignore[method-assign]
        gc.freeze()
        if on:
            gc.enable()


def _readings(data: Content, header: Header, parsed: "lief.ELF.Binary") -> Iterator[tuple[str, list[Any], list[Any]]]:
    """(what, as read by ``elf``, as read by LIEF): all that is used of the headers."""
    yield (
        "ELF header",
        [header.kind, header.entry, header.loader is not None],
        [_number(parsed.header.file_type), parsed.header.entrypoint, parsed.has_interpreter],
    )
    yield (
        "program headers",
        [
            _segment(e.kind, e.flags, e.alignment, e.address, e.offset, e.file_size, e.memory_size)
            for e in header.programs
        ],
        [
            _segment(
                _number(each.type),
                int(each.flags),
                each.alignment,
                each.virtual_address,
                each.file_offset,
                each.physical_size,
                each.virtual_size,
            )
            for each in parsed.segments
        ],
    )
    yield (
        "section headers",
        [
            _section(e.kind, e.link, e.flags, e.address, e.offset, e.size, e.alignment, e.entry_size)
            for e in read_sections(data, header)
        ],
        [
            _section(
                _number(e.type), e.link, e.flags, e.virtual_address, e.file_offset, e.size, e.alignment, e.entry_size
            )
            for e in parsed.sections
        ],
    )
    yield (
        "dynamic section",
        [each for each in read_dynamic(data, header) if each[0] in USED_TAGS],
        [(tag, each.value) for each in parsed.dynamic_entries if (tag := _number(each.tag)) in USED_TAGS],
    )


def _number(kind: Any) -> int:  # noqa: ANN401 - of one of LIEF's enumerations
    """LIEF tells a number that its enumeration lacks as the bare number."""
    return int(getattr(kind, "value", kind))


def _segment(kind: int, flags: int, alignment: int, *place: int) -> tuple[int, ...]:
    """Flags count of a loaded segment alone: LIEF tells permissions, and PT_PAX_FLAGS of old releases has others."""
    used = kind if kind in USED_SEGMENTS else 0
    return used, flags & _PERMISSIONS if kind == PT_LOAD else 0, alignment if kind == PT_TLS else 0, *place


def _section(kind: int, link: int, *fields: int) -> tuple[int, ...]:
    """LIEF has kinds of its own for what a processor or system adds."""
    return kind if kind in USED_SECTIONS else -1, link if kind == SHT_SYMTAB else 0, *fields


def _difference(ours: list[Any], theirs: list[Any]) -> str:
    for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return f"entry {index} is {one} or {other}"
    return f"{len(ours)} or {len(theirs)} entries"


def _parser_config() -> "lief.ELF.ParserConfig":
    """What LIEF need not do: it reads the headers, which here are all; the tables behind them are searched."""
    import lief

    config = lief.ELF.ParserConfig()
    config.parse_notes = False
    config.parse_dyn_symbols = False
    config.parse_symtab_symbols = False
    config.parse_relocations = False
    config.parse_symbol_versions = False
    config.parse_overlay = False
    return config
