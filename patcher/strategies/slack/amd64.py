"""The entry stub of strategy ``slack`` for x86-64: it keeps rsp and rdx."""

from patcher import errors
from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.golang.functions import Functions
from patcher.isa.amd64.abi import SYSTEM_CALLS
from patcher.strategies.slack import PR_SET_TIMERSLACK
from patcher.strategies.slack.entry import code_at_entry, plan_entry


def plan(functions: Functions, room: Room, slack_ns: int) -> Plan:
    """As ``plan_entry``."""
    text = f"""
        mov   eax, 157                  # prctl
        mov   edi, {PR_SET_TIMERSLACK}
        mov   {"esi" if slack_ns < 1 << 32 else "rsi"}, {slack_ns:#x}
        syscall
        jmp   {functions.image.entry:#x}"""
    return plan_entry(functions, room, slack_ns, text)


def slack_set(functions: Functions) -> int | None:
    """The slack that an entry stub of ours sets; None where the entry is the linker's."""
    code = code_at_entry(functions)[:5]
    shape = [each.mnemonic for each in code]
    if [each.replace("movabs", "mov") for each in shape] != ["mov", "mov", "mov", "syscall", "jmp"]:
        return None
    try:
        number, option, slack = (each.immediate(1) for each in code[:3])
    except errors.ShapeMismatch:
        return None
    return slack if (number, option) == (SYSTEM_CALLS["prctl"], PR_SET_TIMERSLACK) else None
