"""A bare machine that runs a binary's own bytes in Unicorn, on the processor of the image's instruction set.

It maps the image's pages as they are asked for, with edits laid over them, answers system calls from a script, and
records what the code did. Nothing of the binary is ever run on the real processor.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import unicorn
from unicorn.unicorn_py3.unicorn import UcContext, UcError

from patcher.edit.edit import Edit
from patcher.errors import ProofFailed
from patcher.golang.image import GoImage
from patcher.isa.engine import Engine
from patcher.proof.events import STACK, STACK_SIZE, Answer, Call, Run, SystemCall

TOP = STACK + STACK_SIZE - 0x2000  # the stack pointer at a function's entry: the caller's frame lies above
FRAME = TOP + 0x100  # the frame pointer there
G = 0x7100_0000_0000  # a runtime.g whose stack bounds never ask for more stack
_POINTER = 8
RETURN = 0x7200_0000_0000  # where a function's return address points
FILL = 0xA5  # what memory holds that nobody has written
_MOST_INSTRUCTIONS = 5_000
_ALL_ONES = (1 << 64) - 1


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
        self._image, self._abi, self._page_size = image, image.isa.abi, image.isa.page
        self._processor = image.isa.processor()
        self._numbers = self._processor.numbers
        self._stack_pointer = self._numbers[self._abi.stack_pointer]
        self._all = tuple(self._numbers.values())
        asked = (self._abi.system_number, self._abi.stack_pointer, *self._abi.system_arguments)
        self._asked = tuple(map(self._numbers.__getitem__, asked))
        self._laid = [(each.address, each.new) for each in edits] + list((memory or {}).items())
        self._engine = self._processor.engine()
        for base, size in ((STACK, STACK_SIZE), (G, self._page_size), (RETURN, self._page_size)):
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
        self._processor.on_system_call(self._engine, self._on_system_call)

    def run(
        self,
        start: int,
        registers: Mapping[str, int],
        answers: Sequence[Answer],
        stops: Mapping[int, int] | None = None,
        calls: Mapping[int, str] | None = None,
        words: Mapping[int, int] | None = None,
        complement: bool = False,
        status: int | None = None,
    ) -> Run:
        """Run from ``start`` until the function returns or an address in ``stops`` is reached for the n-th time.

        ``stops`` maps addresses to n; ``words`` are laid on the stack first. With ``complement`` registers and
        bytes that were never written hold the complement: code that depends on one of them takes another way.
        ``status`` is what an earlier run had left for conditional jumps.

        ``calls`` maps entries of Go functions to names: a call of one is recorded, spoils every register that a
        callee may spoil, and returns. Raises ProofFailed where the code leaves known memory, runs on for too
        long, or makes a system call that the script has no answer for.
        """
        self._run, self._answers, self._fault = Run(), list(answers), None
        self._flip = _ALL_ONES if complement else 0
        self._stops, self._calls = {RETURN: 1, **(stops or {})}, calls or {}
        self._reset(registers, words or {})
        if status is not None:
            self._processor.set_status(self._engine, status)
        try:
            self._engine.emu_start(start, 0, count=_MOST_INSTRUCTIONS)
        except UcError as error:
            at = self._read(self._abi.program_counter)
            raise ProofFailed(self._fault or f"the code faults at {at:#x}: {error}") from error
        if self._fault:
            raise ProofFailed(self._fault)
        run = self._run
        run.stop = self._read(self._abi.program_counter)
        if run.stop not in self._stops:
            raise ProofFailed(f"the code at {start:#x} does not come to an end")
        run.registers = dict(zip(self._numbers, self._engine.words(self._all), strict=True))
        run.stack = bytes(self._engine.mem_read(STACK, STACK_SIZE))
        run.status = self._processor.status(self._engine)
        run.broken = self._processor.broken(self._engine)
        return run

    def _reset(self, registers: Mapping[str, int], words: Mapping[int, int]) -> None:
        engine = self._engine
        engine.mem_write(STACK, bytes([FILL ^ self._flip & 0xFF]) * STACK_SIZE)
        engine.mem_write(G, bytes(self._page_size))
        if self._flip not in self._fresh:
            self._fresh[self._flip] = self._first_state()
        engine.context_restore(self._fresh[self._flip])
        self._processor.called(engine, TOP, RETURN)
        self._write(registers)
        for address, value in words.items():
            engine.mem_write(address, (value & _ALL_ONES).to_bytes(8, "little"))

    def _first_state(self) -> UcContext:
        """Every register as a caller leaves it: g, the stack, and junk where a function may rely on nothing."""
        abi = self._abi
        self._processor.begin(self._engine)
        known = {abi.stack_pointer: TOP, abi.frame_pointer: FRAME, abi.goroutine: G}
        self._write({name: known.get(name, self._junk(name)) for name in self._numbers})
        saved: UcContext = self._engine.context_save()
        return saved

    def _read(self, name: str) -> int:
        return self._engine.word(self._numbers[name])

    def _write(self, values: Mapping[str, int]) -> None:
        for name, value in values.items():
            self._engine.reg_write(self._numbers[name], value & _ALL_ONES)

    def _on_step(self, engine: Engine, address: int, size: int, _data: object) -> None:
        del size
        if address in self._stops:
            self._stops[address] -= 1
            if not self._stops[address]:
                engine.emu_stop()
                return
        if address in self._calls:
            self._call(engine, self._calls[address])
        else:
            self._run.steps.append((address, engine.word(self._stack_pointer)))

    def _call(self, engine: Engine, callee: str) -> None:
        """Record a call and be the callee: spoil what it may, return."""
        abi = self._abi
        before, back = self._processor.caller(engine)
        self._run.events.append(
            Call(
                name=callee,
                stack_pointer=before,
                frame_pointer=self._read(abi.frame_pointer),
                goroutine=self._read(abi.goroutine),
                broken=self._processor.broken(engine),
                return_address=back,
                stack=bytes(engine.mem_read(STACK, STACK_SIZE)),
            )
        )
        spoilt = [name for name in self._numbers if name not in abi.kept and name != abi.program_counter]
        self._write({name: self._junk(f"{name} after {callee}") for name in spoilt})
        self._write({abi.stack_pointer: before, abi.program_counter: back})

    def _junk(self, name: str) -> int:
        return _junk(name) ^ self._flip

    def _on_system_call(self) -> None:
        engine, abi = self._engine, self._abi
        number, stack_pointer, *arguments = engine.words(self._asked)
        pointed = tuple(
            bytes(engine.mem_read(each, 16)) if STACK <= each <= STACK + STACK_SIZE - 16 else None for each in arguments
        )
        stack = bytes(engine.mem_read(STACK, STACK_SIZE))
        self._run.events.append(SystemCall(number, tuple(arguments), pointed, stack_pointer, stack))
        if not self._answers:
            self._fault = f"system call {number} is made once more than the answers before it call for"
            engine.emu_stop()
            return
        answer = self._answers.pop(0)
        self._write(self._processor.spoilt(engine, self._junk) | {abi.system_result: answer.result})
        if answer.remaining is not None:
            pointer = arguments[3 if number == self._image.isa.system_calls["clock_nanosleep"] else 1]
            if pointer:
                data = b"".join(each.to_bytes(8, "little") for each in answer.remaining)
                engine.mem_write(pointer, data)

    def _on_write(self, engine: Engine, access: int, address: int, size: int, value: int, _data: object) -> None:
        del engine, access, value
        self._run.writes.append((address, size))
        self._run.writers.append(self._run.steps[-1][0])

    def _on_unmapped(self, engine: Engine, access: int, address: int, size: int, value: int, _data: object) -> bool:
        del value
        page = address - address % self._page_size
        if access == unicorn.UC_MEM_WRITE_UNMAPPED:
            self._fault = f"the code writes to {address:#x}, which is not its stack"
            return False
        content = self._thread_local(page) or self._page(page)
        if content is None:
            self._fault = f"the code reads {size} bytes at {address:#x}, where the program has nothing"
            return False
        engine.mem_map(page, self._page_size)
        engine.mem_write(page, content)
        return True

    def _thread_local(self, page: int) -> bytes | None:
        """A page of the thread's own data: g in every word, for code that reloads it; None for any other page.

        Where exactly it is, the program says as it runs.
        """
        low, high = self._processor.thread_local(self._image.thread_local)
        known = low - self._page_size < page <= high
        return G.to_bytes(_POINTER, "little") * (self._page_size // _POINTER) if known else None

    def _page(self, page: int) -> bytes | None:
        """A page as the kernel would map it, edits included; None where no segment is."""
        content = bytearray(self._page_size)
        known = False
        for each in self._image.segments:
            low, high = max(page, each.address), min(page + self._page_size, each.address + each.memory_size)
            known = known or low < high
            stop = min(high, each.address + each.file_size)
            if low < stop:
                start = each.offset + low - each.address
                content[low - page : stop - page] = self._image.data[start : start + stop - low]
        for address, data in self._laid:
            low, high = max(page, address), min(page + self._page_size, address + len(data))
            if low < high:
                known = True
                content[low - page : high - page] = data[low - address : high - address]
        return bytes(content) if known else None


@cache
def _junk(name: str) -> int:
    """A value that nothing can take for a right one: other in every byte for each register and reason, never small."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") | 1 << 63 | 1 << 31 | 1
