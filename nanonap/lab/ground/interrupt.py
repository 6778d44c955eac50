"""Ctrl-C, SIGTERM and SIGHUP while measuring: noted, the running child ended, and acted upon at a safe place."""

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from nanonap.base.errors import Interrupted, NanonapError
from nanonap.base.interrupts import listening
from nanonap.lab.ground.watchdog import guard

_LINE = 4096  # bytes: what a child that waits has written at once


@dataclass(frozen=True)
class Finished:
    """How a child ended: its status (negative: the signal), what it wrote, whether it had to be ended for time.

    ``met``: what the ``meet`` of ``Stop.run`` gave; None where it was not called.
    """

    status: int
    stdout: bytes
    stderr: str
    timed_out: bool
    met: Any = None


class Stop:
    """Runs one child at a time, and knows whether the user wants to stop.

    A handler that raised would leave a group half-made or a record half-written, so it only notes the wish
    and ends the child; `check` raises where nothing is half-done.
    """

    def __init__(self) -> None:
        """Nobody wants to stop yet."""
        self.signal: signal.Signals | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take these signals while the block runs (in the main thread; elsewhere they cannot be taken)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with listening(self._note):
            yield

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._end_child()

    def check(self) -> None:
        """Raises Interrupted if the user wants to stop."""
        if self.signal is not None:
            raise Interrupted(f"interrupted by {self.signal.name}")

    def run(self, argv: Sequence[str], timeout_s: float, meet: Callable[[str], Any] | None = None) -> Finished:
        """Run a child to its end, or end it and all it started. Raises Interrupted, and OSError if it cannot start.

        The child has a session of its own, so that the terminal's Ctrl-C comes here first and only here. ``meet`` is
        given the line with which a child says that it waits; the child is told to go on when that has returned, and
        ended when it raises a NanonapError, which is raised here.
        """
        self.check()
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if meet is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as child:
            self._child = child
            timed_out, met = False, None
            guard.watch_session(child.pid)  # a bench that is killed ends it no more
            try:
                # The wish may have come before there was a child to end.
                if self.signal is not None:
                    self._end_child()
                line = None if meet is None else _first_line(child, timeout_s)
                if meet is not None and line:
                    met = meet(line)
                try:
                    stdout, stderr = child.communicate(b"go\n" if line else None, timeout=timeout_s)
                except subprocess.TimeoutExpired:
                    timed_out = True
                    self._end_child()
                    stdout, stderr = child.communicate()
            except NanonapError:
                self.check()  # a child that was ended cannot be met
                raise
            finally:
                self._end_child()
                self._child = None
                guard.forget_session(child.pid)
        self.check()
        return Finished(child.returncode, stdout, stderr.decode(errors="replace"), timed_out, met)

    def _end_child(self) -> None:
        child = self._child
        # While it is not reaped the number is still the child's own; it may just have been, in the frame interrupted.
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _first_line(child: subprocess.Popen[bytes], timeout_s: float) -> str:
    """What a child says and then waits for an answer; "" for one that ended, or is late."""
    if child.stdout is None or not select.select([child.stdout], [], [], timeout_s)[0]:
        return ""
    return os.read(child.stdout.fileno(), _LINE).decode(errors="replace")
