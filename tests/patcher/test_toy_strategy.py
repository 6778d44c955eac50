"""A new strategy is a class of the face and its place in the table: patch, inspect, verify and revert then know it.

The toy asks for the process's number as the program starts, and goes on to the entry.
"""

import struct
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest

import patcher
from patcher.edit.edit import Edit, Plan
from patcher.edit.room import Room, address_of_header
from patcher.errors import AlreadyPatched, ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import E_ENTRY
from patcher.golang.pclntab import Function
from patcher.isa.amd64.code import decode
from patcher.proof.events import Answer, Run
from patcher.proof.machine import Machine
from patcher.show import show_patched
from patcher.strategies.strategy import Options, Strategy
from patcher.strategies.table import STRATEGIES

GETPID = 39


class Toy(Strategy):
    """One system call before the runtime starts."""

    name: ClassVar[str] = "toy"
    isas: ClassVar[tuple[str, ...]] = ("amd64",)
    told: ClassVar[str] = "the program asks for its own number"
    note: ClassVar[str | None] = "it is a toy"

    def plan(self, functions: Functions, room: Room, options: Options) -> Plan:
        """Behind the code."""
        image = functions.image
        text = f"mov eax, {GETPID}\nmov r9d, edx\nsyscall\nmov edx, r9d\njmp {image.entry:#x}"
        stub, code = room.place("ask for the process's number", text)
        entry = Edit(
            "(ELF header)", "enter by the toy", address_of_header(image, E_ENTRY), E_ENTRY,
            image.data[E_ENTRY : E_ENTRY + 8], struct.pack("<Q", stub.address), "",
        )  # fmt: skip
        return Plan(self.name, (stub, entry), (code,), ("getpid",))

    def prove(self, functions: Functions, plan: Plan, options: Options) -> list[Run]:
        """It makes that call and no other, and goes on."""
        entry = functions.image.entry
        run = Machine(functions.image, plan.edits).run(plan.code[0].start, {"rdx": 7}, [Answer(1)], {entry: 1})
        if [each.number for each in run.system_calls()] != [GETPID] or run.registers["rdx"] != 7:
            raise ProofFailed("the toy does something else")
        return [run]

    def stubs(self, functions: Functions) -> tuple[Function | None, ...]:
        """By the first instruction at the entry."""
        first = next(iter(decode(functions.image.read(functions.image.entry, 16), functions.image.entry)))
        return (None,) if first.text == f"mov eax, {GETPID:#x}" else ()


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "toy", Toy())


def test_a_toy_is_patched_told_verified_and_undone(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stock, out = program.read_bytes(), program.with_name("out")
    assert patcher.inspect(program).strategies["toy"].applies
    show_patched(patcher.patch(program, out, "toy"))
    shown = capsys.readouterr().out
    assert "newly calls   getpid" in shown
    assert "note          it is a toy" in shown
    assert subprocess.run([out, "-plan", "1ms*1"], capture_output=True, check=False).returncode == 0
    seen = patcher.inspect(out)
    assert seen.patched is not None
    assert seen.patched.strategy == "toy"
    with pytest.raises(AlreadyPatched):
        patcher.patch(out, program.with_name("twice"), "netpoll")
    assert patcher.verify(out).manifest.strategy == "toy"
    patcher.revert(out)
    assert out.read_bytes() == stock


def test_a_toy_takes_a_slack_beside_it_only_where_both_fit(program: Path) -> None:
    """Two strategies that both want the file's entry cannot be had together: nothing is written."""
    out = program.with_name("out")
    with pytest.raises(ProofFailed, match="overlap"):
        patcher.patch(program, out, "toy", slack_ns=1)
    assert not out.exists()
