"""A file that is looked through piece by piece, and given back meanwhile, is still the file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from patcher.file.content import Content, mapped, mapped_with, pieces_of
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
