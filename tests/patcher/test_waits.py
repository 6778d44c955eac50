"""Every wait of the runtime is found, wherever the compiler put it: all are patched, or the program is refused."""

import re
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build_one
from nanonap.toolchain.modes import Mode
from nanonap.toolchain.releases import NEWEST, installed_releases, release_toolchain
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.inlining import inlined_at
from patcher.golang.waits import find_waits
from patcher.show import show_inspection
from patcher.strategies.table import STRATEGIES
from tests.patcher.mutate import refusal
from tests.patcher.programs import build
from tests.patcher.tracing import named, timeout_ms, traced
from tests.soon import soon

# The compiler inlines all that it can: EpollWait, and with a profile in which netpoll is hot, that too.
_GENEROUS = ("-gcflags=all=-l=4",)
INLINED = Mode("inlined", flags=_GENEROUS)
BOTH = Mode("pgo-inlined", flags=_GENEROUS, profiled=True, since=(1, 21))

PLANTED = """package main

import (
	"time"
	_ "unsafe"
)

//go:linkname wait internal/runtime/syscall/linux.EpollWait
func wait(epfd int32, events []byte, maxev, waitms int32) (n int32, errno uintptr)

func main() {
	time.Sleep(time.Millisecond)
	nap()
}

"""
IN_GO = "//go:noinline\nfunc nap() {{ wait(-1, make([]byte, 12), 1, {}) }}\n"
WAIT = "internal∕runtime∕syscall∕linux·EpollWait(SB)"
# By the wrapper, which takes its arguments on the stack: what r8 holds is not the timeout.
IN_ASSEMBLY = f"""#include "textflag.h"

TEXT ·nap(SB), 0, $40-0
	MOVL $-1, 0(SP)
	MOVQ $0, 8(SP)
	MOVQ $0, 16(SP)
	MOVQ $0, 24(SP)
	MOVL $1, 32(SP)
	MOVL $5000, 36(SP)
	XORL R8, R8
	CALL {WAIT}
	RET
"""
AS_A_JUMP = f"""#include "textflag.h"

TEXT ·nap(SB), NOSPLIT, $0-0
	JMP {WAIT}
"""
BEHIND_JUNK = IN_ASSEMBLY.replace("\tXORL R8, R8\n", "\tJMP over\n\tBYTE $0x06\n\tBYTE $0x06\nover:\n")
BY_NUMBER = """//go:linkname call internal/runtime/syscall/linux.Syscall6
func call(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)

var number uintptr = 281

//go:noinline
func nap() { call(number, 1, 0, 1, 5, 0, 0) }
"""


def build_planted(folder: Path, nap: str, assembly: str = "") -> Path:
    return build(folder, PLANTED + nap, "-ldflags=-checklinkname=0", besides={"nap.s": assembly})


@pytest.mark.parametrize(
    "built",
    soon([(BOTH, NEWEST), (INLINED, "1.21.13")], long=(0,)),
    ids=lambda each: f"{each[0].name}-{each[1]}",
)
def test_a_wait_is_patched_wherever_the_compiler_put_it(built: tuple[Mode, str], tmp_path: Path) -> None:
    mode, go = built
    stock = build_one(release_toolchain(go), mode, "sleepbench", TRIED).path
    calls = patcher.inspect(stock).epoll_calls
    assert {each.callee for each in calls} == {"Syscall6"}
    assert all((each.inlined or ("",))[0].endswith(".EpollWait") for each in calls)
    holders = {each.function for each in calls}
    assert holders == {"runtime.netpoll", *(["runtime.findRunnable"] if mode.profiled else [])}
    out = tmp_path / "patched"
    edits = patcher.patch(stock, out, slack_ns=1).manifest.edits
    assert {each.function for each in edits if each.assembly and each.old.strip(b"\0")} == holders
    for call in calls:
        assert any(each.address <= call.address < each.end for each in edits)
    _, threads = traced(tmp_path / "trace", out, "-plan", "50us*20,1ms*10,2500us*5", "-sleepers", "2")
    assert named(threads, "epoll_pwait2")
    assert {timeout_ms(each) for each in named(threads, "epoll_pwait")} <= {0, -1}
    assert patcher.verify(out).proof.passed > 300 * len(holders)
    seen = patcher.inspect(out)
    assert {path.function for path in seen.sleep_paths if path.reason == "patched by strategy netpoll"} == holders
    assert patcher.revert(out).out.read_bytes() == stock.read_bytes()


PLANTS = {
    "Go": (IN_GO.format(5), "", "calls EpollWait"),
    "Go, for ever": (IN_GO.format(-1), "", "calls EpollWait"),
    "Go, by a number that is not known": (BY_NUMBER, "", "calls Syscall6"),
    "assembly": ("func nap()\n", IN_ASSEMBLY, "calls EpollWait"),
    "assembly that jumps": ("func nap()\n", AS_A_JUMP, "calls EpollWait"),
    "assembly behind bytes that are none": ("func nap()\n", BEHIND_JUNK, "found bytes that are none"),
}


@pytest.mark.parametrize("what", PLANTS)
def test_a_second_wait_is_refused_by_its_name_and_nothing_is_patched_by_half(tmp_path: Path, what: str) -> None:
    nap, assembly, said = PLANTS[what]
    program = build_planted(tmp_path / "planted", nap, assembly)
    assert re.search(rf"main\.nap.*: .*{said}", refusal(program, "netpoll"))
    assert "main.nap" in str(patcher.inspect(program).strategies["netpoll"].reason)


def test_a_poll_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = build_planted(tmp_path / "planted", IN_GO.format(0))
    calls = {each.function: each.timeout_ms for each in patcher.inspect(program).epoll_calls}
    assert calls == {"runtime.netpoll": None, "main.nap": 0}
    show_inspection(patcher.inspect(program))
    assert re.search(r"\n  poll +0x\w+ main\.nap: ", capsys.readouterr().out)
    edits = patcher.patch(program, tmp_path / "patched").manifest.edits
    assert "main.nap" not in {each.function for each in edits}


def test_a_wait_that_is_left_is_named(functions: Functions) -> None:
    """What verify asks of a patched program, asked of a stock one."""
    with pytest.raises(
        ProofFailed, match=r"runtime\.netpoll at 0x\w+: still waits in whole milliseconds, by EpollWait"
    ):
        STRATEGIES["netpoll"].check_patched(functions)


@pytest.mark.parametrize("go", soon(installed_releases(say=False), -1, long=(0,)))
def test_the_inline_tree_is_read_in_every_release(go: str) -> None:
    """runtime.schedule locks by runtime.lock, which is inlined wherever it is called (runtime/lock_*.go)."""
    functions = Functions(read_image(build_one(release_toolchain(go), Mode("default"), "sleepbench", TRIED).path))
    schedule = functions.one("runtime.schedule")
    found = {
        name
        for each in functions.instructions(schedule)
        for name in inlined_at(functions, schedule, each.address) or ()
    }
    assert "runtime.lock" in found
    assert all(name.startswith(("runtime.", "internal/", "runtime/internal/")) for name in found), found
    assert [each.function.name for each in find_waits(functions).calls] == ["runtime.netpoll"]
