"""The depth of the stack that pclntab states is the one that the code makes."""

from collections.abc import Iterator

from patcher.isa.instruction import Imm, Instruction, Reg
from tests.patcher.conftest import Build


def test_pclntab_states_the_depth_that_the_code_makes(build: Build) -> None:
    for name in ("runtime.netpoll", "time.Sleep", "runtime.usleep"):
        for function in build.functions.all(name):
            depths = dict(stack_depths(build.functions.instructions(function)))
            assert max(depths.values()) > 8
            stated = {address: build.functions.table.sp_delta(function, address) for address in depths}
            assert stated == depths


def stack_depths(instructions: tuple[Instruction, ...]) -> Iterator[tuple[int, int]]:
    """(address, bytes pushed so far) for every instruction that control can reach from the first."""
    by_address = {each.address: each for each in instructions}
    seen: dict[int, int] = {}
    waiting = [(instructions[0].address, 0)]
    while waiting:
        address, depth = waiting.pop()
        if address in seen or address not in by_address:
            continue
        seen[address] = depth
        each = by_address[address]
        depth += pushed(each)
        if each.mnemonic not in ("jmp", "ret", "int3", "ud2"):
            waiting.append((each.end, depth))
        if each.target is not None and each.is_branch:  # taken first: what follows a call of throw is not reached
            waiting.append((each.target, depth))
    yield from seen.items()


def pushed(instruction: Instruction) -> int:
    if instruction.mnemonic in ("push", "pushfq"):
        return 8
    if instruction.mnemonic in ("pop", "popfq"):
        return -8
    if instruction.mnemonic in ("sub", "add") and instruction.operands[0] == Reg("rsp"):
        assert isinstance(instruction.operands[1], Imm)
        return instruction.operands[1].value * (1 if instruction.mnemonic == "sub" else -1)
    return 0
