"""The build information that the Go linker leaves in every binary (debug/buildinfo/buildinfo.go)."""

from dataclasses import dataclass
from pathlib import Path

from patcher.content import Content
from patcher.elf_tables import Span
from patcher.errors import NotGo, UnsupportedGo

_MAGIC = b"\xff Go buildinf:"
_ALIGN = 16
_HEADER_SIZE = 32
_FLAG_BIG_ENDIAN = 1
_FLAG_INLINE_STRINGS = 2  # since Go 1.18 the strings stand behind the header
_SENTINEL = 16  # the module text stands between two markers of this many bytes
_LONGEST = 4 << 20  # bytes; a module list is some kilobytes


@dataclass(frozen=True)
class BuildInfo:
    """The release that built a binary and the settings that it recorded (``go version -m``)."""

    version: str
    settings: dict[str, str]

    @property
    def release(self) -> tuple[int, int]:
        """(major, minor): (1, 27) for ``go1.27.3``; (0, 0) for a development version."""
        parts = self.version.removeprefix("go").split(" ")[0].split(".")
        try:
            return int(parts[0]), int("".join(c for c in parts[1] if c.isdigit()) or 0)
        except (ValueError, IndexError):
            return 0, 0

    @property
    def tags(self) -> frozenset[str]:
        """The build tags given with ``-tags``."""
        return frozenset(self.settings.get("-tags", "").split(",")) - {""}


#: Of a Go program whose build information was removed: nothing is known but what its tables and code say.
UNKNOWN = BuildInfo("unknown", {})


def read_build_info(path: Path, data: Content, section: Span | None, has_table: bool) -> BuildInfo:
    """Read the build information, from its section or, without one, by its magic.

    UNKNOWN where there is none but a function table (``has_table``): linkers can be told to leave it out. Raises NotGo
    where there is neither, UnsupportedGo for the pointer form that Go wrote before 1.18.
    """
    start = section.offset if section else 0
    at = data.find(_MAGIC, start)
    while at != -1 and at % _ALIGN:
        at = data.find(_MAGIC, at + 1)
    if at == -1 and has_table:
        return UNKNOWN
    if at == -1:
        raise NotGo(f"{path}: an ELF file without Go build information; name a program built by Go 1.19 or later")
    flags = data[at + 15] if at + _HEADER_SIZE <= len(data) else 0
    if not flags & _FLAG_INLINE_STRINGS or flags & _FLAG_BIG_ENDIAN:
        raise UnsupportedGo(f"{path}: built by Go before 1.18; Go 1.19 and later can be patched")
    version, after = _string(data, at + _HEADER_SIZE)
    modules, _ = _string(data, after)
    if not version:
        raise NotGo(f"{path}: its Go build information is empty")
    text = modules[_SENTINEL:-_SENTINEL].decode("utf-8", "replace")
    return BuildInfo(version.decode("utf-8", "replace"), _settings(text))


def _string(data: Content, at: int) -> tuple[bytes, int]:
    """A string with its length before it as a varint; empty where the length cannot be true."""
    length = shift = 0
    for index in range(at, min(at + 10, len(data))):
        length |= (data[index] & 0x7F) << shift
        shift += 7
        if data[index] < 0x80:
            start = index + 1
            if length > _LONGEST or start + length > len(data):
                return b"", start
            return data[start : start + length], start + length
    return b"", at


def _settings(text: str) -> dict[str, str]:
    settings = {}
    for line in text.splitlines():
        kind, _, rest = line.partition("\t")
        if kind == "build":
            key, _, value = rest.partition("=")
            settings[key] = value.strip('"')
    return settings
