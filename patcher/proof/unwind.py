"""Rule 2 of code placed in a Go binary: what pclntab says of a PC must be true of the code there.

The unwinder maps every PC to a function, an SP delta and a stack map (runtime/traceback.go, stkframe.go). A wrong
delta is "unexpected return pc"; a stack map that calls a slot a live pointer is believed by the garbage collector.
"""

import itertools

from patcher.edit.edit import Code
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.pclntab import PCDATA_INL_TREE_INDEX, PCDATA_UNSAFE_POINT, UNSAFE, Function
from patcher.golang.stackmap import live_slots
from patcher.isa.instruction import Instruction, Kind, Mem
from patcher.isa.isa import Isa
from patcher.proof.events import STACK, Call, Run, SystemCall
from patcher.proof.machine import TOP


def check_stack_depth(functions: Functions, function: Function, run: Run) -> None:
    """At every executed instruction of ``function`` the stack must be as deep as pclntab states for that PC."""
    for address, stack_pointer in sorted(set(run.steps)):
        if not function.start <= address < function.end:
            continue
        stated = functions.table.sp_delta(function, address)
        if stated != TOP - stack_pointer:
            raise ProofFailed(
                f"{function.name} at {address:#x}: the stack is {TOP - stack_pointer:#x} bytes deep, "
                f"pclntab states {'nothing' if stated is None else hex(stated)}; the unwinder would be misled"
            )


def check_alignment(isa: Isa, runs: list[Run]) -> None:
    """The stack pointer must be aligned at each instruction, as the processor asks of each that uses it."""
    alignment = isa.abi.stack_alignment
    for address, stack_pointer in (step for run in runs if alignment > 1 for step in run.steps):
        if stack_pointer % alignment:
            raise ProofFailed(
                f"the code at {address:#x} runs with {isa.abi.stack_pointer} = {stack_pointer:#x}, which is no "
                f"multiple of {alignment}"
            )


def check_promises(state: Run | Call) -> None:
    """What Go's ABIInternal promises beside the registers of a run must hold (abi-internal.md)."""
    if state.broken:
        raise ProofFailed(f"the stub leaves {state.broken}")


def check_no_preemption(functions: Functions, function: Function, code: tuple[Code, ...]) -> None:
    """No instruction of a stub in compiled code may be an async-safe point: its registers have no pointer maps."""
    for each in code:
        for address in range(each.start, each.end):
            if not function.start <= address < function.end:
                continue
            if functions.table.pcdata(function, PCDATA_UNSAFE_POINT, address) != UNSAFE:
                raise ProofFailed(
                    f"{function.name} at {address:#x}: pclntab allows asynchronous preemption in the stub"
                )


def check_live_slots(
    functions: Functions, function: Function, frame: int, state: Call | SystemCall, return_address: int
) -> None:
    """Every slot that the stack map of ``return_address`` calls a live pointer must be nil at this moment.

    The return address is that of the call at hand; during a wait, that of the call that left the P, at which the
    collector takes the goroutine to stand (runtime/proc.go, reentersyscall).
    """
    what = f"the call of {state.name}" if isinstance(state, Call) else f"system call {state.number}"
    if not function.start < return_address < function.end:
        raise ProofFailed(f"{what} returns to {return_address:#x}, outside {function.name}")
    for slot in live_slots(functions, function, frame, return_address):
        at = state.stack_pointer + slot - STACK
        value = int.from_bytes(state.stack[at : at + 8], "little")
        if value:
            where = f"[{functions.image.isa.abi.stack_pointer}+{slot:#x}]"
            raise ProofFailed(
                f"{function.name}: during {what} the stack map at {return_address:#x} calls "
                f"{where} a live pointer and the stub leaves {value:#x} there"
            )


def check_not_inlined(functions: Functions, function: Function, runs: list[Run]) -> None:
    """Where a call returns to, pclntab must state no inlined call: tracebacks would show that call's frame."""
    for call in (each for run in runs for each in run.events if isinstance(each, Call)):
        if functions.table.pcdata(function, PCDATA_INL_TREE_INDEX, call.return_address - 1) != -1:
            raise ProofFailed(
                f"{function.name}: the call of {call.name} returns to {call.return_address:#x}, "
                "where pclntab states an inlined call"
            )


def check_instructions(isa: Isa, instructions: tuple[Instruction, ...]) -> None:
    """New code may hold only what the stubs use, and nothing that is right at the linked address alone.

    The emulator runs instructions that a user process may not, and always at the linked address; a PIE is moved.
    """
    for each in instructions:
        if each.mnemonic not in isa.used and not each.is_nop:
            raise ProofFailed(f"the stub holds an instruction that no stub uses: {each}")
        for operand in each.operands:
            if isinstance(operand, Mem) and not (operand.base or operand.index or operand.segment):
                raise ProofFailed(
                    f"the stub holds an absolute address, which is wrong once the program is moved: {each}"
                )


def check_executed(code: tuple[Code, ...], instructions: tuple[Instruction, ...], runs: list[Run]) -> None:
    """Every instruction of the new code must have been executed by some case, else it is unproven.

    And every conditional jump must have been taken by one case and not by another.
    """
    starts = {each.address for each in instructions}
    executed = {address for run in runs for address, _ in run.steps}
    astray = sorted(address for address in executed - starts if any(each.start <= address < each.end for each in code))
    if astray:
        raise ProofFailed(f"the stub runs from the middle of an instruction, at {astray[0]:#x}")
    missed = sorted(starts - executed)
    if missed:
        raise ProofFailed(
            f"{len(missed)} instructions of the stub were reached by no case, the first at {missed[0]:#x} "
            f"(of {sum(each.end - each.start for each in code)} bytes of new code)"
        )
    _check_both_ways({each.address: each for each in instructions if each.kind is Kind.CONDITIONAL_JUMP}, runs)


def _check_both_ways(jumps: dict[int, Instruction], runs: list[Run]) -> None:
    went: dict[int, set[int]] = {address: set() for address in jumps}
    for run in runs:
        path = [*(address for address, _ in run.steps), run.stop]
        for address, after in itertools.pairwise(path):
            if address in went:
                went[address].add(after)
    for address, jump in jumps.items():
        if went[address] != {jump.end, jump.target}:
            raise ProofFailed(f"the stub's {jump} goes one way in every case; the other is unproven")
