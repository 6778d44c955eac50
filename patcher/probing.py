"""Where the kernel can watch a stock program wait, without a change to it: places for its uprobes."""

from dataclasses import dataclass
from pathlib import Path

from patcher.file.content import check_file
from patcher.golang.functions import Functions
from patcher.golang.image import GoImage, read_image
from patcher.isolation import isolated
from patcher.planning import refuse_unfit
from patcher.source import AnyPath, Content, readable
from patcher.strategies.netpoll.strategy import CODES

# Where the runtime runs a timer that is due, and which of its arguments the timer and the time are (runtime/time.go):
# (t *timer).unlockAndRun(now int64) from Go 1.23 on, runOneTimer(pp *p, t *timer, now int64) before.
_TIMERS = {"runtime.(*timer).unlockAndRun": (0, 1), "runtime.runOneTimer": (1, 2)}


@dataclass(frozen=True)
class WaitProbe:
    """A place in the program's file that waits of the scheduler pass, and no patch changes.

    ``delay``: the register, as the kernel names it, that holds for how many ns it is to wait (0: only look, negative:
    until something happens).
    """

    name: str
    offset: int
    delay: str


@dataclass(frozen=True)
class TimerProbe:
    """A place that every timer passes when it goes off; registers that hold the timer's address, and the time in ns."""

    offset: int
    timer: str
    now: str


@dataclass(frozen=True)
class Probes:
    """Where a program can be watched. ``timer`` is None where its release is not known to run timers so."""

    go: str
    waits: tuple[WaitProbe, ...]
    timer: TimerProbe | None


def probes(program: AnyPath | Content) -> Probes:
    """Where a stock program's waits and timers can be watched, all of them.

    Raises the errors of reading it, and as ``patch`` where there is nothing to patch.
    """
    with readable(program) as source:
        check_file(source.path)
        return isolated(source.path, f"{__name__}:found", Probes, keep=source.keep)


def found(path: Path) -> Probes:
    """What ``probes`` finds: its job in the child process."""
    functions = Functions(read_image(path))
    refuse_unfit(functions)
    image = functions.image
    traced = image.isa.traced
    waits = [
        WaitProbe(site.call.name, image.offset_of(at), traced(site.delay))
        for site in CODES.of(functions).locate(functions)
        for at in site.before
    ]
    return Probes(image.build.version, tuple(waits), _timer(functions, image))


def _timer(functions: Functions, image: GoImage) -> TimerProbe | None:
    for name, places in _TIMERS.items():
        if functions.all(name):
            timer, now = (image.isa.traced(image.isa.abi.arguments[each]) for each in places)
            return TimerProbe(image.offset_of(functions.one(name).start), timer, now)
    return None
