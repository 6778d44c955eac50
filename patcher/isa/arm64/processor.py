"""AArch64 as the emulator runs it: what Unicorn must be told of its registers, calls and system calls."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import unicorn
from unicorn import arm64_const as arm64
from unicorn.unicorn_py3.arch.arm64 import UcAArch64
from unicorn.unicorn_py3.unicorn import UcError

from patcher.isa.engine import Engine
from patcher.isa.processor import Processor

_THREAD = 0x7400_0000_0000
_CONTROL_BLOCK = 16  # bytes at the thread pointer, below a thread's own data (AAPCS64, "ELF for the Arm 64-bit")
_SVC = 2  # EXCP_SWI (qemu/target/arm/cpu.h)
_NAMES = (*(f"x{number}" for number in range(31)), "sp", "pc")


class _Engine(Engine, UcAArch64):
    """Unicorn's, quicker."""


class Arm64Processor(Processor):
    """AArch64 in a thread of a Linux process."""

    numbers: ClassVar[Mapping[str, int]] = {name: getattr(arm64, f"UC_ARM64_REG_{name.upper()}") for name in _NAMES}

    def engine(self) -> Engine:
        """64-bit mode."""
        return _Engine(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)

    def begin(self, engine: Engine) -> None:
        """The thread pointer, the flags, and how floating point is done."""
        engine.reg_write(arm64.UC_ARM64_REG_TPIDR_EL0, _THREAD)
        engine.reg_write(arm64.UC_ARM64_REG_FPCR, 0)
        self.set_status(engine, 0)

    def thread_local(self, size: int) -> tuple[int, int]:
        """They lie above the thread pointer."""
        return _THREAD, _THREAD + _CONTROL_BLOCK + size

    def called(self, engine: Engine, stack_pointer: int, return_address: int) -> None:
        """The return address is in x30."""
        del stack_pointer
        engine.reg_write(arm64.UC_ARM64_REG_X30, return_address)

    def caller(self, engine: Engine) -> tuple[int, int]:
        """A call puts nothing on the stack."""
        return engine.word(arm64.UC_ARM64_REG_SP), engine.word(arm64.UC_ARM64_REG_X30)

    def on_system_call(self, engine: Engine, callback: Callable[[], None]) -> None:
        """At ``svc``, when pc has moved on; every other exception is a fault."""

        def hooked(_engine: Engine, exception: int, _data: object) -> None:
            if exception != _SVC:
                raise UcError(unicorn.UC_ERR_EXCEPTION)
            callback()

        engine.hook_add(unicorn.UC_HOOK_INTR, hooked)

    def spoilt(self, engine: Engine, junk: Callable[[str], int]) -> dict[str, int]:
        """Nothing (arch/arm64/kernel/entry.S, ret_to_user)."""
        del engine, junk
        return {}

    def status(self, engine: Engine) -> int:
        """NZCV."""
        flags: int = engine.reg_read(arm64.UC_ARM64_REG_NZCV)
        return flags

    def set_status(self, engine: Engine, status: int) -> None:
        """NZCV."""
        engine.reg_write(arm64.UC_ARM64_REG_NZCV, status)

    def broken(self, engine: Engine) -> str:
        """The bits that say how floating point is done stay as they are (cmd/compile/abi-internal.md)."""
        return "floating point done otherwise (FPCR)" if engine.reg_read(arm64.UC_ARM64_REG_FPCR) else ""
