"""Calls and what stands before them, found in machine code without decoding it (Intel SDM, volume 2)."""

import re
import struct
from collections.abc import Iterator, Sequence

from patcher.file.content import Content, forget, matches
from patcher.isa.instruction import Instruction, Kind, Mem, Reg

_CALLS = b"[\xe8\xe9]"  # call rel32, and jmp rel32, which calls where a function ends
_CALL_SIZE = 5
_DISTANCE = struct.Struct("<i")  # from the end of a call to its target
_STEP = 1 << 20  # within so many bytes of text the upper half of rel32 takes 17 values at the most for each target
_MOST_PATTERNS = 4
# mov to where a call's first two words lie, up to the immediate: eax and ebx in ABIInternal, [rsp] and [rsp+8] in ABI0,
# eax and edi for the kernel.
_FIRST = (b"\xb8", b"\x48\xc7\x04\x24")
_SECOND = (b"\xbb", b"\x48\xc7\x44\x24\x08", b"\xbf")


def direct_calls(
    data: Content, start: int, stop: int, address: int, targets: frozenset[int]
) -> Iterator[tuple[int, int]]:
    """As ``Isa.direct_calls``, a piece after the other."""
    for low in range(start, stop, _STEP):
        high = min(low + _STEP, stop - _CALL_SIZE + 1)
        yield from _calls_in(data, low, high, address + low - start, targets)
        forget(data, low, high)


def _calls_in(data: Content, start: int, stop: int, address: int, targets: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Those that begin in ``_STEP`` bytes, found by what the upper half of their distance can be.

    A search is quick where a pattern begins with one certain byte: so there is one for each that can be a distance's
    last, with what can stand before it. Of a program's own functions these are one or two; were they spread to slow
    this down, one pattern has all.
    """
    first, last = address + _CALL_SIZE, address + stop - start + _CALL_SIZE
    upper = {each for target in targets for each in range(target - last >> 16, (target - first >> 16) + 1)}
    thirds: dict[int, set[int]] = {}
    for each in upper:
        thirds.setdefault(each >> 8 & 0xFF, set()).add(each & 0xFF)
    alike = [({each}, thirds[each]) for each in thirds]
    for fourths, those in alike if len(alike) <= _MOST_PATTERNS else [(set(thirds), set().union(*thirds.values()))]:
        # The call is looked back at, not taken: one may begin within what looks like another's distance.
        fourth, low, high = _one_of(fourths), start + _CALL_SIZE - 1, stop + _CALL_SIZE - 1
        pattern = re.compile(fourth + b"(?<=" + _CALLS + b".." + _one_of(those) + fourth + b")", re.DOTALL)
        one = len(fourths) == 1
        found = matches(pattern, bytes(fourths), data, low, high) if one else pattern.finditer(data, low, high)
        for hit in found:
            end = hit.end()
            if (target := address + end - start + _DISTANCE.unpack_from(data, end - _DISTANCE.size)[0]) in targets:
                yield address + end - start - _CALL_SIZE, target


def _one_of(values: set[int]) -> bytes:
    """A pattern for a byte that is one of these: by ranges, which ``re`` reads sooner than many single bytes."""
    first = [each for each in sorted(values) if each - 1 not in values]
    last = [each for each in sorted(values) if each + 1 not in values]
    ends = zip(first, last, strict=True)
    return b"[" + b"".join(b"\\x%02x" % low + b"-\\x%02x" % high * (low < high) for low, high in ends) + b"]"


def sets_first(value: int) -> tuple[bytes, ...]:
    """As ``Isa.sets_first``."""
    return tuple(each + value.to_bytes(4, "little") for each in _FIRST)


def sets_second(value: int) -> tuple[bytes, ...]:
    """As ``Isa.sets_second``."""
    return tuple(each + value.to_bytes(4, "little") for each in _SECOND)


def takes_stack(instructions: Sequence[Instruction], namesakes: frozenset[int]) -> bool:
    """As ``Isa.takes_stack``: of a way from ABI0 to ABIInternal, which sets what Go code relies on (xmm15 is cleared, g
    loaded; cmd/compile/internal/amd64/ssa.go), then calls a namesake, nothing else. No other function is asked for.

    From cmd/compile/internal/ssagen/abi.go, makeABIWrapper; it jumps where there is nothing to hand on or back.
    """
    first, end = instructions[0].address, instructions[-1].end
    leaving = [
        index
        for index, each in enumerate(instructions)
        if each.kind is Kind.CALL or (each.is_branch and (each.target is None or not first <= each.target < end))
    ]
    if len(leaving) != 1 or instructions[leaving[0]].target not in namesakes:
        return False
    before = instructions[: leaving[0]]
    return any(each.text == "xorps xmm15, xmm15" for each in before) and any(map(_loads_g, before))


def _loads_g(instruction: Instruction) -> bool:
    """``mov r14, fs:[…]``: g comes from thread-local data where code has no g yet."""
    if instruction.mnemonic != "mov" or instruction.operands[0] != Reg("r14"):
        return False
    source = instruction.operands[1]
    return isinstance(source, Mem) and source.segment == "fs"
