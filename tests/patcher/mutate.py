"""Real binaries changed on purpose: an instruction, or bytes of a table."""

import re
from pathlib import Path

import pytest

import patcher
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.isa.amd64.asm import assemble
from patcher.isa.instruction import Instruction, Mem


def found_in(functions: Functions, name: str, text: str) -> Instruction:
    """The first instruction of a function whose text fits; for usleep, of the one that is no wrapper."""
    for function in functions.all(name):
        for each in functions.instructions(function):
            if re.fullmatch(text.replace("{start}", hex(function.start)), each.text):
                return each
    raise AssertionError(f"{name} has no instruction {text}")


class _Addresses:
    """By the text of an instruction: where the first that fits stands."""

    def __init__(self, functions: Functions, name: str) -> None:
        self._functions, self._name = functions, name

    def __getitem__(self, text: str) -> str:
        return hex(found_in(self._functions, self._name, text).address)


def put(program: Path, name: str, text: str, replacement: str) -> Instruction:
    """Put another instruction in the place of the first that fits, nops behind it if it is shorter.

    In ``replacement``, ``{start}``, ``{middle}`` and ``{end}`` are the function's; ``{here}``, ``{next}``, ``{target}``
    and ``{slot}`` the old instruction's place, the next one's, where it goes, what it adds to a register.
    ``{to[text]}`` is where the first instruction stands that fits a text.
    """
    functions = Functions(read_image(program))
    old = found_in(functions, name, text)
    function = functions.table.at(old.address)
    assert function is not None
    landmarks = {
        "start": function.start,
        "middle": (function.start + function.end) // 2,
        "end": function.end,
        "next": old.end,
        "here": old.address,
        "target": old.target or 0,
        "slot": next((each.displacement for each in old.operands if isinstance(each, Mem)), 0),
    }
    named = {key: hex(value) for key, value in landmarks.items()}
    new = assemble(replacement.format(**named, to=_Addresses(functions, name)), old.address)
    assert len(new) <= old.size, f"{replacement} needs {len(new)} bytes, {old} has {old.size}"
    write(program, functions.image.offset_of(old.address), new.ljust(old.size, b"\x90"))
    return old


def write(program: Path, offset: int, data: bytes) -> None:
    content = bytearray(program.read_bytes())
    assert content[offset : offset + len(data)] != data
    content[offset : offset + len(data)] = data
    program.write_bytes(content)


def refusal(program: Path, strategy: str, kind: type[Exception] = ShapeMismatch) -> str:
    """What patch says; it must have written nothing."""
    before = sorted(program.parent.iterdir())
    with pytest.raises(kind) as refused:
        patcher.patch(program, program.with_name("out"), strategy, accept_thread_cost=True)
    assert sorted(program.parent.iterdir()) == before
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{program}: ")
    return str(refused.value)
