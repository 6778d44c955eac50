"""Programs built as those of gosrc/ are not: thread-local data of C, other linkers, assembly that calls the runtime."""

import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.releases import SYSTEM
from patcher.errors import MalformedBinary, ShapeMismatch
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.strategies.sleep.site import LEAVE
from tests.patcher.programs import SLEEPS, build

OLDEST = next(iter(SYSTEM.values()))
CGO = {"CGO_ENABLED": "1"}
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="cgo needs gcc: apt-get install gcc libc6-dev")
needs_gold = pytest.mark.skipif(shutil.which("ld.gold") is None, reason="needs ld.gold: apt-get install binutils")

THREAD_LOCAL = """package main

/*
static __thread volatile char block[SIZE];
static int touch(int i) { block[i & 0xff] = (char)i; return block[i & 0xff]; }
*/
import "C"
import "time"

func main() {
	time.Sleep(100 * time.Microsecond)
	println(C.touch(3))
}
"""

CALLED_BY_ASSEMBLY = """package main

import (
	"os"
	"time"
)

func enter()
func leave()
func nap(time.Duration)

func main() {
	if len(os.Args) > 1 {
		enter()
		leave()
	}
	start := time.Now()
	nap(2 * time.Millisecond)
	time.Sleep(2 * time.Millisecond)
	println(time.Since(start) >= 4*time.Millisecond)
}
"""

ASSEMBLY = """#include "textflag.h"
#include "funcdata.h"

TEXT ·enter(SB), NOSPLIT, $0-0
	NO_LOCAL_POINTERS
	CALL runtime·entersyscallblock(SB)
	RET

TEXT ·leave(SB), NOSPLIT, $0-0
	NO_LOCAL_POINTERS
	CALL runtime·exitsyscall(SB)
	RET

TEXT ·nap(SB), 0, $8-8
	NO_LOCAL_POINTERS
	MOVQ d+0(FP), AX
	MOVQ AX, 0(SP)
	CALL time·Sleep(SB)
	RET
"""


def linked(flags: str) -> str:
    return f"-ldflags=-linkmode=external -extldflags={flags}"


BUILDS: Mapping[str, Callable[[Path], Path]] = {
    "gold": lambda to: build(to, SLEEPS, linked("-fuse-ld=gold"), environment=CGO),
    "one segment": lambda to: build(to, SLEEPS, linked("-Wl,-z,noseparate-code"), environment=CGO),
    "assembly": lambda to: build(to, CALLED_BY_ASSEMBLY, besides={"calls.s": ASSEMBLY}),
    "assembly, pie": lambda to: build(to, CALLED_BY_ASSEMBLY, "-buildmode=pie", besides={"calls.s": ASSEMBLY}),
}
Foreign = Callable[[str], Path]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    folder = tmp_path_factory.mktemp("foreign")
    return cache(lambda name: BUILDS[name](folder / name.replace(" ", "-")))


def patched(program: Path, strategy: str, slack_ns: int | None = None) -> bytes:
    """What the patched program writes; afterwards it is verified and reverted."""
    out = program.with_name(f"{program.name}.{strategy}")
    patcher.patch(program, out, strategy, slack_ns=slack_ns, accept_thread_cost=True)
    done = subprocess.run([out], capture_output=True, check=True)
    assert patcher.verify(out).proof.passed > 0
    assert patcher.revert(out).out.read_bytes() == program.read_bytes()
    return done.stderr


@needs_gcc
@pytest.mark.skipif(not OLDEST.go.exists(), reason=OLDEST.remedy)
@pytest.mark.parametrize(
    ("size", "flags"),
    [
        pytest.param(0x208, (), id="fixed"),
        pytest.param(0x12345, ("-buildmode=pie",), id="pie", marks=pytest.mark.long),
    ],
)
def test_any_amount_of_thread_local_data_leaves_g_where_it_is_read(
    tmp_path: Path, size: int, flags: tuple[str, ...]
) -> None:
    source = THREAD_LOCAL.replace("SIZE", str(size))
    program = build(tmp_path / "built", source, *flags, environment=CGO, release=OLDEST.version)
    assert patched(program, "netpoll", 1) == b"3\n"


@needs_gcc
@needs_gold
def test_more_thread_local_data_than_a_thread_can_have_is_refused(foreign: Foreign, tmp_path: Path) -> None:
    program, data = tmp_path / "program", bytearray(foreign("gold").read_bytes())
    (table,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    headers = range(table, table + size * count, size)
    (tls,) = (each for each in headers if struct.unpack_from("<I", data, each) == (7,))  # PT_TLS
    struct.pack_into("<Q", data, tls + 40, 1 << 40)  # p_memsz
    program.write_bytes(data)
    with pytest.raises(MalformedBinary, match=r"0x1.* bytes of thread-local data"):
        patcher.inspect(program)


@needs_gcc
@pytest.mark.parametrize("name", [pytest.param("gold", marks=needs_gold), "one segment"])
def test_stack_maps_may_lie_in_the_segment_of_the_code(foreign: Foreign, name: str) -> None:
    assert patched(foreign(name), "sleep") == b""


@pytest.mark.parametrize("name", ["assembly", "assembly, pie"])
def test_of_two_functions_of_a_name_the_one_that_go_code_calls_is_taken(foreign: Foreign, name: str) -> None:
    assert patched(foreign(name), "sleep") == b"true\n"


@pytest.mark.parametrize("part", ["45 0f 57 ff", "64 4c 8b 34 25 f8 ff ff ff"], ids=["xmm15", "g"])
def test_two_functions_of_a_name_are_refused_where_neither_leads_to_the_other(
    foreign: Foreign, tmp_path: Path, part: str
) -> None:
    functions = Functions(read_image(foreign("assembly")))
    own = functions.one(LEAVE)
    (wrapper,) = set(functions.all(LEAVE)) - {own}
    code = functions.image.read(wrapper.start, wrapper.end - wrapper.start)
    assert code.count(bytes.fromhex(part)) == 1
    program, data = tmp_path / "program", bytearray(foreign("assembly").read_bytes())
    at = functions.image.offset_of(wrapper.start) + code.index(bytes.fromhex(part))
    data[at : at + len(bytes.fromhex(part))] = b"\x90" * len(bytes.fromhex(part))
    program.write_bytes(data)
    with pytest.raises(ShapeMismatch, match=r"expected one function runtime\.exitsyscall, found 2"):
        patcher.patch(program, tmp_path / "out", "sleep", accept_thread_cost=True)
