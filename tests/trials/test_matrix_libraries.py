"""What is no program: a C library written in Go can be patched; in a plugin there is nothing to patch.

A c-shared library has a runtime of its own, which waits in its own netpoll. A plugin is linked with a copy of the
runtime too, but the scheduler that runs, and its netpoll, are those of the program that loads it.
"""

import contextlib
import hashlib
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.locks import locked
from nanonap.toolchain.releases import NEWEST, oldest_release, release_toolchain
from nanonap.trials.unwinding.asleep import CLOCK_NANOSLEEP, EPOLL_PWAIT, EPOLL_PWAIT2
from patcher.errors import UnsupportedGo
from tests.patience import wait_until
from tests.soon import soon

RELEASES = (NEWEST, oldest_release())

# Nap also collects, so that the sleeper's stack is scanned while it sleeps, from C to Go.
LIBRARY = """package main

import "C"
import (
	"runtime"
	"time"
)

//export Nap
func Nap(ns int64) int64 {
	go runtime.GC()
	begin := time.Now()
	time.Sleep(time.Duration(ns))
	return int64(time.Since(begin))
}

func main() {}
"""

HOST_OF_LIBRARY = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
	void *library = dlopen(argv[1], RTLD_NOW);
	if (library == NULL) {
		fprintf(stderr, "%s\\n", dlerror());
		return 1;
	}
	long long (*nap)(long long) = (long long (*)(long long))dlsym(library, "Nap");
	for (int i = 2; i < argc; i++) {
		printf("%lld\\n", nap(atoll(argv[i])));
		fflush(stdout);
	}
	return 0;
}
"""

HOST_OF_ARCHIVE = """
#include <stdio.h>
#include <stdlib.h>

extern long long Nap(long long);

int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		printf("%lld\\n", Nap(atoll(argv[i])));
		fflush(stdout);
	}
	return 0;
}
"""

PLUGIN = """package main

import "time"

func Nap(d time.Duration) { time.Sleep(d) }

func main() {}
"""

HOST_OF_PLUGIN = """package main

import (
	"fmt"
	"os"
	"plugin"
	"time"
)

