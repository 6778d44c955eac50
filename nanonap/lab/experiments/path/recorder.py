"""The recorder of ``lab.attribution``, with the system calls that wait and the kernel's timers beside the threads.

Run as ``python -m nanonap.lab.experiments.path.recorder`` by ``Recording``; standard library only.
"""

from pathlib import Path

from nanonap.lab.attribution.recorder import main
from nanonap.lab.attribution.tracefs import COMM_LENGTH, Instance

WAITS = ("epoll_pwait", "epoll_pwait2", "nanosleep", "clock_nanosleep")
#: Since Linux 5.11: no program waits in it on a kernel before that.
_LATER = "epoll_pwait2"
#: In the program's own threads. A timer is armed in the context of the thread that is to wait for it.
_OWN = (*(f"syscalls/sys_{end}_{name}" for name in WAITS for end in ("enter", "exit")), "timer/hrtimer_start")
#: A timer expires in an interrupt, in the context of whatever task the CPU runs.
_EVERY = ("timer/hrtimer_expire_entry",)


class Waits(Instance):
    """Of the programs that are named as this one."""

    def _enable_all(self, program: str) -> None:
        super()._enable_all(program)
        enable(self.folder / "events", program)


def enable(events: Path, program: str) -> None:
    """Record the waiting calls and the timers. Raises OSError where one that every kernel has is not there.

    Without its event a call would count as one that nobody makes.
    """
    for event in (*_OWN, *_EVERY):
        place = events / event
        if event.endswith(_LATER) and not place.exists():
            continue
        if event in _OWN:
            (place / "filter").write_text(f'comm == "{program[:COMM_LENGTH]}"', encoding="ascii")
        (place / "enable").write_text("1", encoding="ascii")


if __name__ == "__main__":
    raise SystemExit(main(Waits))
