"""Go programs that only these tests need: small, built with the pinned toolchain in ways that gosrc/ is not."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from nanonap.toolchain.go import Toolchain, wheel_toolchain
from nanonap.toolchain.locks import locked
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO

SLEEPS = """package main

import "time"

func main() { time.Sleep(time.Millisecond) }
"""

LIBRARY = """package main

import "C"
import "time"

//export Nap
func Nap() { time.Sleep(time.Millisecond) }

func main() {}
"""

BUBBLE = """package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { time.Sleep(time.Hour) })
}
"""

PWAIT2 = """package linux

import "unsafe"

// EpollPwait2 waits for ns nanoseconds; for ever if ns is negative.
//
//go:noinline
func EpollPwait2(epfd int32, events []EpollEvent, maxev int32, ns int64) (n int32, errno uintptr) {
	timeout := [2]int64{ns / 1e9, ns % 1e9}
	var at unsafe.Pointer
	if ns >= 0 {
		at = unsafe.Pointer(&timeout)
	}
	r1, _, e := Syscall6(441, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])), uintptr(maxev), uintptr(at), 0, 0)
	return int32(r1), e
}
"""


def build(
    folder: Path,
    source: str,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    name: str = "main.go",
    command: tuple[str, ...] = ("build",),
    release: str = DEFAULT_GO,
    besides: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Build one source file in ``folder``, and ``besides`` (name → content), and give the file made.

    Workers take turns: they share go's cache.
    """
    folder.mkdir(parents=True)
    toolchain = release_toolchain(release)
    language = ".".join(map(str, toolchain.language))
    (folder / "go.mod").write_text(f"module small\n\ngo {language}\n", encoding="ascii")
    for each, content in {name: source, **(besides or {})}.items():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(content.encode() if isinstance(content, str) else content)
    out = folder / "program"
    with locked(toolchain.cache / ".tests.lock"):
        subprocess.run(
            [toolchain.go, *command, "-trimpath", "-buildvcs=false", *flags, "-o", out, "."],
            cwd=folder,
            env=toolchain.environment() | dict(environment or {}),
            check=True,
        )
    return out


def build_precise(folder: Path, *, keeps_milliseconds: bool) -> Path:
    """A program whose runtime waits with epoll_pwait2 itself: Go's own source, edited as it is built.

    ``keeps_milliseconds``: the conversion to milliseconds stays beside it; else it is gone, as a fork would do.
    """
    toolchain = wheel_toolchain(DEFAULT_GO)
    source = (goroot(toolchain) / "src/runtime/netpoll_epoll.go").read_text(encoding="utf-8")
    source = replaced(source, "linux.EpollWait(", "linux.EpollPwait2(")
    source = replaced(source, "int32(len(events)), waitms)", "int32(len(events)), delay)")
    if not keeps_milliseconds:
        start, end = source.index("\tvar waitms int32\n"), source.index("\tvar events [128]")
        source = replaced(source[:start] + source[end:], "if waitms > 0 {", "if delay > 0 {")
    edited = folder.with_name(folder.name + ".overlay")
    edited.mkdir()
    (edited / "netpoll_epoll.go").write_text(source, encoding="utf-8")
    (edited / "pwait2.go").write_text(PWAIT2, encoding="ascii")
    places = {
        "src/runtime/netpoll_epoll.go": "netpoll_epoll.go",
        "src/internal/runtime/syscall/linux/pwait2.go": "pwait2.go",
    }
    replace = {str(goroot(toolchain) / place): str(edited / file) for place, file in places.items()}
    (edited / "overlay.json").write_text(json.dumps({"Replace": replace}), encoding="ascii")
    return build(folder, SLEEPS, f"-overlay={edited / 'overlay.json'}")


def goroot(toolchain: Toolchain) -> Path:
    """Where the pinned toolchain's own source lies."""
    assert toolchain.goroot is not None
    return toolchain.goroot


def replaced(source: str, old: str, new: str) -> str:
    """The source with its one occurrence of ``old`` replaced."""
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in Go's source"
    return source.replace(old, new)
