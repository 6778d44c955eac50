"""What the flow of a few instructions says, of any instruction set."""

from patcher.isa.isa import Isa

START, CALLEE = 0x1000, 0x5000
_CALLS = {"amd64": "call", "arm64": "bl"}


def held(isa: Isa, text: str, register: str) -> frozenset[int | None]:
    """What a register, or an argument on the stack, may hold where ``CALLEE`` is called behind the text."""
    whole = f"{text}; {_CALLS[isa.name]} {CALLEE:#x}; ret".replace(";", "\n")
    instructions = tuple(isa.decode(isa.assemble(whole, START), START))
    call = next(each.address for each in instructions if each.target == CALLEE)
    return isa.flow("made", instructions).constants(call, register)
