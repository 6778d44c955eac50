"""Strategy ``usleep``: ``runtime.usleep`` waits in clock_nanosleep(CLOCK_MONOTONIC) instead of nanosleep.

``runtime.usleep`` (runtime/sys_linux_amd64.s) is the only user of nanosleep: sysmon and the runtime's back-off
loops call it, ``time.Sleep`` never does. So this strategy cannot change ``time.Sleep``; it is here to show that.

Its body of 47 bytes between prologue and epilogue does not hold both system calls (58 at the least). The one
``syscall`` instruction stays inside it, at the function's own stack depth, so that profiles and crash dumps of a
waiting thread show ``runtime.usleep``; what sets it up and what judges its answer stand in the padding behind the
code, reached and left by ``jmp``: a dozen instructions without a call.
"""

from collections.abc import Iterator

from patcher import errors
from patcher.edit.edit import Plan
from patcher.edit.room import Room, replace_run
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.golang.syscalls import USLEEP
from patcher.isa.amd64.code import decode
from patcher.isa.amd64.shape import Walk, constant, family, register, slot, take_frame
from patcher.isa.instruction import Imm
from patcher.strategies.usleep import NAME
from patcher.strategies.usleep.site import Site

NANOSLEEP = 35
_JUMP = 5  # bytes of the jump before the syscall: the padding is too far for a short one


def plan(functions: Functions, room: Room) -> Plan:
    """A jump in place of the system call, and the two calls in the padding. Raises ShapeMismatch or NoRoom."""
    site = locate(functions)
    wait = site.start + _JUMP
    beside, beside_code = room.place(
        "clock_nanosleep first, nanosleep where that is refused",
        f"""
        mov   edi, 1                    # CLOCK_MONOTONIC
        xor   esi, esi                  # relative
        mov   rdx, rsp                  # the timespec
        xor   r10d, r10d                # EINTR ends the sleep early, as in stock: no remaining time is asked for
        mov   eax, 230                  # clock_nanosleep
        jmp   {wait:#x}
      answered:
        test  eax, eax
        je    back
        cmp   eax, -4                   # EINTR
        je    back
        cmp   rdi, rsp                  # that was nanosleep already
        je    back
        mov   rdi, rsp                  # esi is 0 still
        mov   eax, 35                   # nanosleep, as stock
        jmp   {wait:#x}
      back:
        jmp   {site.end:#x}""",
    )
    answered = next(each.end for each in decode(beside.new, beside.address) if each.mnemonic == "jmp")
    inside, inside_code = replace_run(
        functions.image,
        USLEEP,
        "wait as the code in the padding says",
        start=site.start,
        end=site.end,
        text=f"""
        jmp   {beside.address:#x}
        syscall
        jmp   {answered:#x}""",
    )
    return Plan(NAME, (inside, beside), (inside_code, beside_code), ("clock_nanosleep",))


def shapes(functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
    """The function, where it waits, and what ``locate`` recognised in it, for a person. Raises as ``locate``."""
    site = locate(functions)
    call = site.end - 2
    yield site.function, call, f"nanosleep by its own syscall instruction at {call:#x}, timespec at [rsp]"


def locate(functions: Functions) -> Site:
    """The one function of that name that is no wrapper, recognised by its operands."""
    candidates = [
        each
        for each in functions.all(USLEEP)
        if any(i.mnemonic in ("syscall", "div") for i in functions.instructions(each))
    ]
    if len(candidates) != 1:
        raise errors.ShapeMismatch(
            f"{functions.image.path}: expected one {USLEEP} with a system call, found {len(candidates)}"
        )
    function = candidates[0]
    walk = Walk(USLEEP, functions.instructions(function))
    frame = take_frame(walk)
    walk.move("mov edx, 0", register("d"), constant(0))
    walk.move("mov eax, [microseconds]", register("a"), slot(4, frame + 16))
    walk.move("mov ecx, 1000000", register("c"), constant(1_000_000))
    walk.take("div ecx", lambda i: i.mnemonic == "div" and family(i.operands[0]) == "c")
    walk.move("mov [rsp], rax", slot(8, 0), register("a"))
    walk.move("mov eax, 1000", register("a"), constant(1000))
    walk.take("mul edx", lambda i: i.mnemonic == "mul" and family(i.operands[0]) == "d")
    walk.move("mov [rsp+8], rax", slot(8, 8), register("a"))
    start = walk.move("mov rdi, rsp", register("di"), register("sp")).address
    walk.move("mov esi, 0", register("si"), constant(0))
    walk.move(f"mov eax, {NANOSLEEP}", register("a"), lambda o: o == Imm(NANOSLEEP))
    end = walk.take("syscall", lambda i: i.mnemonic == "syscall").end
    for each in walk.instructions:
        if each.is_branch:
            raise errors.ShapeMismatch(f"{USLEEP}: expected no jump, found {each}")
    return Site(function, frame + 8, start, end)


def leaves(functions: Functions, function: Function) -> bool:
    """Whether a ``usleep`` jumps out of itself, as a patched one does."""
    instructions = functions.instructions(function)
    jumps = (each.target for each in instructions if each.mnemonic == "jmp")
    outside = any(target is not None and not function.start <= target < function.end for target in jumps)
    return outside and any(each.mnemonic == "div" for each in instructions)
