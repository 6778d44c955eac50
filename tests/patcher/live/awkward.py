"""A Go program that stands in the way: its code is mapped shared, a child of its never execs, or it becomes another."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.patcher.programs import build
from tests.patience import PATIENCE_S

_SOURCE = """package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	go func() {
		for {
			time.Sleep(time.Millisecond)
		}
	}()
	switch os.Args[1] {
	case "shared":
		share()
	case "vfork":
		go vfork()
	}
	fmt.Println("ready")
	if bufio.NewScanner(os.Stdin).Scan() && os.Args[1] == "exec" {
		panic(syscall.Exec(os.Args[2], os.Args[2:], nil))
	}
}

// share maps the file over the code, the same bytes. Of a shared mapping that may only be read nobody makes a copy.
func share() {
	maps, _ := os.ReadFile("/proc/self/maps")
	file, _ := os.Open("/proc/self/exe")
	for _, line := range strings.Split(string(maps), "\\n") {
		var low, high, offset uintptr
		var mode string
		fmt.Sscanf(line, "%x-%x %s %x", &low, &high, &mode, &offset)
		if mode == "r-xp" && strings.HasSuffix(line, os.Args[0]) {
			_, _, errno := syscall.RawSyscall6(syscall.SYS_MMAP, low, high-low, syscall.PROT_READ|syscall.PROT_EXEC,
				syscall.MAP_SHARED|syscall.MAP_FIXED, file.Fd(), offset)
			if errno != 0 {
				panic(errno)
			}
			return
		}
	}
	panic("no code")
}

// vfork waits for a child that does nothing; with no memory in common, it may be Go's.
func vfork() {
	runtime.LockOSThread()
	child, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, syscall.CLONE_VFORK|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	for child == 0 {
		syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
	}
}
"""


def build_awkward(folder: Path) -> Path:
    """The program, built in a folder that is made."""
    return build(folder, _SOURCE)


@contextlib.contextmanager
def awkward(program: Path, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The program, as awkward as the first word says: "shared", "vfork", or "exec", once it may read, of the others."""
    process = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        for each in children(process.pid):
            subprocess.run(["kill", "-9", str(each)], check=False)
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def children(pid: int) -> list[int]:
    """Of all its threads."""
    found = []
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(number) for number in each.read_text().split()]
    return found
