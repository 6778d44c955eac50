"""Strategy ``sleep``: ``time.Sleep`` waits in clock_nanosleep(CLOCK_MONOTONIC) on its own thread.

The stub stands in ``time.Sleep`` behind the test for a positive duration, at the full-frame SP delta, and does what
a blocking system call does: ``entersyscallblock``, the wait, ``exitsyscall`` (runtime/proc.go). An interrupted
wait goes on with the time that remains. Any other refusal falls back to nanosleep.

It costs an OS thread for every sleeping goroutine, and it bypasses a synctest bubble's clock.

While the goroutine waits, the garbage collector reads its frame by the stack map of the call's return address, so
every slot that any map of ``time.Sleep`` calls a pointer is zeroed first, and the timespec is kept off them.
"""

from collections.abc import Iterable, Iterator

from patcher import errors
from patcher.edit.edit import Plan
from patcher.edit.room import Room, replace_run
from patcher.golang.functions import Functions
from patcher.golang.pclntab import FUNCDATA_STACK_OBJECTS, PCDATA_INL_TREE_INDEX, Function
from patcher.golang.stackmap import pointer_slots
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.code import decode
from patcher.isa.amd64.shape import Walk, family, register, slot, take_frame
from patcher.isa.instruction import Instruction
from patcher.strategies.sleep import NAME
from patcher.strategies.sleep.site import ENTER, LEAVE, SLEEP, Site

_MOST_SHIFT = 64
_OUTGOING = 0x10  # leave the words free that callees may use for spilled arguments, if the frame has room


def plan(functions: Functions, room: Room) -> Plan:
    """The edit for this image. Raises ShapeMismatch, or UsesSynctest where the binary links testing/synctest."""
    del room
    if functions.table.find("internal/synctest.Run") or functions.table.has_prefix("testing/synctest."):
        raise errors.UsesSynctest(
            f"{functions.image.path}: links testing/synctest, whose clock strategy sleep would bypass; use netpoll"
        )
    site = locate(functions)
    text, size = _fitting(functions, site)
    edit, code = replace_run(
        functions.image,
        SLEEP,
        "wait in clock_nanosleep on this thread",
        start=site.body,
        end=site.body + size,
        text=text,
    )
    return Plan(NAME, (edit,), (code,), ("clock_nanosleep",))


def shapes(functions: Functions) -> Iterator[tuple[Function, int | None, str]]:
    """The function, where it waits, and what ``locate`` recognised in it, for a person. Raises as ``locate``."""
    site = locate(functions)
    shape = (
        f"arms a timer and parks, no system call: frame of {site.frame:#x} bytes, {site.epilogue - site.body} bytes "
        f"of body, {len(site.pointers)} slots that can hold pointers"
    )
    yield site.function, None, shape


def locate(functions: Functions) -> Site:
    """Recognise ``time.Sleep`` and choose where the timespec goes."""
    if not functions.all(SLEEP):
        raise errors.ShapeMismatch(f"{functions.image.path}: never calls {SLEEP}, so it has none to patch; use netpoll")
    function = functions.one(SLEEP)
    instructions = functions.instructions(function)
    walk = Walk(SLEEP, instructions)
    frame = take_frame(walk)
    walk.test("rax")
    epilogue = walk.jump("jle")
    following = walk.peek()
    if following is None:
        raise errors.ShapeMismatch(f"{SLEEP}: expected a body, found the function's end")
    body = following.address
    _check_epilogue(walk, frame, epilogue)
    _check_jumps(instructions, body, epilogue)
    if functions.table.funcdata(function, FUNCDATA_STACK_OBJECTS) is not None:
        raise errors.ShapeMismatch(f"{SLEEP}: expected no stack objects in its frame, found a table of them")
    pointers = pointer_slots(functions, function, frame)
    return Site(
        function=function,
        frame=frame,
        depth=frame + 8,
        body=body,
        epilogue=epilogue,
        timespec=_timespec(frame, pointers),
        pointers=pointers,
        enter=functions.one(ENTER).start,
        leave=functions.one(LEAVE).start,
    )


