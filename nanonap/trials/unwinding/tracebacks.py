"""What the runtime prints of its goroutines when it dies, taken apart."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass

# "goroutine 20 gp=0x1e27d30005a0 m=nil [sleep, 2 minutes]:" (gp and m only from Go 1.22 on, and not in a panic's)
_HEADER = re.compile(r"goroutine (\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[([^],]*).*\]:")
_SLEEP_CALL = re.compile(r"^time\.Sleep\(.*\)$", re.MULTILINE)
_PC = re.compile(r"PC=(0x[0-9a-f]+) m=(\d+) ")

#: (state, frames) → how many.
Counted = Counter[tuple[str, tuple[str, ...]]]

#: What the runtime says when it cannot make sense of a stack or the heap.
BROKEN = ("fatal error", "unexpected return pc", "unknown pc", "bad pointer", "invalid pointer")


@dataclass(frozen=True)
class Goroutine:
    """``number`` 0 is a thread's own stack. ``frames`` are the functions, the innermost first, then its creator's."""

    number: int
    state: str
    frames: tuple[str, ...]


@dataclass(frozen=True)
class Thread:
    """A thread that took the signal at ``pc`` (not as linked, in a PIE), and the first stack printed after that."""

    pc: int
    first: Goroutine


def read_goroutines(text: str) -> list[Goroutine]:
    """Every goroutine of a traceback, in its order."""
    found: list[Goroutine] = []
    lines = iter(text.splitlines())
    for line in lines:
        if header := _HEADER.fullmatch(line):
            frames = [each for each in itertools.takewhile(_is_frame, lines) if not each.startswith("\t")]
            found.append(Goroutine(int(header[1]), header[2], tuple(map(_function, frames))))
    return found


def read_threads(text: str) -> list[Thread]:
    """Every thread of a crash dump (GOTRACEBACK=crash), in its order."""
    pieces = _PC.split(text)[1:]
    return [Thread(int(pieces[i], 16), read_goroutines(pieces[i + 2])[0]) for i in range(0, len(pieces), 3)]


def sleepers(goroutines: list[Goroutine]) -> Counted:
    """Every goroutine in time.Sleep, counted by state and frames; the runtime's own frames at both ends left out."""
    return Counter(
        (each.state, tuple(frame for frame in each.frames if frame not in ("runtime.gopark", "runtime.goexit")))
        for each in goroutines
        if "time.Sleep" in each.frames
    )


def in_system_calls(counted: Counted) -> Counted:
    """The same goroutines, in a system call where stock has them parked: what strategy sleep makes of them."""
    return Counter({("syscall", frames): count for (_, frames), count in counted.items()})


def signs_of_breakage(text: str) -> list[str]:
    """The lines in which the runtime says that it cannot make sense of a stack or the heap."""
    return [line for line in text.splitlines() if any(sign in line for sign in BROKEN)]


def durations_told(text: str) -> Counter[str]:
    """Every ``time.Sleep(0x…)`` of a traceback, as printed, counted."""
    return Counter(_SLEEP_CALL.findall(text))


def is_whole_sleeper(goroutine: Goroutine) -> bool:
    """True from time.Sleep to where every goroutine begins."""
    return goroutine.frames[0] == "time.Sleep" and "runtime.goexit" in goroutine.frames


def _is_frame(line: str) -> bool:
    """A goroutine ends with an empty line, or with the first register's value."""
    return line.startswith(("\t", "created by ")) or line.endswith(")")


def _function(line: str) -> str:
    """``main.(*crew).sleep(0x1, {0x2, 0x3})`` → ``main.(*crew).sleep``; "created by main.f in goroutine 1" as it is."""
    return line if line.startswith("created by ") else line[: line.rindex("(")]
