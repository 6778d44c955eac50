"""Machine code read as instructions: the one place that calls Capstone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from patcher.isa.instruction import Instruction, Kind, Operand

if TYPE_CHECKING:
    import capstone


@dataclass(frozen=True)
class Decoder:
    """``engine`` makes one of Capstone's. ``told``: (mnemonic, operands as text) → an instruction's text and kind.
    ``operand`` makes an operand of one of Capstone's, and of the instruction that has it.
    """

    engine: Callable[[], "capstone.Cs"]
    told: Callable[[str, str], tuple[str, Kind]]
    operand: Callable[["capstone.CsInsn", "capstone.CsOperand"], Operand]

    @cached_property
    def _quick(self) -> "capstone.Cs":
        """What tells no operands; to read these takes ten times as long as all else."""
        return self.engine()

    @cached_property
    def _thorough(self) -> "capstone.Cs":
        engine = self.engine()
        engine.detail = True
        return engine

    def decode(self, code: bytes, address: int) -> Iterator[Instruction]:
        """Instructions of ``code`` at virtual ``address``, up to the first byte that is none."""
        for start, size, mnemonic, rest in self._quick.disasm_lite(code, address):
            at = start - address
            text, kind = self.told(mnemonic, rest)
            yield Instruction(start, size, mnemonic, text, kind, partial(self._operands, code[at : at + size], start))

    def _operands(self, code: bytes, address: int) -> tuple[Operand, ...]:
        (raw,) = self._thorough.disasm(code, address)
        return tuple(self.operand(raw, each) for each in raw.operands)

    def starts(self, code: bytes, address: int) -> frozenset[int]:
        """Where instructions start in ``code`` at virtual ``address``, up to the first byte that is none."""
        return frozenset(start for start, _size, _mnemonic, _text in self._quick.disasm_lite(code, address))

    def size_of(self, code: bytes, address: int) -> int:
        """How many bytes of ``code`` are instructions, up to the first byte that is none."""
        return sum(size for _start, size, _mnemonic, _text in self._quick.disasm_lite(code, address))
