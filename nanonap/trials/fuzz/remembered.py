"""Instruction sets that remember what they made of the same bytes at the same address, and searches that do.

A mutant is its base but for some bytes; to decode its code and to search its tables takes most of a reader's time. What
is remembered depends on what was asked alone, so the answers are those of the patcher itself.
"""

import mmap
import operator
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import FunctionType, MethodType
from typing import Any, TypeVar

from nanonap.trials.fuzz.compared import Compared, compared_calls, compared_hits
from patcher.file.content import Content, mapped
from patcher.file.elf_tables import hits_of_each
from patcher.isa.flow import Flow
from patcher.isa.instruction import Instruction
from patcher.isa.isa import Isa
from patcher.isa.table import ISAS

T = TypeVar("T")
_LONGEST_CALL = 8  # bytes, or more
_MOST = 20_000  # answers: those of the bases are some hundreds
_MOST_FLOWS = 8  # of functions that differ in their instructions alone
_PLAIN = dict(ISAS)
_FUNCTIONS = (FunctionType, MethodType)


def remember_all() -> None:
    """Have this process, and those that it forks, read with such instruction sets and searches."""
    ISAS.update(_OWN)
    _put(_INSTEAD)


def forget_all() -> None:
    """Have this process read as a user's does; what was remembered is there again after the next ``remember_all``."""
    ISAS.update(_PLAIN)
    _put({own: plain for plain, own in _INSTEAD.items()})


def _put(instead: dict[Callable[..., Any], Callable[..., Any]]) -> None:
    """Where the patcher's modules name one function, have them name another."""
    for module in [each for name, each in sys.modules.items() if name.startswith("patcher.")]:
        for name, value in list(vars(module).items()):
            if isinstance(value, _FUNCTIONS) and value in instead:
                vars(module)[name] = instead[value]


def _compared(descriptor: int) -> Content:
    """As ``content.mapped``."""
    return Compared(descriptor, 0, prot=mmap.PROT_READ) if os.fstat(descriptor).st_size else b""


def _all_of(search: Callable[[], Iterator[T]]) -> tuple[T, ...]:
    return tuple(search())


def _remembering(isa: Isa) -> Isa:
    known: dict[Hashable, object] = {}
    flows: dict[tuple[str, int, int], list[tuple[Sequence[Instruction], Flow]]] = {}

    def once(asked: Hashable, make: Callable[[], T]) -> T:
        if asked in known:
            found: T = known[asked]  # type: ignore[assignment]  # of what was asked
            return found
        made = make()
        if len(known) < _MOST:
            known[asked] = made
        return made

    def flow(name: str, instructions: Sequence[Instruction]) -> Flow:
        """Instructions that were decoded once are the same objects again."""
        alike = flows.setdefault((name, instructions[0].address if instructions else 0, len(instructions)), [])
        for before, made in alike:
            if all(map(operator.is_, before, instructions)):
                return made
        made = isa.flow(name, instructions)
        if len(alike) < _MOST_FLOWS:
            alike.append((instructions, made))
        return made

    return replace(
        isa,
        decode=lambda code, at: iter(once(("decode", code, at), partial(_all_of, partial(isa.decode, code, at)))),
        starts=lambda code, at: once(("starts", code, at), lambda: isa.starts(code, at)),
        assemble=lambda text, at: once(("assemble", text, at), lambda: isa.assemble(text, at)),
        flow=flow,
        direct_calls=compared_calls(isa.direct_calls, _LONGEST_CALL),
    )


_OWN = {machine: _remembering(isa) for machine, isa in _PLAIN.items()}
_INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {mapped: _compared, hits_of_each: compared_hits}
for _machine, _isa in _PLAIN.items():
    _own = _OWN[_machine]
    _INSTEAD |= {_isa.decode: _own.decode, _isa.starts: _own.starts, _isa.assemble: _own.assemble}
