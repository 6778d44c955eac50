"""How control and constants flow through a function: its blocks, what comes before each, what a register may hold."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from patcher.errors import ShapeMismatch
from patcher.isa.instruction import Instruction, Kind

_MOST_BLOCKS = 256  # looked through for one value; those of a system call's number are a handful
_NOT_RUN_ON = (Kind.JUMP, Kind.RETURN, Kind.TRAP)


@dataclass(frozen=True)
class Block:
    """Instructions that run one after the other: entered at the first, left behind the last."""

    instructions: tuple[Instruction, ...]
    successors: tuple[int, ...]

    @property
    def start(self) -> int:
        """The virtual address of the first instruction."""
        return self.instructions[0].address

    @property
    def end(self) -> int:
        """The virtual address behind the last instruction."""
        return self.instructions[-1].end


class Flow(ABC):
    """The blocks of one function. A call is taken to return, whatever it calls."""

    def __init__(self, name: str, instructions: Sequence[Instruction]) -> None:
        """Cut at every jump and target. Raises ShapeMismatch where a jump goes through a register or memory."""
        for each in instructions:
            if (each.is_branch and each.target is None) or self.strays(each):
                raise ShapeMismatch(f"{name}: expected direct jumps only, found {each}")
        self.name = name
        self._instructions = instructions
        self.targets = frozenset(each.target for each in instructions if each.is_branch)

    @abstractmethod
    def strays(self, instruction: Instruction) -> bool:
        """Whether it may go elsewhere though it is no jump of the kinds that are followed."""

    @abstractmethod
    def register(self, name: str) -> str:
        """The register of a name, whatever its width: what ``written`` and ``moved`` call it."""

    @abstractmethod
    def written(self, instruction: Instruction) -> frozenset[str]:
        """The registers that an instruction writes or a call may spoil; at least those."""

    @abstractmethod
    def moved(self, instruction: Instruction, register: str) -> int | str | None:
        """What an instruction sets the whole of a register to: a constant or a register; None where neither."""

    @cached_property
    def blocks(self) -> dict[int, Block]:
        """Every block by its start."""
        blocks: dict[int, Block] = {}
        run: list[Instruction] = []
        for each in self._instructions:
            if run and each.address in self.targets:
                _close(blocks, run)
            run.append(each)
            if each.is_branch or each.kind in _NOT_RUN_ON:
                _close(blocks, run)
        _close(blocks, run)
        return blocks

    @cached_property
    def fillers(self) -> tuple[Block, ...]:
        """The blocks that nothing reaches and that do nothing: before a target, to align it."""
        reached = {each for block in self.blocks.values() for each in block.successors}
        return tuple(
            block
            for block in self.blocks.values()
            if block.start not in reached and all(each.is_nop for each in block.instructions)
        )

    @cached_property
    def _before(self) -> dict[int, list[Block]]:
        before: dict[int, list[Block]] = {}
        for block in self.blocks.values():
            for each in () if block in self.fillers else block.successors:
                before.setdefault(each, []).append(block)
        return before

    def predecessors(self, start: int) -> tuple[Block, ...]:
        """The blocks that are left for the block at ``start``, in the order of addresses."""
        return tuple(self._before.get(start, ()))

    def block_with(self, address: int) -> Block:
        """The block that holds the instruction at ``address``. Raises ShapeMismatch if there is none."""
        for block in self.blocks.values():
            if any(each.address == address for each in block.instructions):
                return block
        raise ShapeMismatch(f"{self.name}: expected an instruction at {address:#x}, found none starting there")

    def constants(self, address: int, name: str) -> frozenset[int | None]:
        """What a register, whatever its width, may hold before the instruction at ``address``; None: no constant."""
        block = self.block_with(address)
        before = [each for each in block.instructions if each.address < address]
        return frozenset(self._held(block, before, self.register(name), set()))

    def _held(
        self, block: Block, instructions: Sequence[Instruction], register: str, seen: set[tuple[int, str]]
    ) -> Iterator[int | None]:
        for each in reversed(instructions):
            if register not in self.written(each):
                continue
            moved = self.moved(each, register)
            if isinstance(moved, str):
                yield from self._held(block, _before(instructions, each), moved, seen)
            else:
                yield moved
            return
        if (block.start, register) in seen:
            return
        seen.add((block.start, register))
        before = self.predecessors(block.start)
        if not before or block.start == self._instructions[0].address or len(seen) > _MOST_BLOCKS:
            yield None
            return
        for each_block in before:
            yield from self._held(each_block, each_block.instructions, register, seen)


def _before(instructions: Sequence[Instruction], last: Instruction) -> Sequence[Instruction]:
    return [each for each in instructions if each.address < last.address]


def _close(blocks: dict[int, Block], run: list[Instruction]) -> None:
    """End a block behind its last instruction, and begin the next."""
    if not run:
        return
    last = run[-1]
    ways = [last.target] if last.is_branch and last.target is not None else []
    if last.kind not in _NOT_RUN_ON:
        ways.append(last.end)
    blocks[run[0].address] = Block(tuple(run), tuple(ways))
    run.clear()
