"""The rows of ``article-patch``: which functions there are, and what ``CALL syscall`` is to assembler and linker."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import patcher
from bench.experiments.base import Setting
from bench.interrupt import Finished
from nanonap.paths import TOOLCHAINS
from patcher.asm import assemble
from patcher.errors import ProofFailed
from patcher.functions import Functions
from patcher.image import read_image
from patcher.rewrite import apply
from patcher.room import replace_run
from patcher.strategies import usleep
from patcher.strategies.netpoll_site import NETPOLL
from patcher.syscalls import EPOLL_WAITS, PACKAGES
from toolchain.go import Toolchain
from toolchain.releases import SYSTEM, installed_releases, release_toolchain
from toolchain.wheels import DEFAULT_GO

Row = dict[str, Any]
FUNCTION, SOURCE, OPTION, PATCHELF, TABLE, NUMBER, INSTRUCTION = (
    "function", "source", "patchelf option", "patchelf", "table", "number", "instruction",
)  # fmt: skip
SCHEMA = pl.Schema(
    {
        "part": pl.String,
        "subject": pl.String,  # the program or tool that something was tried on or with
        "go": pl.String,  # its Go release
        "tried": pl.String,
        "found": pl.Boolean,  # a function or source: there is one; an option: it edits code; an instruction: it builds
        "status": pl.Int64,  # exit status, negative: the signal
        "message": pl.String,
        "changed": pl.Boolean,  # the file, by patchelf
        "code_same": pl.Boolean,  # its .text
        "runs": pl.Boolean,  # the copy: it sleeps, and ends well
        "number": pl.Int64,  # of a system call
        "load": pl.String,
        "traced": pl.Boolean,  # strace counted, and slowed the run
        "block": pl.Int64,
        "mq_unlink": pl.Int64,  # calls in the whole run
        "nanosleep": pl.Int64,
        "clock_nanosleep": pl.Int64,
        "epoll_waits": pl.Int64,  # epoll_pwait that ended by its timeout
        "results": pl.String,  # of mq_unlink: every one that was seen
        "sleeps": pl.Int64,
        "shortest_late_ns": pl.Int64,  # of the time.Sleep that ended earliest after its time; negative: before it
        "wall_ns": pl.Int64,
        "cpu_ns": pl.Int64,
        "missing": pl.String,
    }
)
CLAIMED = "runtime.nanosleep"
#: What there is instead: who makes the system call nanosleep, where an idle program waits, what programs call.
INSTEAD = (usleep.USLEEP, NETPOLL, "time.Sleep")
CALL, SYSCALL = "CALL syscall(SB)", "SYSCALL"
#: A limit of one byte keeps a crash from leaving a core file and from being piped to a program (fs/coredump.c).
WITHOUT_CORE = ("prlimit", "--core=1:1")
_SOURCE = re.compile(r"^(?:func |TEXT runtime·)nanosleep\b", re.MULTILINE)
_ASSEMBLY = """#include "textflag.h"

TEXT ·nap(SB), NOSPLIT, $0
	MOVQ $230, AX
	{}
	RET
"""
_ANYWHERE = 0x400000
RUN_S, _BUILD_S = 10.0, 120.0
_LONGEST = 160


@dataclass(frozen=True)
class Plan:
    """How much to do: ``modes`` are those of the dynamically linked programs, ``blocks`` of runs with number 241."""

    modes: tuple[str, ...]
    blocks: int
    sleeps: int


QUICK = Plan(("external",), 3, 60)
FULL = Plan(("external", "pie"), 5, 100)


def function_rows(setting: Setting) -> Iterator[Row]:
    """The function tables of the measured program and of each installed release's own `go`, and that release's source.

    A release that would have to be fetched is left out.
    """
    yield from _functions(setting, setting.program)
    for release in installed_releases(say=False):
        if release in SYSTEM or (TOOLCHAINS / release).is_dir():
            toolchain = release_toolchain(release)
            yield from _functions(setting, toolchain.go)
            yield _in_source(toolchain)


def _functions(setting: Setting, program: Path) -> Iterator[Row]:
    setting.say(f"the functions of {program.name}")
    setting.stop.check()
    functions = Functions(read_image(program))
    calls = {each.function: each for each in patcher.inspect(program).syscalls}
    row = {"part": FUNCTION, "subject": program.name, "go": functions.image.build.version.removeprefix("go")}
    # The names of the table are also those of functions that stand nowhere but inlined in others.
    yield {**row, "tried": CLAIMED, "found": functions.table.has_prefix(CLAIMED)}
    wait = next((name for name in calls if name in EPOLL_WAITS), "")
    for name in INSTEAD:
        call = calls.get(wait if name == NETPOLL else name)
        told = {"number": call.number, "message": call.name} if call else {}
        yield {**row, "tried": name, "found": bool(functions.all(name)), **told}


def _in_source(toolchain: Toolchain) -> Row:
    """Whether the runtime's source for Linux defines it, in Go or in assembly."""
    folder = toolchain.root() / "src" / "runtime"
    files = [*folder.glob("*_linux*.go"), *folder.glob("*_linux*.s")]
    found = any(_SOURCE.search(each.read_text(encoding="utf-8")) for each in files)
    row = {"part": SOURCE, "subject": "runtime", "go": toolchain.version, "tried": CLAIMED}
    return {**row, "found": found} if files else {**row, "missing": f"{folder} holds no source for Linux"}


