"""A bare x86-64 machine that runs a binary's own bytes: the one place that calls Unicorn.

It maps the image's pages as they are asked for, with edits laid over them, answers system calls from a script, and
records what the code did. Nothing of the binary is ever run on the real processor.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import unicorn
from unicorn import x86_const as x86
from unicorn.unicorn import Uc, UcContext, UcError

from patcher.edit import Edit
from patcher.errors import ProofFailed
from patcher.image import PAGE, GoImage
from patcher.proof.events import STACK, STACK_SIZE, Answer, Call, Run, SystemCall

TOP = STACK + STACK_SIZE - 0x2000  # rsp at a function's entry: the caller's frame lies above
G = 0x7100_0000_0000  # a runtime.g whose stack bounds never ask for more stack
_TLS_SIZE = 0x200  # bytes of thread-local storage below fs
_FS_BASE = G + 0x800
RETURN = 0x7200_0000_0000  # where a function's return address points
FILL = 0xA5  # what memory holds that nobody has written
_MOST_INSTRUCTIONS = 5_000
_DIRECTION_FLAG = 1 << 10
_ALL_ONES = (1 << 64) - 1
_SYSCALL_SIZE = 2

_REGISTERS = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}")
    for name in [
        "rax",
        "rbx",
        "rcx",
        "rdx",
        "rsi",
        "rdi",
        "rbp",
        "rsp",
        "r8",
        "r9",
        "r10",
        "r11",
        "r12",
        "r13",
        "r14",
        "r15",
        "rip",
    ]
}
_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_KEPT_BY_CALLS = frozenset({"rsp", "rbp", "r14", "rip"})  # Go's ABIInternal: rbp, g, and the stack


class Machine:
    """One image, with or without edits. Runs are independent of each other."""

    def __init__(
        self,
        image: GoImage,
        edits: Iterable[Edit] = (),
        memory: Mapping[int, bytes] | None = None,
        watch: Iterable[int] | None = None,
    ) -> None:
        """Map nothing of the image yet; pages come as the code reaches them.

        ``memory`` are bytes that the running program would have set before: address → content. With ``watch``,
        steps and writes are not recorded and only those addresses can be stops: five times as fast.
        """
        self._image = image
        self._laid = [(each.address, each.new) for each in edits] + list((memory or {}).items())
        self._engine = Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        for base, size in ((STACK, STACK_SIZE), (G, PAGE), (RETURN, PAGE)):
            self._engine.mem_map(base, size)
        self._run = Run()
        self._answers: list[Answer] = []
        self._stops: dict[int, int] = {}
        self._calls: Mapping[int, str] = {}
        self._fault: str | None = None
        self._flip = 0
        self._fresh: dict[int, UcContext] = {}  # the processor before a run, by what is flipped
        hook = self._engine.hook_add
        hook(unicorn.UC_HOOK_MEM_UNMAPPED, self._on_unmapped)
        if watch is None:
            hook(unicorn.UC_HOOK_MEM_WRITE, self._on_write)
            hook(unicorn.UC_HOOK_CODE, self._on_step)
        else:
            for address in (*watch, RETURN):
                hook(unicorn.UC_HOOK_CODE, self._on_step, None, address, address)
        hook(unicorn.UC_HOOK_INSN, self._on_syscall, None, 1, 0, x86.UC_X86_INS_SYSCALL)

    def run(
        self,
        start: int,
        registers: Mapping[str, int],
        answers: Sequence[Answer],
        stops: Mapping[int, int] | None = None,
        calls: Mapping[int, str] | None = None,
        words: Mapping[int, int] | None = None,
        complement: bool = False,
    ) -> Run:
        """Run from ``start`` until the function returns or an address in ``stops`` is reached for the n-th time.

        ``stops`` maps addresses to n; ``words`` are laid on the stack first. With ``complement`` every register and
        byte that nobody has set has each bit the other way round: code that goes by one of them goes another way.

        ``calls`` maps entries of Go functions to names: a call of one is recorded, spoils every register that a
        callee may spoil, and returns. Raises ProofFailed where the code leaves known memory, runs on for too
        long, or makes a system call that the script has no answer for.
        """
        self._run, self._answers, self._fault = Run(), list(answers), None
        self._flip = _ALL_ONES if complement else 0
        self._stops, self._calls = {RETURN: 1, **(stops or {})}, calls or {}
        self._reset(registers, words or {})
        try:
            self._engine.emu_start(start, 0, count=_MOST_INSTRUCTIONS)
        except UcError as error:
            at = self._engine.reg_read(x86.UC_X86_REG_RIP)
            raise ProofFailed(self._fault or f"the code faults at {at:#x}: {error}") from error
        if self._fault:
            raise ProofFailed(self._fault)
        run = self._run
        run.stop = self._engine.reg_read(x86.UC_X86_REG_RIP)
        if run.stop not in self._stops:
            raise ProofFailed(f"the code at {start:#x} does not come to an end")
        run.registers = self._read(*_REGISTERS)
        run.stack = bytes(self._engine.mem_read(STACK, STACK_SIZE))
        run.promises = self._promises()
        return run

    def _reset(self, registers: Mapping[str, int], words: Mapping[int, int]) -> None:
        engine = self._engine
        engine.mem_write(STACK, bytes([FILL ^ self._flip & 0xFF]) * STACK_SIZE)
        engine.mem_write(G, bytes(PAGE))
        # For code that reloads g: at fs:[-8], or wherever the linker of C put it, is g.
        engine.mem_write(_FS_BASE - _TLS_SIZE, G.to_bytes(8, "little") * (_TLS_SIZE // 8 + 1))
        engine.mem_write(TOP, RETURN.to_bytes(8, "little"))
        if self._flip not in self._fresh:
            self._fresh[self._flip] = self._first_state()
        engine.context_restore(self._fresh[self._flip])
        self._write(registers)
        for address, value in words.items():
            engine.mem_write(address, (value & _ALL_ONES).to_bytes(8, "little"))

    def _first_state(self) -> UcContext:
        """Every register as a caller leaves it: g, the stack, and junk where a function may rely on nothing."""
        engine = self._engine
        engine.reg_write(x86.UC_X86_REG_FS_BASE, _FS_BASE)
        engine.reg_write(x86.UC_X86_REG_XMM15, 0)
        engine.reg_write(x86.UC_X86_REG_EFLAGS, 2)
        known = {"rsp": TOP, "rbp": TOP + 0x100, "r14": G}
        self._write({name: known.get(name, self._junk(name)) for name in _REGISTERS})
        saved: UcContext = engine.context_save()
        return saved

    def _read(self, *names: str) -> dict[str, int]:
        return {name: self._engine.reg_read(_REGISTERS[name]) for name in names}

    def _write(self, values: Mapping[str, int]) -> None:
        for name, value in values.items():
            self._engine.reg_write(_REGISTERS[name], value & _ALL_ONES)

    def _on_step(self, engine: Uc, address: int, size: int, _data: object) -> None:
        del size
        if address in self._stops:
            self._stops[address] -= 1
            if not self._stops[address]:
                engine.emu_stop()
                return
        if address in self._calls:
            self._call(engine, self._calls[address])
        else:
            self._run.steps.append((address, engine.reg_read(x86.UC_X86_REG_RSP)))

    def _call(self, engine: Uc, callee: str) -> None:
        """Record a call and be the callee: spoil what it may, return."""
        rsp = engine.reg_read(x86.UC_X86_REG_RSP)
        back = int.from_bytes(engine.mem_read(rsp, 8), "little")
        self._run.events.append(
            Call(
                name=callee,
                rsp=rsp + 8,
                rbp=engine.reg_read(x86.UC_X86_REG_RBP),
                r14=engine.reg_read(x86.UC_X86_REG_R14),
                promises=self._promises(),
                return_address=back,
                stack=bytes(engine.mem_read(STACK, STACK_SIZE)),
            )
        )
        spoilt = [name for name in _REGISTERS if name not in _KEPT_BY_CALLS]
        self._write({name: self._junk(f"{name} after {callee}") for name in spoilt})
        engine.reg_write(x86.UC_X86_REG_RSP, rsp + 8)
        engine.reg_write(x86.UC_X86_REG_RIP, back)

    def _junk(self, name: str) -> int:
        return _junk(name) ^ self._flip

    def _promises(self) -> int:
        """Zero while xmm15 is zero and the direction flag is clear, as Go's ABIInternal has them."""
        flags: int = self._engine.reg_read(x86.UC_X86_REG_EFLAGS)
        xmm15: int = self._engine.reg_read(x86.UC_X86_REG_XMM15)
        return xmm15 | flags & _DIRECTION_FLAG

    def _on_syscall(self, engine: Uc, _data: object) -> None:
        read = self._read(*_ARGUMENTS, "rax", "rsp", "rip")
        arguments = tuple(read[name] for name in _ARGUMENTS)
        pointed = tuple(
            bytes(engine.mem_read(each, 16)) if STACK <= each <= STACK + STACK_SIZE - 16 else None for each in arguments
        )
        self._run.events.append(
            SystemCall(read["rax"], arguments, pointed, read["rsp"], bytes(engine.mem_read(STACK, STACK_SIZE)))
        )
        if not self._answers:
            self._fault = f"system call {read['rax']} is made once more than the answers before it call for"
            engine.emu_stop()
            return
        answer = self._answers.pop(0)
        self._write(
            {
                "rax": answer.result,
                # As the instruction leaves it: the return address, whose upper bits are often clear.
                "rcx": read["rip"] + _SYSCALL_SIZE,
                "r11": self._junk("r11 after syscall"),
            }
        )
        if answer.remaining is not None:
            pointer = read["r10"] if read["rax"] == 230 else read["rsi"]
            if pointer:
                data = b"".join(each.to_bytes(8, "little") for each in answer.remaining)
                engine.mem_write(pointer, data)

    def _on_write(self, engine: Uc, access: int, address: int, size: int, value: int, _data: object) -> None:
        del engine, access, value
        self._run.writes.append((address, size))

    def _on_unmapped(self, engine: Uc, access: int, address: int, size: int, value: int, _data: object) -> bool:
        del value
        page = address - address % PAGE
        if access == unicorn.UC_MEM_WRITE_UNMAPPED:
            self._fault = f"the code writes to {address:#x}, which is not its stack"
            return False
        content = self._page(page)
        if content is None:
            self._fault = f"the code reads {size} bytes at {address:#x}, where the program has nothing"
            return False
        engine.mem_map(page, PAGE)
        engine.mem_write(page, content)
        return True

    def _page(self, page: int) -> bytes | None:
        """A page as the kernel would map it, edits included; None where no segment is."""
        content = bytearray(PAGE)
        known = False
        for each in self._image.segments:
            low, high = max(page, each.address), min(page + PAGE, each.address + each.memory_size)
            known = known or low < high
            stop = min(high, each.address + each.file_size)
            if low < stop:
                start = each.offset + low - each.address
                content[low - page : stop - page] = self._image.data[start : start + stop - low]
        for address, data in self._laid:
            low, high = max(page, address), min(page + PAGE, address + len(data))
            if low < high:
                known = True
                content[low - page : high - page] = data[low - address : high - address]
        return bytes(content) if known else None


@cache
def _junk(name: str) -> int:
    """A value that nothing can take for a right one: other in every byte for each register and reason, never small."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") | 1 << 63 | 1 << 31 | 1