func main() {
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	nap, err := loaded.Lookup("Nap")
	if err != nil {
		panic(err)
	}
	nap.(func(time.Duration))(time.Microsecond)
	fmt.Println("ready")
	nap.(func(time.Duration))(time.Hour)
}
"""
_DUMPS = 5


def go_build(toolchain: Toolchain, folder: Path, name: str, source: str, *flags: str) -> Path:
    """A package ``small/<name>`` of one module, built into ``folder``."""
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "main.go").write_text(source, encoding="ascii")
    language = ".".join(map(str, toolchain.language))
    (folder / "go.mod").write_text(f"module small\n\ngo {language}\n", encoding="ascii")
    out = folder / f"{name}.out"
    with locked(toolchain.cache / ".tests.lock"):
        subprocess.run(
            [toolchain.go, "build", "-trimpath", "-buildvcs=false", *flags, "-o", out, f"./{name}"],
            cwd=folder,
            env=toolchain.environment() | {"CGO_ENABLED": "1"},
            check=True,
        )
    return out


@dataclass(frozen=True)
class Loaded:
    """What is loaded, and the program that loads it; built by this release."""

    library: Path
    host: Path
    release: str


@pytest.fixture(scope="module", params=soon(RELEASES, 0))
def c_library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("c-shared")
    library = go_build(release_toolchain(request.param), folder, "library", LIBRARY, "-buildmode=c-shared")
    (folder / "host.c").write_text(HOST_OF_LIBRARY, encoding="ascii")
    subprocess.run(["gcc", "-o", folder / "host", folder / "host.c", "-ldl"], check=True)
    return Loaded(library, folder / "host", request.param)


@pytest.fixture(scope="module", params=soon(RELEASES, long=(0,)))
def plugin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder, toolchain = tmp_path_factory.mktemp("plugin"), release_toolchain(request.param)
    return Loaded(
        go_build(toolchain, folder, "plugin", PLUGIN, "-buildmode=plugin"),
        go_build(toolchain, folder, "host", HOST_OF_PLUGIN),
        request.param,
    )


@contextlib.contextmanager
def started(*command: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A host that has said its first line: one nap is over, the next lasts an hour."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment or None) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), process.communicate()
            yield process
        finally:
            process.kill()


def wait_for_call(process: subprocess.Popen[str], number: int) -> None:
    """Wait until a thread is in this system call (proc_pid_syscall(5))."""
    wait_until(lambda: process.poll() is not None or number in calls_of(process.pid), lambda: calls_of(process.pid))
    assert process.poll() is None, process.communicate()


def calls_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = (task / "syscall").read_text().split()
            found.append(int(words[0]) if len(words) == 9 else -1)
    return found


CALLS = {"netpoll": EPOLL_PWAIT2, "sleep": CLOCK_NANOSLEEP, "usleep": EPOLL_PWAIT}


@pytest.mark.parametrize("strategy", CALLS)
def test_a_patched_c_library_sleeps_as_asked_in_the_program_that_loads_it(
    c_library: Loaded, tmp_path: Path, strategy: str
) -> None:
    out = tmp_path / "library.so"
    patcher.patch(c_library.library, out, strategy, accept_thread_cost=True)
    assert patcher.verify(out).proof.passed > 0
    naps = [100_000, 1_000_000, 3_000_000] * 5
    ran = subprocess.run([c_library.host, out, *map(str, naps)], capture_output=True, text=True, check=True)
    assert all(slept >= asked for slept, asked in zip(map(int, ran.stdout.split()), naps, strict=True))
    with started(c_library.host, out, "1000", "3600000000000") as process:
        wait_for_call(process, CALLS[strategy])
    patcher.revert(out)
    assert sha256(out) == sha256(c_library.library)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_c_library_is_refused_a_slack_because_it_has_no_entry(c_library: Loaded, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedGo, match="shared library has no entry"):
        patcher.patch(c_library.library, tmp_path / "out", "slack", slack_ns=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("link", soon([(), ("-static",)], 0), ids=lambda each: "".join(each) or "dynamic")
@pytest.mark.parametrize("release", soon(RELEASES, 0))
def test_a_c_program_with_go_linked_in_is_patched_as_a_go_program_is(
    tmp_path: Path, release: str, link: tuple[str, ...]
) -> None:
    archive = go_build(release_toolchain(release), tmp_path, "library", LIBRARY, "-buildmode=c-archive")
    (tmp_path / "host.c").write_text(HOST_OF_ARCHIVE, encoding="ascii")
    program, out = tmp_path / "host", tmp_path / "host.patched"
    linked: list[str | Path] = ["gcc", *link, "-o", program, tmp_path / "host.c", "-Wl,--whole-archive", archive]
    subprocess.run([*linked, "-Wl,--no-whole-archive", "-lpthread"], check=True)
    patcher.patch(program, out, slack_ns=1)
    with started(out, "1000", "3600000000000") as process:
        wait_for_call(process, EPOLL_PWAIT2)
        assert Path(f"/proc/{process.pid}/timerslack_ns").read_text() == "1\n"
    patcher.revert(out)
    assert sha256(out) == sha256(program)


def test_the_scheduler_that_waits_for_a_plugins_sleepers_is_its_hosts(plugin: Loaded) -> None:
    dump = maps = ""
    for _ in range(_DUMPS):
        with started(plugin.host, plugin.library, GOTRACEBACK="crash") as process:
            wait_for_call(process, EPOLL_PWAIT)
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            process.send_signal(signal.SIGQUIT)
            dump = process.communicate()[1]
        if files_of(dump, maps, "runtime.netpoll"):  # the thread that waits there may be between two waits
            break
    assert files_of(dump, maps, "runtime.netpoll") == {str(plugin.host)}
    assert files_of(dump, maps, "main.main") == {str(plugin.host)}
    assert files_of(dump, maps, "small/plugin.Nap") == {str(plugin.library)}


def files_of(dump: str, maps: str, function: str) -> set[str]:
    """The files that hold the code of every frame of ``function`` in a crash dump, which tells each frame's pc."""
    spans = [line.split() for line in maps.splitlines() if len(line.split()) == 6]
    found = set()
    for match in re.finditer(rf"^{re.escape(function)}\(.*\)\n\t.* pc=0x([0-9a-f]+)$", dump, re.MULTILINE):
        pc = int(match[1], 16)
        for span, *_, name in spans:
            start, end = (int(each, 16) for each in span.split("-"))
            found |= {name} if start <= pc < end else set()
    return found


def test_a_patched_host_makes_its_plugins_sleeps_precise(plugin: Loaded, tmp_path: Path) -> None:
    out = tmp_path / "host"
    patcher.patch(plugin.host, out)
    with started(out, plugin.library) as process:
        wait_for_call(process, EPOLL_PWAIT2)


@pytest.mark.parametrize("strategy", patcher.STRATEGIES)
def test_a_plugin_is_refused(plugin: Loaded, tmp_path: Path, strategy: str) -> None:
    # Go 1.19 leaves no build information in a plugin.
    with pytest.raises(UnsupportedGo, match=r"a plugin; .* patch that program"):
        patcher.patch(
            plugin.library,
            tmp_path / "out",
            strategy,
            slack_ns=1 if strategy == "slack" else None,
            accept_thread_cost=True,
        )
    assert list(tmp_path.iterdir()) == []
