"""The entry stub of strategy ``slack``, whatever the instruction set: where it lies, and the header that leads to it.

A thread's timer slack (50 µs by default) is how late the kernel may wake it; new threads inherit it from their
creator, and a child process keeps it over execve (prctl(2), PR_SET_TIMERSLACK). Set at the entry, it covers every
thread of the program. The stub may lie outside every Go function, since nothing unwinds before the runtime starts:
behind the code, or, where no byte is free there or strip would lose it, in the filler behind the entry function. It
keeps the stack pointer and what the dynamic linker hands over, which the ABI gives a meaning at the entry, and goes on
whatever prctl answers.
"""

import contextlib
import struct

from patcher import errors
from patcher.edit.edit import Code, Edit, Plan
from patcher.edit.room import Room, address_of_header, replace_run
from patcher.golang.functions import Functions
from patcher.golang.image import E_ENTRY
from patcher.isa.instruction import Instruction
from patcher.strategies.slack import NAME

_ENTRY_BYTES = 64


def plan_entry(functions: Functions, room: Room, slack_ns: int, text: str) -> Plan:
    """The entry stub, with this assembly, and the header's new entry.

    Raises NoRoom, or UnsupportedGo for a file without an entry.
    """
    image = functions.image
    if image.shared_library or not image.entry:
        raise errors.UnsupportedGo(
            f"{image.path}: a shared library has no entry of its own: leave the slack out (netpoll works without), "
            "and set the slack in the program that loads it"
        )
    purpose = f"set the timer slack to {slack_ns} ns, go on to the entry"
    stub, code = _place(functions, room, purpose, text)
    entry = Edit(
        function="(ELF header)",
        purpose="enter by the stub",
        address=address_of_header(image, E_ENTRY),
        offset=E_ENTRY,
        old=image.data[E_ENTRY : E_ENTRY + 8],
        new=struct.pack("<Q", stub.address),
        assembly="",
    )
    return Plan(NAME, (stub, entry), (code,), ("prctl",))


def code_at_entry(functions: Functions) -> list[Instruction]:
    """The instructions at the entry, as many as a stub may have or fewer; none where the file has nothing there."""
    image = functions.image
    for each in image.segments:
        if each.executable and each.address <= image.entry < each.address + each.file_size:
            size = min(_ENTRY_BYTES, each.address + each.file_size - image.entry)
            return list(image.isa.decode(image.read(image.entry, size), image.entry))
    return []


def _place(functions: Functions, room: Room, purpose: str, text: str) -> tuple[Edit, Code]:
    """The stub behind the code where strip keeps it, else in the entry's filler, else behind the code all the same."""
    with contextlib.suppress(errors.NoRoom):
        if room.keeps_code:
            return room.place(purpose, text)
    return _behind_the_entry(functions, purpose, text) or room.place(purpose, text)


def _behind_the_entry(functions: Functions, purpose: str, text: str) -> tuple[Edit, Code] | None:
    """The stub in the linker's filler behind Go's entry function, which is one jump; None without one.

    Where Go code begins: a program, and one that the C compiler linked (runtime/rt0_linux_NAME.s, asm_NAME.s).
    """
    isa = functions.image.isa
    for function in (
        each for name in (f"_rt0_{isa.name}_linux", "main", f"_rt0_{isa.name}") for each in functions.all(name)
    ):
        start, size = functions.filler(function)
        if start and len(isa.assemble(text, start)) <= size:
            return replace_run(
                functions.image, function.name, f"{purpose} (in its filler)", start=start, end=start + size, text=text
            )
    return None
