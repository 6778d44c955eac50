"""Strategy ``slack``: the ELF entry sets the timer slack before the runtime starts.

A thread's timer slack (50 µs by default) is how late the kernel may wake it; new threads inherit it from their
creator, and a child process keeps it over execve (prctl(2), PR_SET_TIMERSLACK). Set at the entry, it covers every
thread of the program. The stub may lie outside every Go function, since nothing unwinds before the runtime starts:
behind the code, or, where no byte is free there, in the filler behind the entry function. It
keeps rsp and rdx, which the ABI gives a meaning at the entry, and goes on whatever prctl answers.
"""

import struct

from patcher import errors
from patcher.asm import assemble
from patcher.edit import Code, Edit, Plan
from patcher.functions import Functions
from patcher.image import E_ENTRY
from patcher.room import Room, address_of_header, replace_run

NAME = "slack"
PR_SET_TIMERSLACK = 29
# Where Go code begins: a program, and one that the C compiler linked (runtime/rt0_linux_amd64.s, asm_amd64.s).
_ENTRIES = ("_rt0_amd64_linux", "main", "_rt0_amd64")
MOST_NS = (1 << 63) - 1  # prctl takes an unsigned long; a duration is kept as a signed one


def plan(functions: Functions, room: Room, slack_ns: int) -> Plan:
    """The entry stub and the header's new entry. Raises NoRoom, or UnsupportedGo for a file without an entry."""
    image = functions.image
    if image.shared_library or not image.entry:
        raise errors.UnsupportedGo(
            f"{image.path}: a shared library has no entry of its own; set the slack in the program that loads it"
        )
    text = f"""
        mov   eax, 157                  # prctl
        mov   edi, {PR_SET_TIMERSLACK}
        mov   {"esi" if slack_ns < 1 << 32 else "rsi"}, {slack_ns:#x}
        syscall
        jmp   {image.entry:#x}"""
    purpose = f"set the timer slack to {slack_ns} ns, go on to the entry"
    try:
        stub, code = room.place(purpose, text)
    except errors.NoRoom as error:
        stub, code = _behind_the_entry(functions, purpose, text, error)
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


def _behind_the_entry(functions: Functions, purpose: str, text: str, no_room: errors.NoRoom) -> tuple[Edit, Code]:
    """The stub in the linker's filler behind Go's entry function, which is one jump. Raises ``no_room`` without one."""
    for function in (each for name in _ENTRIES for each in functions.all(name)):
        start, size = functions.filler(function)
        if start and len(assemble(text, start)) <= size:
            return replace_run(
                functions.image, function.name, f"{purpose} (in its filler)", start=start, end=start + size, text=text
            )
    raise no_room
