"""Machine code read as instructions: the one place that calls Capstone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from patcher.isa.instruction import Instruction

if TYPE_CHECKING:
    import capstone


@dataclass(frozen=True)
class Decoder:
    """``engine`` makes one of Capstone's; ``read`` makes an instruction of one of Capstone's."""

    engine: Callable[[], "capstone.Cs"]
    read: Callable[["capstone.CsInsn"], Instruction]

    @cached_property
    def _made(self) -> "capstone.Cs":
        engine = self.engine()
        engine.detail = True
        return engine

    def decode(self, code: bytes, address: int) -> Iterator[Instruction]:
        """Instructions of ``code`` at virtual ``address``, up to the first byte that is none."""
        return map(self.read, self._made.disasm(code, address))

    def starts(self, code: bytes, address: int) -> frozenset[int]:
        """Where instructions start in ``code`` at virtual ``address``, up to the first byte that is none."""
        return frozenset(start for start, _size, _mnemonic, _text in self._made.disasm_lite(code, address))

    def size_of(self, code: bytes, address: int) -> int:
        """How many bytes of ``code`` are instructions, up to the first byte that is none."""
        return sum(size for _start, size, _mnemonic, _text in self._made.disasm_lite(code, address))
