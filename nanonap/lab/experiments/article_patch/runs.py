"""The rows of ``article-patch`` on ``CALL syscall``, and how edited copies are made and run."""

import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.ground.interrupt import Finished
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.edit.room import replace_run
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.syscalls import PACKAGES, USLEEP
from patcher.isa.amd64.asm import assemble
from patcher.rewrite import apply
from patcher.strategies.usleep import amd64 as usleep

Row = dict[str, Any]
FUNCTION, SOURCE, OPTION, PATCHELF, TABLE, NUMBER, INSTRUCTION = (
    "function", "source", "patchelf option", "patchelf", "table", "number", "instruction",
)  # fmt: skip
SCHEMA = {
    "part": pl.String,
    "subject": pl.String,  # the program or tool that something was tried on or with
    "go": pl.String,  # its Go release
    "tried": pl.String,
    "found": pl.Boolean,  # a function or source: there is one; an option: it edits code; an instruction: it builds
    "status": pl.Int64,  # exit status, negative: the signal
    "message": pl.String,  # of a run with number 241: why it did not end well
    "changed": pl.Boolean,  # the file, by patchelf
    "code_same": pl.Boolean,  # its .text; none where the file has no code at that address any more
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
CLAIMED = "runtime.nanosleep"
CALL, SYSCALL = "CALL syscall(SB)", "SYSCALL"
#: A limit of one byte keeps a crash from leaving a core file and from being piped to a program (fs/coredump.c).
_CORE_BYTES = 1
_ASSEMBLY = """#include "textflag.h"

TEXT ·nap(SB), NOSPLIT, $0
	MOVQ $230, AX
	{}
	RET
"""
_ANYWHERE = 0x400000
RUN_S, _BUILD_S = 10.0, 120.0
_LONGEST = 160
_CANNOT_START = 126  # as a shell says it


@dataclass(frozen=True)
class Plan:
    """How much to do: ``modes`` are those of the dynamically linked programs, ``blocks`` of runs with number 241."""

    modes: tuple[str, ...]
    blocks: int
    sleeps: int


QUICK = Plan(("external",), 3, 60)
FULL = Plan(("external", "pie"), 5, 100)


def instruction_rows(setting: Setting, folder: Path) -> Iterator[Row]:
    """``CALL syscall`` given to Go's assembler and linker, and to Keystone; then calls of what does exist, run."""
    toolchain = release_toolchain(DEFAULT_GO)
    for instruction in (CALL, "CALL syscall", SYSCALL):
        setting.say(f"go build of {instruction}")
        done = _built(setting, toolchain, folder, instruction)
        told = {"found": done.status == 0, "status": done.status, "message": how_it_ended(done)}
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
    # As the programs here are built, so that the standard library is found compiled.
    command = toolchain.command("build", "-C", str(folder), "-trimpath", "-buildvcs=false", "-o", "nap", ".")
    return setting.stop.run(command, _BUILD_S)


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
        row = {"part": INSTRUCTION, "subject": "usleep of a copy", "tried": f"CALL {name.rpartition('/')[2]}"}
        if not found:
            yield {**row, "missing": f"{setting.program.name} has no such function"}
            continue
        setting.say(f"a copy whose usleep calls {name}")
        text = f"mov eax, 35\nmov rbx, rsp\nxor ecx, ecx\ncall {found[-1].start:#x}"
        done = run_copy(setting, edited(functions, text, folder / "called"))
        yield {**row, "found": True, "status": done.status, "runs": done.status == 0, "message": how_it_ended(done)}


def edited(functions: Functions, text: str, out: Path) -> Path:
    """A copy of the program, ``text`` in place of the system call in ``runtime.usleep`` and what sets it up (15 bytes).

    No patch of ours, and not proven: what it does is what is asked. Raises ShapeMismatch.
    """
    site = usleep.locate(functions)
    edit, _ = replace_run(functions.image, USLEEP, "tried", start=site.start, end=site.end, text=text)
    image = functions.image
    out.write_bytes(apply(image.data[0 : len(image.data)], [edit]))
    out.chmod(0o755)
    return out


def run_copy(setting: Setting, program: Path) -> Finished:
    """Twenty sleeps of 100 µs, some milliseconds in all. As ``run_bounded``."""
    return run_bounded(setting, [str(program), "-plan", "100us*20"])


def run_bounded(setting: Setting, argv: Sequence[str]) -> Finished:
    """Run what may crash, hang, or not start at all (then its status is 126): RUN_S at most, and without a core file.

    Raises Interrupted.
    """
    try:
        with _without_core():
            return setting.stop.run(argv, RUN_S)
    except OSError as error:  # an edited file may be none that the kernel takes
        return Finished(_CANNOT_START, b"", f"{Path(argv[0]).name} cannot be started: {error.strerror}", False)


@contextmanager
def _without_core() -> Iterator[None]:
    """What is started in the block has the limit as its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    least = _CORE_BYTES if hard == resource.RLIM_INFINITY else min(_CORE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def how_it_ended(done: Finished) -> str:
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