def instruction_rows(setting: Setting, folder: Path) -> Iterator[Row]:
    """``CALL syscall`` given to Go's assembler and linker, and to Keystone; then calls of what does exist, run."""
    toolchain = release_toolchain(DEFAULT_GO)
    for instruction in (CALL, "CALL syscall", SYSCALL):
        setting.say(f"go build of {instruction}")
        done = _built(setting, toolchain, folder, instruction)
        told = {"found": done.status == 0, "status": done.status, "message": _told(done)}
        yield {"part": INSTRUCTION, "subject": "go build", "go": toolchain.version, "tried": instruction, **told}
    for instruction in ("call syscall", "syscall"):
        yield {"part": INSTRUCTION, "subject": "Keystone", "tried": instruction, **_assembled(instruction)}
    yield from _called(setting, folder)


def _built(setting: Setting, toolchain: Toolchain, folder: Path, instruction: str) -> Finished:
    """`go build` of a program whose one function in assembly has the instruction, for number 230."""
    folder = folder / "assembly"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(f"module calls\n\ngo {'.'.join(map(str, toolchain.language))}\n", encoding="ascii")
    (folder / "calls.go").write_text("package main\n\nfunc nap()\n\nfunc main() { nap() }\n", encoding="ascii")
    (folder / "calls_amd64.s").write_text(_ASSEMBLY.format(instruction), encoding="utf-8")
    settings = [f"{name}={value}" for name, value in toolchain.environment().items() if name.startswith(("GO", "CGO_"))]
    # As the programs here are built, so that the standard library is found compiled.
    command = [str(toolchain.go), "build", "-C", str(folder), "-trimpath", "-buildvcs=false", "-o", "nap", "."]
    return setting.stop.run(["/usr/bin/env", *settings, *command], _BUILD_S)


def _assembled(instruction: str) -> Row:
    try:
        code = assemble(instruction, _ANYWHERE)
    except ProofFailed as error:
        return {"found": False, "message": str(error.__cause__ or error)}
    return {"found": True, "message": code.hex(" ")}


def _called(setting: Setting, folder: Path) -> Iterator[Row]:
    """``runtime.usleep`` of a copy calls what makes system calls, with nanosleep's own number, and is run.

    Both take the number and the arguments in rax, rbx, rcx (ABIInternal, cmd/compile/abi-internal.md). Behind the
    number 35 stand the timespec and no remaining time, as in the stock function.
    """
    functions = Functions(read_image(setting.program))
    bare = next((each for each in (f"{package}.Syscall6" for package in PACKAGES) if functions.all(each)), "Syscall6")
    for name in (bare, "syscall.Syscall"):
        found = functions.all(name)
        row = {
            "part": INSTRUCTION,
            "subject": "usleep of a copy",
            "tried": f"CALL {name.rpartition('/')[2]}",
        }
        if not found:
            yield {**row, "missing": f"{setting.program.name} has no such function"}
            continue
        setting.say(f"a copy whose usleep calls {name}")
        text = f"mov eax, 35\nmov rbx, rsp\nxor ecx, ecx\ncall {found[-1].start:#x}"
        done = run_copy(setting, edited(functions, text, folder / "called"))
        yield {**row, "found": True, "status": done.status, "runs": done.status == 0, "message": _told(done)}


def edited(functions: Functions, text: str, out: Path) -> Path:
    """A copy of the program, ``text`` in place of the system call in ``runtime.usleep`` and what sets it up (15 bytes).

    No patch of ours, and not proven: what it does is what is asked. Raises ShapeMismatch.
    """
    site = usleep.locate(functions)
    edit, _ = replace_run(functions.image, usleep.USLEEP, "tried", start=site.start, end=site.end, text=text)
    image = functions.image
    out.write_bytes(apply(image.data[0 : len(image.data)], [edit]))
    out.chmod(0o755)
    return out


def run_copy(setting: Setting, program: Path) -> Finished:
    """Twenty sleeps of 100 µs, some milliseconds in all, ended after RUN_S. Leaves no core file."""
    return setting.stop.run([*WITHOUT_CORE, str(program), "-plan", "100us*20"], RUN_S)


def _told(done: Finished) -> str:
    """Why it ended, or what it said first on stderr."""
    if done.timed_out:
        return f"still running after {RUN_S:.0f} s, ended"
    if done.status < 0:
        return f"ended by {signal.Signals(-done.status).name}"
    return first_line(done.stderr)


def first_line(text: str) -> str:
    """The first line that says something, cut; `go build` heads what it says by a line with the package."""
    lines = (line.strip() for line in text.splitlines())
    return next((line[:_LONGEST] for line in lines if line and not line.startswith("#")), "")
