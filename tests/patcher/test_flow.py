"""What a register may hold is a constant only where every way to the call says so: a wait must not pass for a poll."""

import pytest

from patcher.errors import ShapeMismatch
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.code import decode
from patcher.isa.amd64.flow import Amd64Flow
from patcher.isa.amd64.isa import AMD64
from tests.patcher.flows import CALLEE, START, held

ONE_VALUE = {
    "a move": ("mov r8d, 5", "r8", 5),
    "a move of 64 bits": ("mov r8, 5", "r8", 5),
    "xor with itself": ("xor r8d, r8d", "r8", 0),
    "from another register": ("mov edx, 7; mov r8d, edx; xor edx, edx", "r8", 7),
    "past a jump": ("mov r8d, 5; test eax, eax; jne on; mov ecx, 1; on: nop", "r8", 5),
    "both ways alike": ("test eax, eax; jne other; xor r8d, r8d; jmp on; other: xor r8d, r8d; on: nop", "r8", 0),
    "past what writes others": ("xor r8d, r8d; mov rcx, [rsp]; add rcx, 3; push rax; movups [rsp], xmm15", "r8", 0),
}
NOT_ONE = {
    "nobody has set it": ("nop", "r8"),
    "a way on which it is another": ("xor r8d, r8d; test eax, eax; jne on; mov r8d, 5; on: nop", "r8"),
    "xor with another": ("mov ecx, 1; xor r8d, ecx", "r8"),
    "8 bits cleared": ("mov r8d, 5000; xor r8b, r8b", "r8"),
    "16 bits cleared": ("mov r8d, 500000; xor r8w, r8w", "r8"),
    "8 bits moved": ("mov r8d, 5000; mov r8b, 0", "r8"),
    "the second byte": ("xor eax, eax; mov ah, 5", "a"),
    "an exchange": ("xor r8d, r8d; xchg rax, r8", "r8"),
    "an exchange with memory": ("xor r8d, r8d; lock xadd [rsp], r8d", "r8"),
    "a comparison that loads": ("xor eax, eax; cmpxchg [rsp], ecx", "a"),
    "a string": ("xor esi, esi; lodsq", "si"),
    "a condition": ("xor r8d, r8d; test eax, eax; cmovne r8d, ecx", "r8"),
    "a call": ("xor r8d, r8d; call 0x6000", "r8"),
    "a system call": ("xor ecx, ecx; syscall", "c"),
    "what is not known": ("xor eax, eax; xgetbv", "a"),
    "memory": ("mov r8d, [rsp+8]", "r8"),
}


@pytest.mark.parametrize("what", ONE_VALUE)
def test_a_constant_is_followed(what: str) -> None:
    text, register, value = ONE_VALUE[what]
    assert held(AMD64, text, register) == {value}


@pytest.mark.parametrize("what", NOT_ONE)
def test_what_is_no_constant_is_not_taken_for_one(what: str) -> None:
    found = held(AMD64, *NOT_ONE[what])
    assert len(found) > 1 or None in found


def test_a_loop_to_the_beginning_does_not_hide_the_way_in() -> None:
    text = f"call {CALLEE:#x}\nxor r8d, r8d\ntest eax, eax\njne {START:#x}\nret"
    flow = Amd64Flow("made", tuple(decode(assemble(text, START), START)))
    assert None in flow.constants(START, "r8")


def test_a_long_way_is_given_up() -> None:
    chain = "".join(f"; test eax, eax; jne l{each}; l{each}: nop" for each in range(3000))
    assert held(AMD64, f"mov r8d, 0{chain}", "r8") == {None}


@pytest.mark.parametrize("jump", ["jmp rax", "here: loop here"])
def test_a_jump_that_cannot_be_followed_is_refused(jump: str) -> None:
    with pytest.raises(ShapeMismatch, match="expected direct jumps only"):
        held(AMD64, jump, "r8")
