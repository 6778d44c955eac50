"""A file that is looked through piece by piece, and given back meanwhile, is still the file."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.base.dice import seeded
from patcher.file.content import Content, mapped, mapped_with, matches, pieces_of
from patcher.file.elf_tables import Span, hits, hits_of_each
from patcher.isa.amd64.calls import direct_calls

MIB = 1 << 20
NEEDLE, OTHER = b"\xb8\x01needle", b"\xb8\x02other."
# At the start, over the border of a piece, just behind it, near another, at the end.
PLACES = (0, MIB - 3, 2 * MIB, 2 * MIB + 100_001, 4 * MIB - len(NEEDLE))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    data = bytearray(4 * MIB)
    for at in PLACES:
        data[at : at + len(NEEDLE)] = NEEDLE
    data[3 * MIB - 2 : 3 * MIB - 2 + len(OTHER)] = OTHER
    (tmp_path / "file").write_bytes(data)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def found(data: Content, needle: bytes) -> tuple[int, ...]:
    return tuple(hits(Path("file"), data, needle, Span(0, len(data))))


def test_what_is_looked_for_is_found_once_wherever_it_lies(file: int) -> None:
    data = mapped(file)
    assert found(data, NEEDLE) == PLACES
    assert found(data, b"absent") == ()
    assert data.find(NEEDLE, 1) == PLACES[1]
    assert data.find(NEEDLE, 1, MIB - 3 + len(NEEDLE) - 1) == -1  # its last byte lies outside
    together = hits_of_each(data, (OTHER, NEEDLE), Span(0, len(data)), 3)
    assert {each: tuple(places) for each, places in together.items()} == {
        NEEDLE: PLACES[:4],  # one more than was asked for
        OTHER: (3 * MIB - 2,),
    }


@pytest.mark.parametrize("frequent", range(4))
def test_needles_that_begin_alike_are_found_by_whichever_byte_is_rare(frequent: int) -> None:
    """Where one of the bytes that they share is everywhere, and where it is over the border of a piece."""
    alike = b"\x48\xc7\x04\x24"
    one, other = alike + b"one", alike + b"another"
    data = bytearray(alike[frequent : frequent + 1] * (2 * MIB))
    places = {100: one, 5000: other, MIB + 48: one, MIB + 100: alike + b"none", 2 * MIB - len(other): other}
    for at, needle in places.items():
        data[at : at + len(needle)] = needle
    given = hits_of_each(bytes(data), (one, other), Span(50, 2 * MIB - 50), 9)
    assert {each: list(found) for each, found in given.items()} == {
        needle: [at for at, each in places.items() if each == needle] for needle in (one, other)
    }


@pytest.mark.parametrize("often", [0, 3, 300, MIB - 5000])
def test_matches_are_those_of_the_pattern_however_often_its_byte_stands(often: int) -> None:
    """Nowhere, here and there, and everywhere behind what is looked at first; some of them match."""
    dice, data = seeded(often), bytearray(MIB)
    for _ in range(often):
        data[dice.randrange(4500, MIB)] = 7
    for at in (600, 4300, 70_000, MIB - 2):
        data[at - 1 : at + 2] = b"\x05\x07\x06"
    content, pattern = bytes(data), re.compile(b"\x07(?<=\x05\x07)(?=\x06)")
    for start, stop in ((0, MIB), (601, MIB - 1), (599, 70_001), (9, 9)):
        expected = [each.span() for each in pattern.finditer(content, start, stop)]
        assert [each.span() for each in matches(pattern, b"\x07", content, start, stop)] == expected


def test_changes_outlast_a_search(file: int) -> None:
    changes = ((MIB - 3, bytes(len(NEEDLE))), (3 * MIB + 5000, NEEDLE))
    data = mapped_with(file, changes)
    expected = tuple(sorted({*PLACES, 3 * MIB + 5000} - {MIB - 3}))
    content = b"".join(pieces_of(data))
    for _ in range(2):
        assert found(data, NEEDLE) == expected
        assert b"".join(pieces_of(data)) == content


def test_a_call_is_found_wherever_it_lies(tmp_path: Path) -> None:
    """Near its target and far, before it and behind, over the borders of pieces, within what looks like another."""
    text, target = 0x401000, 0x401000 + 5 * MIB + 77
    data = bytearray(b"\xe8" * (10 * MIB))
    places = [0, 1000, MIB // 2 - 2, MIB - 4, 3 * MIB + 1, 5 * MIB + 70, 5 * MIB + 100, 6 * MIB, 10 * MIB - 5]
    for at in places:
        data[at : at + 5] = b"\xe8" + (target - (text + at + 5)).to_bytes(4, "little", signed=True)
    given = list(direct_calls(bytes(data), 0, len(data), text, frozenset({target, 0x10})))
    assert [each - text for each, to in given if to == target] == places


@pytest.mark.parametrize("spread", [1 << 12, 1 << 20, 1 << 30])
def test_all_calls_are_found_that_a_look_at_every_byte_finds(spread: int) -> None:
    """Of targets near and far apart: the further, the more values the bytes of a distance can have."""
    dice, text, size = seeded(spread), 0x401003, 40_000
    data = bytearray(dice.randbytes(size))
    targets = frozenset(text + dice.randrange(-spread, spread) for _ in range(40))
    for at in (*range(7, size - 64, 50), size - 14):
        data[at] = dice.choice(b"\xe8\xe9")
        distance = dice.choice(sorted(targets)) - (text + at + 5)
        data[at + 1 : at + 5] = distance.to_bytes(4, "little", signed=True)
    calls = [(text + at, text + at + 5 + int.from_bytes(data[at + 1 : at + 5], "little", signed=True))
             for at in range(7, size - 9 - 4) if data[at] in b"\xe8\xe9"]  # fmt: skip
    expected = [each for each in calls if each[1] in targets]
    assert len(expected) > 500
    assert sorted(direct_calls(bytes(data), 7, size - 9, text + 7, targets)) == expected
