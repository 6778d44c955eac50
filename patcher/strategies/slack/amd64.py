"""Strategy ``slack``: the ELF entry sets the timer slack before the runtime starts.

A thread's timer slack (50 µs by default) is how late the kernel may wake it; new threads inherit it from their
creator, and a child process keeps it over execve (prctl(2), PR_SET_TIMERSLACK). Set at the entry, it covers every
thread of the program. The stub may lie outside every Go function, since nothing unwinds before the runtime starts:
behind the code, or, where no byte is free there or strip would lose it, in the filler behind the entry function. It
keeps rsp and rdx, which the ABI gives a meaning at the entry, and goes on whatever prctl answers.
"""

import contextlib
import struct

from patcher import errors
from patcher.edit.edit import Code, Edit, Plan
from patcher.edit.room import Room, address_of_header, replace_run
from patcher.golang.functions import Functions
from patcher.golang.image import E_ENTRY
from patcher.isa.amd64.abi import SYSTEM_CALLS
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.code import decode
from patcher.strategies.slack import NAME, PR_SET_TIMERSLACK

# Where Go code begins: a program, and one that the C compiler linked (runtime/rt0_linux_amd64.s, asm_amd64.s).
_ENTRIES = ("_rt0_amd64_linux", "main", "_rt0_amd64")
_ENTRY_BYTES = 64


def plan(functions: Functions, room: Room, slack_ns: int) -> Plan:
    """The entry stub and the header's new entry. Raises NoRoom, or UnsupportedGo for a file without an entry."""
    image = functions.image
    if image.shared_library or not image.entry:
        raise errors.UnsupportedGo(
            f"{image.path}: a shared library has no entry of its own: leave the slack out (netpoll works without), "
            "and set the slack in the program that loads it"
        )
    text = f"""
        mov   eax, 157                  # prctl
        mov   edi, {PR_SET_TIMERSLACK}
        mov   {"esi" if slack_ns < 1 << 32 else "rsi"}, {slack_ns:#x}
        syscall
        jmp   {image.entry:#x}"""
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


def _place(functions: Functions, room: Room, purpose: str, text: str) -> tuple[Edit, Code]:
    """The stub behind the code where strip keeps it, else in the entry's filler, else behind the code all the same."""
    with contextlib.suppress(errors.NoRoom):
        if room.keeps_code:
            return room.place(purpose, text)
    return _behind_the_entry(functions, purpose, text) or room.place(purpose, text)


def _behind_the_entry(functions: Functions, purpose: str, text: str) -> tuple[Edit, Code] | None:
    """The stub in the linker's filler behind Go's entry function, which is one jump; None without one."""
    for function in (each for name in _ENTRIES for each in functions.all(name)):
        start, size = functions.filler(function)
        if start and len(assemble(text, start)) <= size:
            return replace_run(
                functions.image, function.name, f"{purpose} (in its filler)", start=start, end=start + size, text=text
            )
    return None


def slack_set(functions: Functions) -> int | None:
    """The slack that an entry stub of ours sets; None where the entry is the linker's."""
    image = functions.image
    if not any(s.executable and s.address <= image.entry < s.address + s.file_size for s in image.segments):
        return None
    size = min(
        _ENTRY_BYTES,
        *(
            s.address + s.file_size - image.entry
            for s in image.segments
            if s.executable and s.address <= image.entry < s.address + s.file_size
        ),
        _ENTRY_BYTES,
    )
    code = list(decode(image.read(image.entry, size), image.entry))[:5]
    shape = [each.mnemonic for each in code]
    if len(code) < 5 or [each.replace("movabs", "mov") for each in shape] != ["mov", "mov", "mov", "syscall", "jmp"]:
        return None
    try:
        number, option, slack = (each.immediate(1) for each in code[:3])
    except errors.ShapeMismatch:
        return None
    return slack if (number, option) == (SYSTEM_CALLS["prctl"], PR_SET_TIMERSLACK) else None
