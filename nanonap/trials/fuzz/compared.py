"""A damaged file's content that knows where it is an undamaged one's: what was found there is not looked for again.

A search's answer is made of two: of what the undamaged file has where both are the same, byte by byte, and of what is
found anew around each place where they are not. It is the answer of a search through the whole.
"""

import bisect
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from patcher.file.content import Content, Mapped
from patcher.file.elf_tables import Span, hits_of_each

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")
_PIECE = 1 << 12  # bytes that are the same or are not
_LARGE = 1 << 17  # bytes that are compared first, as one
_SHORT = 1 << 10  # bytes that are searched sooner than it is looked up what is known of them
_MOST_DAMAGED = 128  # pieces, or spans of them; a file that is damaged in more is searched as any other
_MOST = 50_000  # answers: those of the bases are some thousands
_SAMPLES, _SAMPLE = 16, 64  # pieces by which the most alike is chosen, and bytes of each

Interval = tuple[int, int]


class Known:
    """An undamaged file's bytes, and the answers of searches through them."""

    def __init__(self, data: bytes) -> None:
        """Nothing is known yet."""
        self.data = data
        self._answers: dict[Hashable, object] = {}
        self._found: dict[tuple[bytes, int, int], int] = {}

    def once(self, asked: Hashable, make: Callable[[], T]) -> T:
        """What was made of these bytes when the same was asked before."""
        if asked in self._answers:
            found: T = self._answers[asked]  # type: ignore[assignment]  # of what was asked
            return found
        made = make()
        if len(self._answers) < _MOST:
            self._answers[asked] = made
        return made

    def find(self, needle: bytes, start: int, stop: int) -> int:
        """As of bytes."""
        asked = needle, start, stop
        if asked not in self._found:
            if len(self._found) == _MOST:
                return self.data.find(needle, start, stop)
            self._found[asked] = self.data.find(needle, start, stop)
        return self._found[asked]

    def samples(self) -> Iterator[tuple[int, bytes]]:
        """A few pieces from all over the file."""
        for at in range(0, len(self.data), max(_PIECE, len(self.data) // _SAMPLES)):
            yield at, self.data[at : at + _SAMPLE]


_known: list[Known] = []


def know(data: bytes) -> None:
    """Answer from this file's bytes where another has the same."""
    if all(each.data != data for each in _known):
        _known.append(Known(data))


@dataclass(frozen=True)
class Likeness:
    """A known file, and where another differs: ``[low, high)`` each, in whole pieces, ascending."""

    known: Known
    damaged: tuple[Interval, ...]

    @cached_property
    def _highs(self) -> list[int]:
        return [high for _, high in self.damaged]

    def within(self, start: int, stop: int) -> Iterator[Interval]:
        """Where bytes of ``[start, stop)`` differ."""
        for index in range(bisect.bisect_right(self._highs, start), len(self.damaged)):
            if self.damaged[index][0] >= stop:
                return
            yield self.damaged[index]

    def same(self, start: int, stop: int) -> bool:
        """Whether none of them does."""
        return next(self.within(start, stop), None) is None


class Compared(Mapped):
    """A file's content, mapped as any; ``likeness`` is found when it is first asked for."""

    @cached_property
    def likeness(self) -> Likeness | None:
        """The known file that it is most like; None where it is like none."""
        best = max(_known, key=self._alike, default=None)
        if best is None or not self._alike(best):
            return None
        damaged = tuple(_joined(self._damaged(best)))
        return Likeness(best, damaged) if len(damaged) <= _MOST_DAMAGED else None

    def _alike(self, known: Known) -> int:
        return sum(self[at : at + len(piece)] == piece for at, piece in known.samples())

    def _damaged(self, known: Known) -> Iterator[Interval]:
        data, both = known.data, min(len(known.data), len(self))
        for large in range(0, both, _LARGE):
            stop = min(large + _LARGE, both)
            mine, theirs = self[large:stop], data[large:stop]
            if mine == theirs:
                continue
            for at in range(0, stop - large, _PIECE):
                if mine[at : at + _PIECE] != theirs[at : at + _PIECE]:
                    yield large + at, min(large + at + _PIECE, stop)
        if both < len(self):
            yield both, len(self)

    def find(self, needle: "ReadableBuffer", start: int = 0, stop: int | None = None, /) -> int:
        """As of any."""
        end, wanted = len(self) if stop is None else min(stop, len(self)), bytes(needle)
        if start < 0 or end - start < _SHORT or not wanted or (like := self.likeness) is None:
            return super().find(wanted, start, end)
        around, hit = len(wanted) - 1, -1
        for low, high in like.within(start, end):
            hit = super().find(wanted, max(start, low - around), min(end, high + around))
            if hit != -1:
                break
        at = like.known.find(wanted, start, end)
        while at != -1 and (hit == -1 or at < hit) and not like.same(at, at + len(wanted)):
            at = like.known.find(wanted, at + 1, end)
        return max(at, hit) if -1 in (at, hit) else min(at, hit)


def _joined(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """The same with neighbours made one."""
    start = end = 0
    for low, high in intervals:
        if low > end:
            if end:
                yield start, end
            start = low
        end = high
    if end:
        yield start, end


def compared_hits(data: Content, needles: Iterable[bytes], span: Span, most: int) -> dict[bytes, "array[int]"]:
    """As ``elf_tables.hits_of_each``."""
    wanted = tuple(needles)
    like = data.likeness if isinstance(data, Compared) and span.offset >= 0 and wanted else None
    if like is None:
        return hits_of_each(data, wanted, span, most)
    found = like.known.once((wanted, span, most), lambda: hits_of_each(like.known.data, wanted, span, most))
    if any(len(each) > most for each in found.values()):
        return hits_of_each(data, wanted, span, most)
    return {each: _merged(data, each, found[each], span, most, like) for each in wanted}


def _merged(data: Content, needle: bytes, found: "array[int]", span: Span, most: int, like: Likeness) -> "array[int]":
    size, stop = len(needle), min(span.end, len(data))
    places = {at for at in found if at + size <= stop and like.same(at, at + size)}
    for low, high in like.within(span.offset, stop):
        first = max(span.offset, low - size + 1)
        around = data[first : min(stop, high + size - 1)]
        at = around.find(needle)
        while at != -1:
            places.add(first + at)
            at = around.find(needle, at + 1)
    return array("Q", sorted(places)[: most + 1])


#: ``Isa.direct_calls``.
Calls = Callable[[Content, int, int, int, frozenset[int]], Iterator[tuple[int, int]]]


def compared_calls(calls: Calls, longest: int) -> Calls:
    """The same search, of calls of at most ``longest`` bytes."""

    def search(
        data: Content, start: int, stop: int, address: int, targets: frozenset[int]
    ) -> Iterator[tuple[int, int]]:
        like = data.likeness if isinstance(data, Compared) and 0 <= start <= stop <= len(data) else None
        if like is None or stop > len(like.known.data):
            yield from calls(data, start, stop, address, targets)
            return
        asked = calls, start, stop, address, targets
        known = like.known.once(asked, lambda: tuple(calls(like.known.data, start, stop, address, targets)))
        behind = address - start  # what an address has more than its offset
        found = {(at, to) for at, to in known if like.same(at - behind, at - behind + longest)}
        for low, high in like.within(start, stop + longest):  # one behind the end is told from those that are the same
            first, last = max(start, low - longest), min(stop, high + longest)
            around = calls(data, first, last, address + first - start, targets)
            found |= {(at, to) for at, to in around if not like.same(at - behind, at - behind + longest)}
        yield from sorted(found)

    return search
