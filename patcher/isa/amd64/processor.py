"""x86-64 as the emulator runs it: what Unicorn must be told of its registers, calls and system calls."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import unicorn
from unicorn import x86_const as x86
from unicorn.unicorn_py3.arch.intel import UcIntel

from patcher.isa.engine import Engine
from patcher.isa.processor import Processor

_FS_BASE = 0x7400_0000_0000  # thread-local data lie below it; elf.py bounds them
_POINTER = 8
_DIRECTION_FLAG = 1 << 10
_SYSCALL_SIZE = 2
_NAMES = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
)  # fmt: skip


class _Engine(Engine, UcIntel):
    """Unicorn's, quicker."""


class Amd64Processor(Processor):
    """x86-64 in a thread of a Linux process."""

    numbers: ClassVar[Mapping[str, int]] = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in _NAMES}

    def engine(self) -> Engine:
        """64-bit mode."""
        return _Engine(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)

    def begin(self, engine: Engine) -> None:
        """The thread pointer, xmm15 and the flags."""
        engine.reg_write(x86.UC_X86_REG_FS_BASE, _FS_BASE)
        engine.reg_write(x86.UC_X86_REG_XMM15, 0)
        engine.reg_write(x86.UC_X86_REG_EFLAGS, 2)

    def thread_local(self, size: int) -> tuple[int, int]:
        """Go's linker puts g at fs:[-8], one of C anywhere in what PT_TLS asks for; in a library the offset is yet to
        be filled in, and is 0.
        """
        return _FS_BASE - max(size, _POINTER), _FS_BASE

    def called(self, engine: Engine, stack_pointer: int, return_address: int) -> None:
        """The return address lies where rsp points to."""
        engine.mem_write(stack_pointer, return_address.to_bytes(_POINTER, "little"))

    def caller(self, engine: Engine) -> tuple[int, int]:
        """The return address lies where rsp points to."""
        rsp = engine.reg_read(x86.UC_X86_REG_RSP)
        return rsp + _POINTER, int.from_bytes(engine.mem_read(rsp, _POINTER), "little")

    def on_system_call(self, engine: Engine, callback: Callable[[], None]) -> None:
        """At ``syscall``, before rip moves on."""

        def hooked(_engine: Engine, _data: object) -> None:
            callback()

        engine.hook_add(unicorn.UC_HOOK_INSN, hooked, None, 1, 0, x86.UC_X86_INS_SYSCALL)

    def spoilt(self, engine: Engine, junk: Callable[[str], int]) -> dict[str, int]:
        """As the instruction leaves them: rcx is the return address, whose upper bits are often clear."""
        return {"rcx": engine.reg_read(x86.UC_X86_REG_RIP) + _SYSCALL_SIZE, "r11": junk("r11 after syscall")}

    def status(self, engine: Engine) -> int:
        """rflags."""
        flags: int = engine.reg_read(x86.UC_X86_REG_EFLAGS)
        return flags

    def set_status(self, engine: Engine, status: int) -> None:
        """rflags."""
        engine.reg_write(x86.UC_X86_REG_EFLAGS, status)

    def broken(self, engine: Engine) -> str:
        """xmm15 is zero and the direction flag clear (cmd/compile/abi-internal.md)."""
        if engine.reg_read(x86.UC_X86_REG_XMM15):
            return "xmm15 other than zero"
        return "the direction flag set" if engine.reg_read(x86.UC_X86_REG_EFLAGS) & _DIRECTION_FLAG else ""
