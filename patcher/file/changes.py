"""Bytes that change, laid over a file piece by piece."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Piece = TypeVar("Piece", bound=bytes | memoryview)
Change = tuple[int, bytes]
"""A file offset, and the bytes that are to lie there."""


def edited(pieces: Iterable[Piece], changes: Iterable[Change]) -> Iterator[Piece | bytes]:
    """A file's pieces, in order, with the changes' bytes in place of what was there."""
    laid, start = tuple(changes), 0
    for piece in pieces:
        stop = start + len(piece)
        if any(offset < stop and offset + len(new) > start for offset, new in laid):
            changed = bytearray(piece)
            lay_over(changed, start, laid)
            yield bytes(changed)
        else:
            yield piece
        start = stop


def lay_over(piece: bytearray | memoryview, start: int, changes: Iterable[Change]) -> None:
    """Write what of the changes lies within a file's piece that begins at ``start``."""
    stop = start + len(piece)
    for offset, new in changes:
        low, high = max(start, offset), min(stop, offset + len(new))
        if low < high:
            piece[low - start : high - start] = new[low - offset : high - offset]
