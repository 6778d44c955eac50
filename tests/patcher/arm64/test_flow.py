"""What a register or an argument on the stack may hold is a constant only where every way to the call says so."""

import pytest

from patcher.errors import ShapeMismatch
from patcher.isa.arm64.isa import ARM64
from tests.patcher.flows import held

ON_STACK = "[sp+8]"

ONE_VALUE = {
    "a move": ("mov x5, #5", "x5", 5),
    "a move of 32 bits": ("mov w5, #-1", "x5", 0xFFFFFFFF),
    "the zero register": ("mov x5, xzr", "x5", 0),
    "from another register": ("mov x6, #7; mov x5, x6; mov x6, #8", "x5", 7),
    "past a jump": ("mov x5, #5; cbz x0, on; mov x1, #1; on: nop", "x5", 5),
    "past what writes others": ("mov x5, #5; ldp x1, x2, [sp, #16]; str x3, [x4], #8; subs x6, x6, #1", "x5", 5),
    "past a system call": ("mov x5, #5; svc #0", "x5", 5),
    "a store": ("mov x0, #22; str x0, [sp, #8]", ON_STACK, 22),
    "the first of a pair": ("mov x0, #22; stp x0, x1, [sp, #8]", ON_STACK, 22),
    "a zero": ("stp xzr, x1, [sp, #8]", ON_STACK, 0),
    "past stores to other slots": ("mov x0, #22; str x0, [sp, #8]; str x1, [sp, #16]; str w1, [sp, #4]", ON_STACK, 22),
}
NOT_ONE = {
    "nobody has set it": ("nop", "x5"),
    "a way on which it is another": ("mov x5, #0; cbz x0, on; mov x5, #5; on: nop", "x5"),
    "a part of it": ("mov x5, #5; movk x5, #1, lsl #16", "x5"),
    "memory": ("mov x5, #5; ldr x5, [sp, #8]", "x5"),
    "the second of a pair that is loaded": ("mov x5, #5; ldp x4, x5, [sp, #16]", "x5"),
    "an address that is counted up": ("mov x5, #5; ldr x1, [x5], #8", "x5"),
    "an address that is counted before": ("mov x5, #5; str x1, [x5, #8]!", "x5"),
    "a call": ("mov x5, #5; bl 0x6000", "x5"),
    "a system call's result": ("mov x0, #5; svc #0", "x0"),
    "what is not known": ("mov x5, #5; fcvtzs x5, d0", "x5"),
    "half a slot": ("mov x0, #22; str x0, [sp, #8]; str w1, [sp, #12]", ON_STACK),
    "a slot across two": ("mov x0, #22; str x0, [sp, #8]; stur x1, [sp, #4]", ON_STACK),
    "a slot behind a call": ("mov x0, #22; str x0, [sp, #8]; bl 0x6000", ON_STACK),
    "the second of a pair": ("mov x0, #22; str x0, [sp, #8]; stp x2, x1, [sp]", ON_STACK),
    "a store of 32 bits": ("mov w0, #22; str w0, [sp, #8]", ON_STACK),
}


@pytest.mark.parametrize("what", ONE_VALUE)
def test_a_constant_is_followed(what: str) -> None:
    text, register, value = ONE_VALUE[what]
    assert held(ARM64, text, register) == {value}


@pytest.mark.parametrize("what", NOT_ONE)
def test_what_is_no_constant_is_not_taken_for_one(what: str) -> None:
    found = held(ARM64, *NOT_ONE[what])
    assert len(found) > 1 or None in found


@pytest.mark.parametrize("jump", ["br x0", "eret"])
def test_a_jump_that_cannot_be_followed_is_refused(jump: str) -> None:
    with pytest.raises(ShapeMismatch, match="expected direct jumps only"):
        held(ARM64, jump, "x5")
