"""The tests of this folder can fail: patches that are wrong on purpose, written past the proof, are seen by them."""

import re
from pathlib import Path

import pytest

from nanonap.trials.unwinding.checks import crash_findings, profiled
from nanonap.trials.unwinding.survivors import DIES, Survivor
from patcher.isa.amd64.asm import assemble
from tests.endtoend.arms import RELEASES, Survivors
from tests.soon import soon

# The stack pointer 8 bytes lower during the wait than pclntab states.
PUSHED = (r"(mov +eax, 230 .*\n *syscall)", r"push rbp\n \1\n pop rcx")
# The same of netpoll, whose error register is cleared elsewhere to make room.
PUSHED_IN_NETPOLL = (
    (r"( *syscall)\n *xor +ebx, ebx", r"push rbp\n \1\n pop rcx"),
    (r"(\n *on:)", r"\1\n xor ebx, ebx"),
)


def changed(survivor: Survivor, out: Path, *changes: tuple[str, str]) -> Survivor:
    """The patched program with its assembly changed, each pattern once, and nothing proven."""
    assert survivor.manifest is not None
    data, made = bytearray(survivor.path.read_bytes()), 0
    for edit in (each for each in survivor.manifest.edits if each.assembly):
        text = edit.assembly
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text, count=1)
            made += count
        if text != edit.assembly:
            code = assemble(text, edit.address)
            data[edit.offset : edit.offset + len(code)] = code
    assert made == len(changes)
    out.write_bytes(data)
    out.chmod(0o755)
    return Survivor(out, survivor.manifest)


@pytest.mark.parametrize("go", soon(RELEASES, 0))
def test_the_collector_dies_of_junk_where_the_stack_map_claims_a_pointer(
    survivors: Survivors, tmp_path: Path, go: str
) -> None:
    # The end of the span that holds g (r14) is no object: its last words belong to the span itself, or to nothing.
    junk = (r"xor +edx, edx", "mov rdx, r14\n or rdx, 0x1ff8")
    cleared = (r"mov +ecx, 1000000000", r"xor edx, edx\n \g<0>")
    answer = changed(survivors("sleep", go), tmp_path / "wrong", junk, cleared).run("-mode", "gc", "-for", "5s")
    assert answer.returncode == DIES
    assert "fatal error: " in answer.stderr


@pytest.mark.parametrize("go", soon(RELEASES, 0))
def test_the_profiler_loses_the_callers_of_a_stub_with_another_stack_depth(
    survivors: Survivors, tmp_path: Path, go: str
) -> None:
    survivor = changed(survivors("sleep", go), tmp_path / "wrong", PUSHED)
    assert profiled(survivor, "sleep", tmp_path, "1s").findings


def test_a_crash_dump_loses_the_scheduler_of_a_stub_with_another_stack_depth(
    survivors: Survivors, tmp_path: Path
) -> None:
    survivor = changed(survivors("netpoll"), tmp_path / "wrong", *PUSHED_IN_NETPOLL)
    assert crash_findings(survivor, "netpoll")
