"""Calls and what stands before them, found in machine code without decoding it (Intel SDM, volume 2)."""

import re
from collections.abc import Iterator, Sequence

from patcher.file.content import Content, forget
from patcher.isa.instruction import Instruction, Kind, Mem, Reg

_CALLS = b"[\xe8\xe9]"  # call rel32, and jmp rel32, which calls where a function ends
_CALL_SIZE = 5
_STEP = 1 << 21  # within so many bytes of text the upper half of rel32 takes 33 values at the most for each target
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

    ``re`` is quick where a pattern begins with one certain byte: so there is one for each that can be a distance's
    last. Of a program's own functions these are one or two; were they spread to slow this down, one pattern has all.
    """
    first, last = address + _CALL_SIZE, address + stop - start + _CALL_SIZE
    upper = {each for target in targets for each in range(target - last >> 16, (target - first >> 16) + 1)}
    third, fourths = _one_of({each & 0xFF for each in upper}), {each >> 8 & 0xFF for each in upper}
    for fourth in map(_one_of, ({each} for each in fourths) if len(fourths) <= _MOST_PATTERNS else [fourths]):
        # The call is looked back at, not taken: one may begin within what looks like another's distance.
        pattern = re.compile(fourth + b"(?<=" + _CALLS + b".." + third + fourth + b")", re.DOTALL)
        for hit in pattern.finditer(data, start + _CALL_SIZE - 1, stop + _CALL_SIZE - 1):
            call = hit.end() - _CALL_SIZE
            at = address + call - start
            distance = int.from_bytes(data[call + 1 : call + _CALL_SIZE], "little", signed=True)
            if (target := at + _CALL_SIZE + distance) in targets:
                yield at, target


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
