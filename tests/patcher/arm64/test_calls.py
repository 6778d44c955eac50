"""What is found in machine code without decoding it is there; what is assembled decodes to what was meant."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from patcher.isa.arm64.asm import assemble, constant
from patcher.isa.arm64.calls import direct_calls, sets_first
from patcher.isa.arm64.code import decode
from patcher.isa.instruction import Imm, Kind, Reg

START = 0x40_0000
_SIZE = 3 << 18  # bytes: three pieces of the search


def branch(kind: int, at: int, target: int) -> bytes:
    return (kind << 26 | (target - at) // 4 & (1 << 26) - 1).to_bytes(4, "little")


@settings(max_examples=25)
@given(
    places=st.lists(st.integers(0, _SIZE // 4 - 1), max_size=20, unique=True),
    targets=st.lists(st.integers(-(1 << 24), 1 << 24).map(lambda n: START + 4 * n), min_size=1, max_size=4),
    seed=st.integers(),
)
def test_every_direct_call_of_a_target_is_found_and_no_other(places: list[int], targets: list[int], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    code = bytearray(_SIZE)
    expected = set()
    for place in places:
        at, target = START + 4 * place, chance.choice(targets)
        kind = chance.choice([0b100101, 0b000101, 0b100101, 0b010101])  # bl, b, and what is neither
        aim = target + chance.choice([0, 0, 4])
        code[4 * place : 4 * place + 4] = branch(kind, at, aim)
        if kind != 0b010101 and aim in targets:
            expected.add((at, aim))
    data = b"\0" * 7 + bytes(code)  # where the segment begins in the file is its own matter
    assert set(direct_calls(data, 7, len(data), START, frozenset(targets))) == expected


def test_the_ends_of_a_segment_are_searched_too() -> None:
    target = START + 0x100
    code = branch(0b100101, START, target) + b"\0" * 16 + branch(0b000101, START + 20, target) + b"\x94\0"
    assert list(direct_calls(code, 0, len(code), START, frozenset({target}))) == [(START, target), (START + 20, target)]
    assert list(direct_calls(code, 0, len(code), START, frozenset())) == []


@given(st.integers(0, (1 << 64) - 1) | st.integers(0, 15).map(lambda n: 0xFFFF << n))
def test_a_constant_is_set_whole(value: int) -> None:
    code = list(decode(assemble(constant("x7", value), START), START))
    held = 0
    for each in code:
        assert each.operands[0] == Reg("x7")
        held |= each.immediate(1)
    assert held == value
    assert len(code) == max(1, sum(value >> shift & 0xFFFF != 0 for shift in range(0, 64, 16)))


@given(st.integers(0, 0xFFFF))
def test_a_number_is_found_where_it_is_set(value: int) -> None:
    for register, code in zip(("x8", "x0"), sets_first(value), strict=True):
        (instruction,) = decode(code, START)
        assert (instruction.mnemonic, instruction.operands) == ("mov", (Reg(register), Imm(value)))


def test_instructions_are_of_their_kinds() -> None:
    kinds = {
        "nop": Kind.NOP, "b 0x400100": Kind.JUMP, "br x1": Kind.JUMP, "b.eq 0x400100": Kind.CONDITIONAL_JUMP,
        "cbz x0, 0x400100": Kind.CONDITIONAL_JUMP, "tbnz x0, #63, 0x400100": Kind.CONDITIONAL_JUMP,
        "bl 0x400100": Kind.CALL, "blr x1": Kind.CALL, "ret": Kind.RETURN, "svc #0": Kind.SYSTEM_CALL,
        "brk #0": Kind.TRAP, "mov x29, x30": Kind.OTHER,
    }  # fmt: skip
    for text, kind in kinds.items():
        (found,) = decode(assemble(text, START), START)
        assert (found.kind, found.target) == (kind, 0x400100 if "0x400100" in text else None)
    assert found.operands == (Reg("x29"), Reg("x30"))
    assert found.text == "mov x29, x30"
