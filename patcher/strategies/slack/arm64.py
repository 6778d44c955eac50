"""The entry stub of strategy ``slack`` for AArch64: it keeps sp and x0."""

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.golang.functions import Functions
from patcher.isa.arm64.abi import SYSTEM_CALLS
from patcher.isa.arm64.asm import constant
from patcher.isa.instruction import Imm, Reg
from patcher.strategies.slack import PR_SET_TIMERSLACK
from patcher.strategies.slack.entry import code_at_entry, plan_entry

_PRCTL = SYSTEM_CALLS["prctl"]


def plan(functions: Functions, room: Room, slack_ns: int) -> Plan:
    """As ``plan_entry``."""
    text = f"""
        mov   x9, x0
        mov   x0, #{PR_SET_TIMERSLACK}
{constant("x1", slack_ns)}
        mov   x8, #{_PRCTL}             // prctl
        svc   #0
        mov   x0, x9
        b     {functions.image.entry:#x}"""
    return plan_entry(functions, room, slack_ns, text)


def slack_set(functions: Functions) -> int | None:
    """The slack that an entry stub of ours sets; None where the entry is the linker's."""
    match [(each.mnemonic, *each.operands) for each in code_at_entry(functions)]:
        case [
            ("mov", Reg("x9"), Reg("x0")),
            ("mov", Reg("x0"), Imm(option)),
            ("mov", Reg("x1"), Imm(slack)),
            *rest,
        ] if option == PR_SET_TIMERSLACK:
            while rest and isinstance(part := rest[0][-1], Imm) and rest[0] == ("movk", Reg("x1"), part):
                slack |= part.value
                del rest[0]
            if rest[:3] == [("mov", Reg("x8"), Imm(_PRCTL)), ("svc", Imm(0)), ("mov", Reg("x0"), Reg("x9"))]:
                return slack
    return None
