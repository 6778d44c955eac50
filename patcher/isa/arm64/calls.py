"""Calls and what stands before them, found in machine code without decoding it (Arm ARM, C4.1)."""

import re
from collections.abc import Iterator, Sequence

from patcher.file.content import Content, forget
from patcher.isa.arm64.code import SIZE
from patcher.isa.instruction import Instruction, Kind, Mem

_BRANCHES = (0b100101, 0b000101)  # bl, and b, which calls where a function ends: the upper six bits
_DISTANCE = (1 << 26) - 1  # the others: how far it goes, in instructions, signed
_STEP = 1 << 18  # within so many bytes of text the upper ten bits of a distance take two values
_MOVE = 0xD280_0000  # movz of a whole register
_FIRST, _SECOND = (8, 0), (0, 1)  # where the kernel and Go's ABIInternal look for the first two words of a call


def direct_calls(
    data: Content, start: int, stop: int, address: int, targets: frozenset[int]
) -> Iterator[tuple[int, int]]:
    """As ``Isa.direct_calls``, a piece after the other."""
    first = start + -address % SIZE
    for low in range(first, stop - SIZE + 1, _STEP):
        high = min(low + _STEP, stop - (stop - first) % SIZE)
        yield from _calls_in(data[low:high], address + low - start, targets)
        forget(data, low, high)


def _calls_in(code: bytes, address: int, targets: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Those in ``_STEP`` bytes, found by what the third byte of their distance can be."""
    ends = (address, address + len(code) - SIZE)
    thirds = {(target - end) // SIZE >> 16 & 0xFF for target in targets for end in ends}
    if not thirds:
        return
    pattern = re.compile(b"[" + b"".join(re.escape(bytes([each])) for each in sorted(thirds)) + b"]", re.DOTALL)
    for hit in pattern.finditer(code[2::SIZE]):
        at = SIZE * hit.start()
        word = int.from_bytes(code[at : at + SIZE], "little")
        if word >> 26 in _BRANCHES:
            distance = word & _DISTANCE
            distance -= (distance > _DISTANCE >> 1) * (_DISTANCE + 1)
            if (target := address + at + SIZE * distance) in targets:
                yield address + at, target


def sets_first(value: int) -> tuple[bytes, ...]:
    """As ``Isa.sets_first``; the kernel's comes first."""
    return tuple(_move(each, value) for each in _FIRST)


def sets_second(value: int) -> tuple[bytes, ...]:
    """As ``Isa.sets_second``."""
    return tuple(_move(each, value) for each in _SECOND)


def _move(register: int, value: int) -> bytes:
    return (_MOVE | value << 5 | register).to_bytes(SIZE, "little")


def starts(code: bytes, address: int) -> frozenset[int]:
    """As ``Isa.starts``: every word is one instruction, or a constant among them."""
    return frozenset(range(address, address + len(code) - SIZE + 1, SIZE))


def takes_stack(instructions: Sequence[Instruction], namesakes: frozenset[int]) -> bool:
    """As ``Isa.takes_stack``: a word above the frame and the return address is loaded that was not put there before.

    A function that takes its arguments in registers may keep them there.
    """
    del namesakes
    depth, kept = 0, set()
    for each in instructions:
        if each.kind in (Kind.CALL, Kind.SYSTEM_CALL, Kind.RETURN):
            break
        memory = next((one for one in each.operands if isinstance(one, Mem) and one.base == "sp"), None)
        if memory is None:
            continue
        if each.text.endswith("!"):
            depth -= memory.displacement
        elif each.mnemonic.startswith("st"):
            kept.add(memory.displacement)
        elif memory.displacement >= depth + 8 and memory.displacement not in kept:
            return True
    return False
