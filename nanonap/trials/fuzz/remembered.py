"""Instruction sets that remember what they made of the same bytes at the same address.

A mutant's code is its base's but for some bytes; to decode it takes most of a reader's time. What is remembered depends
on what was asked alone, so the answers are those of the patcher itself.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from patcher.file.content import Content
from patcher.isa.isa import Isa
from patcher.isa.table import ISAS

T = TypeVar("T")
_PIECE = 1 << 18  # bytes of text: one that is damaged is searched anew, not all
_LONGEST_CALL = 8  # bytes, or more: a call may begin in one piece and end in the next
_MOST = 20_000  # answers: those of the bases are some hundreds
_PLAIN = dict(ISAS)


def remember_all() -> None:
    """Have this process, and those that it forks, read with such instruction sets."""
    ISAS.update({machine: _remembering(isa) for machine, isa in _PLAIN.items()})


def forget_all() -> None:
    """Have this process read as a user's does."""
    ISAS.update(_PLAIN)


def _all_of(search: Callable[[], Iterator[T]]) -> tuple[T, ...]:
    return tuple(search())


def _remembering(isa: Isa) -> Isa:
    known: dict[Hashable, object] = {}

    def once(asked: Hashable, make: Callable[[], T]) -> T:
        if asked in known:
            found: T = known[asked]  # type: ignore[assignment]  # of what was asked
            return found
        made = make()
        if len(known) < _MOST:
            known[asked] = made
        return made

    def direct_calls(
        data: Content, start: int, stop: int, address: int, targets: frozenset[int]
    ) -> Iterator[tuple[int, int]]:
        for low in range(start, stop, _PIECE):
            first, piece = address + low - start, data[low : min(low + _PIECE + _LONGEST_CALL, stop)]
            search = partial(isa.direct_calls, piece, 0, len(piece), first, targets)
            found = once(("calls", piece, first, targets), partial(_all_of, search))
            yield from (each for each in found if each[0] < first + _PIECE)

    return replace(
        isa,
        decode=lambda code, at: iter(once(("decode", code, at), partial(_all_of, partial(isa.decode, code, at)))),
        starts=lambda code, at: once(("starts", code, at), lambda: isa.starts(code, at)),
        assemble=lambda text, at: once(("assemble", text, at), lambda: isa.assemble(text, at)),
        direct_calls=direct_calls,
    )
