"""Tables that contradict the code or are of an unknown format are refused, and so is a runtime that needs no patch."""

import re
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from patcher.errors import AlreadyPrecise, MalformedBinary, ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from tests.patcher.mutate import refusal, write
from tests.patcher.programs import build_precise
from tests.soon import soon

NETPOLL = "runtime.netpoll"


def test_a_symbol_that_contradicts_the_function_table_is_refused(program: Path) -> None:
    functions = Functions(read_image(program))
    start = functions.one(NETPOLL).start
    symbol = program.read_bytes().find(start.to_bytes(8, "little"), section_offset(functions, ".symtab"))
    write(program, symbol, (start + 16).to_bytes(8, "little"))
    expected = f"runtime.netpoll is at {start + 16:#x} by the symbol table and at {start:#x} by pclntab"
    assert expected in refusal(program, "netpoll", MalformedBinary)


def section_offset(functions: Functions, name: str) -> int:
    section = functions.image.section(name)
    assert section is not None
    return section.offset


@pytest.mark.parametrize("byte", [0, 1, 2, 4, 5])  # the fourth moves a limit within an instruction
def test_a_function_table_that_misstates_the_stack_is_refused(program: Path, byte: int) -> None:
    """Each byte that says how deep the stack is in netpoll up to its body: value deltas and PC deltas in turn."""
    functions = Functions(read_image(program))
    table, record = functions.table, functions.one(NETPOLL).record
    offset = table._pctab + table._u32(record + 16) + byte
    write(program, offset, bytes([functions.image.data[offset] ^ 2]))
    assert re.search("pclntab states .*the unwinder would be misled", refusal(program, "netpoll", ProofFailed))


@pytest.mark.parametrize("field", ["magic", "padding", "quantum", "pointer size"])
def test_a_function_table_of_unknown_format_is_refused(program: Path, field: str) -> None:
    """A later release may lay it out otherwise and says so in these bytes (runtime/symtab.go, pcHeader)."""
    functions = Functions(read_image(program))
    offset = functions.image.offset_of(functions.table.address)
    at = offset + {"magic": 0, "padding": 4, "quantum": 6, "pointer size": 7}[field]
    write(program, at, bytes([functions.image.data[at] + 1]))
    assert "pclntab" in refusal(program, "netpoll", NanonapError)


@pytest.mark.parametrize("keeps_milliseconds", soon([True, False], 0))
def test_a_runtime_that_is_precise_by_itself_is_refused_as_such(tmp_path: Path, keeps_milliseconds: bool) -> None:
    precise = build_precise(tmp_path / "precise", keeps_milliseconds=keeps_milliseconds)
    assert "EpollPwait2 and is precise by itself" in refusal(precise, "netpoll", AlreadyPrecise)
    assert patcher.inspect(precise).patched is None
