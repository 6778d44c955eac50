"""The build information that the Go linker leaves in every binary (debug/buildinfo/buildinfo.go)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patcher.errors import UnsupportedGo
from patcher.file.content import Content
from patcher.file.elf_tables import Span

_MAGIC = b"\xff Go buildinf:"
_ALIGN = 16
_HEADER_SIZE = 32
_FLAG_BIG_ENDIAN = 1
_FLAG_INLINE_STRINGS = 2  # since Go 1.18 the strings stand behind the header
_SENTINEL = 16  # the module text stands between two markers of this many bytes
_LONGEST = 4 << 20  # bytes; a module list is some kilobytes
# "go1.27.3 X:experiment", "go1.24.3-1-vendor", "go1.26rc2", "devel go1.28-abcdef" (runtime.Version, go/version)
_RELEASE = re.compile(r"(?P<devel>devel )?go(?P<major>\d{1,4})\.(?P<minor>\d{1,4})(?P<rest>\S*)")
_UNFINISHED = re.compile(r"(?:beta|rc)\d|devel", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Release:
    """A Go release; a pre-release (not ``final``) comes before it."""

    major: int
    minor: int
    final: bool = True


@dataclass(frozen=True)
class BuildInfo:
    """The release that built a binary and the settings that it recorded (``go version -m``)."""

    version: str
    settings: dict[str, str]

    @property
    def release(self) -> Release | None:
        """Release(1, 27) for ``go1.27.3``; None where the version names none."""
        found = _RELEASE.match(self.version)
        if found is None:
            return None
        final = not found["devel"] and not _UNFINISHED.search(found["rest"])
        return Release(int(found["major"]), int(found["minor"]), final)

    @property
    def tags(self) -> frozenset[str]:
        """The build tags given with ``-tags``."""
        return frozenset(self.settings.get("-tags", "").split(",")) - {""}


#: Of a Go program whose build information was removed: nothing is known but what its tables and code say.
UNKNOWN = BuildInfo("unknown", {})


def read_build_info(path: Path, data: Content, places: Iterable[Span]) -> BuildInfo | None:
    """Read the build information, the first in ``places``; None where there is none, for linkers can leave it out.

    The places are its section or, without one, what is writable: there it stands before all data that a program brings
    along, such as another Go program. Raises UnsupportedGo for the pointer form that Go wrote before 1.18.
    """
    for place in places:
        at = data.find(_MAGIC, place.offset, place.end)
        while at != -1 and at % _ALIGN:
            at = data.find(_MAGIC, at + 1, place.end)
        if at != -1:
            return _read(path, data, at)
    return None


def _read(path: Path, data: Content, at: int) -> BuildInfo | None:
    flags = data[at + 15] if at + _HEADER_SIZE <= len(data) else 0
    if not flags & _FLAG_INLINE_STRINGS or flags & _FLAG_BIG_ENDIAN:
        raise UnsupportedGo(
            f"{path}: built by Go before 1.18; Go 1.19 and later can be patched: build it with a newer Go, then patch"
        )
    version, after = _string(data, at + _HEADER_SIZE)
    modules, _ = _string(data, after)
    if not version:
        return None
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