def _check_epilogue(walk: Walk, frame: int, epilogue: int) -> None:
    """``add rsp, n; pop rbp; ret``, or before Go 1.21 ``mov rbp, [rsp+n-8]; add rsp, n; ret``."""
    walk.go_to(epilogue, "the epilogue")
    following = walk.peek()
    old_form = following is not None and following.mnemonic == "mov"
    if old_form:
        walk.move("mov rbp, [rsp+n-8]", register("bp"), slot(8, frame))
    added = walk.take("add rsp, n", lambda i: i.mnemonic == "add" and family(i.operands[0]) == "sp")
    if added.immediate(1) != frame + (8 if old_form else 0):
        raise errors.ShapeMismatch(f"{SLEEP}: expected a frame of {frame:#x} to be freed, found {added}")
    if not old_form:
        walk.take("pop rbp", lambda i: i.mnemonic == "pop" and family(i.operands[0]) == "bp")
    walk.take("ret", lambda i: i.mnemonic == "ret")


def _check_jumps(instructions: tuple[Instruction, ...], body: int, epilogue: int) -> None:
    for each in instructions:
        if body <= each.address < epilogue:
            continue
        if each.is_branch and (each.target is None or body <= each.target < epilogue):
            raise errors.ShapeMismatch(f"{SLEEP}: expected no jump into the body from outside, found {each}")


def _timespec(frame: int, pointers: tuple[int, ...]) -> int:
    """Two neighbouring words of the frame that no stack map calls a pointer."""
    words: list[int] = [*range(_OUTGOING, frame - 8, 8), *range(0, min(_OUTGOING, frame - 8), 8)]
    for word in words:
        if word not in pointers and word + 8 not in pointers:
            return word
    raise errors.ShapeMismatch(f"{SLEEP}: expected two neighbouring words without pointers in a frame of {frame:#x}")


def _fitting(functions: Functions, site: Site) -> tuple[str, int]:
    """The assembly and its size, shifted by nops until tracebacks read right.

    A return address in what was an inlined call would be shown as that call's frame (PCDATA_InlTreeIndex).
    """
    text = _assembly(site)
    first = _returns(assemble(text, site.body), site.body)
    for shift in range(_MOST_SHIFT):
        if not _outside_inlined(functions, site, [each + shift for each in first]):
            continue
        shifted = "\n        nop" * shift + text
        code = assemble(shifted, site.body)
        if site.body + len(code) > site.epilogue:
            break
        if _outside_inlined(functions, site, _returns(code, site.body)):
            return shifted, len(code)
    raise errors.ShapeMismatch(
        f"{SLEEP}: expected room at {site.body:#x} with its calls outside inlined code, "
        f"found none in {site.epilogue - site.body} bytes"
    )


def _returns(code: bytes, start: int) -> list[int]:
    """Where the calls in the code return to."""
    return [each.end for each in decode(code, start) if each.mnemonic == "call"]


def _outside_inlined(functions: Functions, site: Site, returns: Iterable[int]) -> bool:
    return all(functions.table.pcdata(site.function, PCDATA_INL_TREE_INDEX, each - 1) == -1 for each in returns)


def _assembly(site: Site) -> str:
    zeroed = "\n".join(f"        mov   [rsp+{each:#x}], rdx" for each in site.pointers)
    return f"""
        mov   [rsp+{site.frame + 16:#x}], rax  # the argument's spill slot, which tracebacks read
        xor   edx, edx
{zeroed}
        mov   ecx, 1000000000
        div   rcx
        mov   [rsp+{site.timespec:#x}], rax
        mov   [rsp+{site.timespec + 8:#x}], rdx
        call  {site.enter:#x}           # entersyscallblock
      again:
        mov   edi, 1                    # CLOCK_MONOTONIC
        xor   esi, esi                  # relative
        lea   rdx, [rsp+{site.timespec:#x}]
        mov   r10, rdx                  # what remains replaces what was asked
        mov   eax, 230                  # clock_nanosleep
        syscall
        test  eax, eax
        je    done
        cmp   eax, -4                   # EINTR
        je    again
      refused:
        lea   rdi, [rsp+{site.timespec:#x}]
        mov   rsi, rdi
        mov   eax, 35                   # nanosleep
        syscall
        cmp   eax, -4
        je    refused
      done:
        call  {site.leave:#x}           # exitsyscall
        jmp   {site.epilogue:#x}"""
