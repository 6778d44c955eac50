"""Where each held thread stands, and the registers that it is given: all are known before the first is set."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from patcher.edit.moves import INT, Place, Table
from patcher.isa.table import HERE
from patcher.live import ptrace
from patcher.live.stopping import Doubt

_threads = HERE.threads
_WORD = 8
_SCANNED = 64 << 10  # bytes of a stack: a signal stack of Go's has 32 KiB (runtime/os_linux.go, mpreinit)
_MINUS_ONE = (1 << 64) - 1


@dataclass(frozen=True)
class Memory:
    """A process's memory, by addresses as linked (``bias`` is added) or as they are."""

    descriptor: int
    bias: int

    def at(self, address: int, size: int) -> bytes:
        """Up to ``size`` bytes at an address as it is; fewer where the mapping ends."""
        try:
            return os.pread(self.descriptor, size, address)
        except OSError:
            return b""

    @property
    def replaced(self) -> bool:
        """Whether it is of a program no longer: the process has exec'd, or ended (fs/proc/base.c, mem_rw)."""
        try:
            return not os.pread(self.descriptor, 1, self.bias)
        except OSError:
            return False

    def linked(self, address: int, size: int) -> bytes:
        """Bytes at an address as linked."""
        return self.at(address + self.bias, size)

    def word(self, address: int) -> int:
        """The word at an address as it is. Raises Doubt where there is none."""
        data = self.at(address, _WORD)
        if len(data) < _WORD:
            raise Doubt(f"nothing can be read at {address:#x}")
        return int.from_bytes(data, "little")

    def number(self, address: int) -> int:
        """The int at an address as linked. Raises Doubt where there is none."""
        data = self.linked(address, INT)
        if len(data) < INT:
            raise Doubt(f"nothing can be read at {address:#x}, as linked")
        return int.from_bytes(data, "little", signed=True)


def moves_of(
    tids: Sequence[int], tables: Sequence[Table], memory: Memory, *, scan_all: bool
) -> dict[int, dict[str, int]]:
    """The registers to set, of each thread that must be moved. Raises Doubt for one that stands where it cannot be.

    ``scan_all``: look for signal frames in every thread, not in those alone that block signals: a handler of C's may
    block none.
    """
    moves: dict[int, dict[str, int]] = {}
    spans = [(*span, table) for table in tables for span in (*table.ranges, table.callee)]
    for tid in tids:
        counter, mode, stack, blocked = ptrace.look(tid)
        if mode != _threads.MODE:
            raise Doubt(f"thread {tid} does not run 64-bit code")
        if scan_all or blocked:
            _check_frames(tid, stack, tables, memory)
        at = counter - memory.bias
        for low, high, table in spans:
            if low <= at < high and (place := _place(at, stack, table, memory)) is not None:
                moves[tid] = _moved(tid, counter, stack, place, memory)
                break
    return moves


def rehearse(tid: int, tables: Sequence[Table], memory: Memory) -> None:
    """What is done to a thread that must be moved, done to one that stands elsewhere: it gets the registers it has."""
    counter, _, stack, _ = ptrace.look(tid)
    for place in (place for table in tables for place in table.places.values()):
        with contextlib.suppress(Doubt):
            _moved(tid, counter, stack, place, memory)
            break
    ptrace.set_registers(tid, ptrace.registers(tid))
    os.pwrite(memory.descriptor, memory.at(stack, _WORD), stack)


def _moved(tid: int, counter: int, stack: int, place: Place, memory: Memory) -> dict[str, int]:
    registers = ptrace.registers(tid)
    result = registers[_threads.RESULT] & 0xFFFFFFFF
    _, move = place.chosen(result - (result >> 31 << 32))
    if move is None:
        raise Doubt(f"thread {tid} stands at {counter - memory.bias:#x}, in the wait's code")
    values = dict(registers)
    stack_pointer = stack + move.pop
    values[_threads.STACK_POINTER] = stack_pointer
    for name, offset in move.load.items():
        values[name] = memory.word(stack_pointer + offset)
    for name, address in move.read.items():
        values[name] = memory.number(address)
    for name, address in move.point.items():
        values[name] = address + memory.bias
    values.update(move.set)
    values[_threads.PROGRAM_COUNTER] = move.go + memory.bias
    values.update(_threads.OUT_OF_CALL)
    return {name: value & _MINUS_ONE for name, value in values.items()}


def _place(at: int, stack: int, table: Table, memory: Memory) -> Place | None:
    """What a thread's place in a site says, by its program counter as linked; None for one that stays where it is."""
    if any(low <= at < high for low, high in table.ranges):
        return None if at in table.stay else table.places.get(at, Place())
    if memory.word(stack) - memory.bias == table.returns:
        return table.callee_places.get(at, Place())
    return None


def _check_frames(tid: int, stack: int, tables: Sequence[Table], memory: Memory) -> None:
    """A thread in a signal handler comes back to where its frame says. Raises Doubt where that is in the code."""
    start = stack & -_WORD
    for counter in _threads.interrupted_at(memory.at(start, _SCANNED)):
        at = counter - memory.bias
        for table in tables:
            ranges = [*table.ranges, table.callee]
            if at not in table.stay and any(low <= at < high for low, high in ranges):
                raise Doubt(f"thread {tid} is in a signal handler that returns into the wait's code")
