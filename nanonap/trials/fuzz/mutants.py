"""Mutants: a few bytes of a real binary replaced, or its end moved, all drawn from a seed."""

import random
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.dice import seeded
from nanonap.trials.fuzz.places import Base, Place

_BOUNDARIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFF)
_WIDE = (
    1 << 32,
    1 << 40,
    1 << 46,
    (1 << 47) - 1,
    1 << 47,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 4096,
    (1 << 64) - 1,
)
_SPARSE = (1 << 26, 1 << 31, 1 << 32, (4 << 30) + 1, 1 << 36, 1 << 40)  # bytes; 1 TiB takes no room on the disk
_HEADER_OFFSETS = (32, 40)  # of e_phoff and e_shoff
WHOLE_FILE = ("truncated", "sparse", "random bytes", "moved pieces")


@dataclass(frozen=True)
class Mutant:
    """One damaged file: the edits of its base's bytes and its size."""

    base: str
    kind: str
    seed: int
    edits: tuple[tuple[int, bytes], ...]
    size: int

    def write(self, base: Base, path: Path) -> None:
        """The file; what lies behind the base's end is a hole."""
        content = memoryview(base.data)[: self.size]
        with path.open("wb") as stream:
            stream.write(content)
            for offset, new in self.edits:
                if offset < len(content):
                    stream.seek(offset)
                    stream.write(new[: len(content) - offset])
            stream.truncate(self.size)


def kinds(base: Base) -> tuple[str, ...]:
    """The kinds of damage that a base can take."""
    return (*base.places, *WHOLE_FILE)


def draw(base: Base, kind: str, seed: int) -> Mutant:
    """The mutant of a base, a kind and a seed: the same whenever it is drawn."""
    draws = seeded(f"{base.name} {kind} {seed}")
    size = len(base.data)
    edits: list[tuple[int, bytes]] = []
    if kind in base.places:
        for _ in range(draws.choice((1, 1, 1, 2, 3, 8))):
            edits.append(_damage(draws, base, draws.choice(base.places[kind])))
    elif kind == "truncated":
        size = draws.choice((draws.randrange(size), draws.randrange(4096), size - draws.randrange(1, 4096)))
    elif kind == "sparse":
        size = draws.choice(_SPARSE)
        at = draws.choice(_HEADER_OFFSETS)
        edits.append((at, draws.randrange(size).to_bytes(8, "little")))
        if draws.random() < 0.5:
            edits.append(_damage(draws, base, draws.choice(base.places["program headers"])))
    elif kind == "random bytes":
        for _ in range(draws.choice((1, 10, 100, 1000))):
            edits.append((draws.randrange(size), draws.randbytes(draws.choice((1, 1, 8, 64)))))
    else:
        start, target = draws.randrange(size), draws.randrange(size)
        edits.append((target, base.data[start : start + draws.choice((8, 64, 4096, 65536))]))
    return Mutant(base.name, kind, seed, tuple(edits), size)


def _damage(draws: random.Random, base: Base, place: Place) -> tuple[int, bytes]:
    """One field of a place: a value at a boundary, another field's, a little more or less, a flipped bit, chance."""
    offset, width = _field(draws, place)
    old = int.from_bytes(base.data[offset : offset + width], "little")
    mask = (1 << 8 * width) - 1
    way = draws.randrange(6)
    if way == 0:
        new = draws.choice(_BOUNDARIES + _WIDE)
    elif way == 1:
        new = old + draws.choice((-4096, -8, -1, 1, 8, 4096, len(base.data)))
    elif way == 2:
        new = old ^ 1 << draws.randrange(8 * width)
    elif way == 3:
        other, wide = _field(draws, place)
        new = int.from_bytes(base.data[other : other + wide], "little")
    elif way == 4:
        new = draws.randrange(len(base.data))
    else:
        return offset, draws.randbytes(draws.choice((width, 16)))
    return offset, (new & mask).to_bytes(width, "little")


def _field(draws: random.Random, place: Place) -> tuple[int, int]:
    whole = sum(place.fields)
    row = draws.randrange(max(1, place.size // whole))
    column = draws.randrange(len(place.fields))
    return place.offset + row * whole + sum(place.fields[:column]), place.fields[column]
