"""Programs that set a system call filter themselves are patched and named: such a filter may kill on a new call."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from patcher.golang.seccomp import PACKAGES
from tests.patcher.conftest import Invoke
from tests.patcher.programs import build

# A filter that ends the process at epoll_pwait2, set by seccomp(2), and another way to set it, which is not taken.
FILTERED = """package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

type instruction struct {
	code     uint16
	yes, not uint8
	value    uint32
}

type program struct {
	length uint16
	first  *instruction
}

//go:noinline
func filter(all *program) {
	syscall.RawSyscall6(157, 38, 1, 0, 0, 0, 0)
	if _, _, errno := syscall.RawSyscall(317, 1, 1, uintptr(unsafe.Pointer(all))); errno != 0 {
		panic(errno)
	}
}

//go:noinline
func filterByPrctl(all *program) {
	syscall.RawSyscall(157, 22, 2, uintptr(unsafe.Pointer(all)))
}

func main() {
	runtime.LockOSThread()
	code := []instruction{{0x20, 0, 0, 0}, {0x15, 0, 1, 441}, {0x06, 0, 0, 0x80000000}, {0x06, 0, 0, 0x7fff0000}}
	if len(os.Args) > 1 {
		filterByPrctl(&program{4, &code[0]})
	}
	filter(&program{4, &code[0]})
	time.Sleep(3 * time.Millisecond)
	println("alive")
}
"""
HOLDS = """package main

import (
IMPORTS)

func main() {
CALLS}
"""


def seccomp_of(invoke: Invoke, *words: str | Path) -> tuple[dict[str, Any], str]:
    """The field of the command's JSON, and the line of its text that says the same."""
    found = json.loads(invoke(*words, "--json").out)["seccomp"]
    said = [line for line in invoke(*words).out.splitlines() if "may set a seccomp filter itself" in line]
    return found, "\n".join(said)


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("filtered") / "built", FILTERED)


def test_calls_that_set_a_filter_are_named_before_it_kills_the_patched_program(
    invoke: Invoke, filtered: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert subprocess.run([filtered], capture_output=True, check=True).stderr == b"alive\n"
    for words in (("inspect", filtered), ("patch", "--binary", filtered, "--out", out, "--force")):
        found, said = seccomp_of(invoke, *words)
        assert found["packages"] == []
        assert [(each["function"], each["call"]) for each in found["calls"]] == [
            ("main.filter", "seccomp"),
            ("main.filterByPrctl", "prctl(PR_SET_SECCOMP)"),
        ]
        assert "seccomp called by main.filter at 0x" in said
        assert "SIGSYS" in said
    assert subprocess.run([out], capture_output=True, check=False).returncode == -signal.SIGSYS


def test_packages_that_are_made_to_set_filters_are_named(invoke: Invoke, tmp_path: Path) -> None:
    files: dict[str, str] = {}
    requires = ""
    for number, path in enumerate(PACKAGES):
        source = 'package seccomp\n\nimport "os"\n\n//go:noinline\nfunc Load() { os.Getpid() }\n'
        files |= {f"{number}/go.mod": f"module {path}\n", f"{number}/load.go": source}
        requires += f"require {path} v0.0.0\nreplace {path} => ./{number}\n"
    imports = "".join(f'\tp{number} "{path}"\n' for number, path in enumerate(PACKAGES))
    calls = "".join(f"\tp{number}.Load()\n" for number in range(len(PACKAGES)))
    source = HOLDS.replace("IMPORTS", imports).replace("CALLS", calls)
    program = build(tmp_path / "built", source, besides=files | {"go.mod": f"module small\n\ngo 1.21\n{requires}"})
    found, said = seccomp_of(invoke, "inspect", program)
    assert found == {"packages": list(PACKAGES), "calls": []}
    assert all(f"package {each}" in said for each in PACKAGES)


def test_a_program_without_either_is_not_named(invoke: Invoke, program: Path) -> None:
    for words in (("inspect", program), ("patch", "--binary", program, "--out", program.with_name("out"), "--force")):
        assert seccomp_of(invoke, *words) == ({"packages": [], "calls": []}, "")
