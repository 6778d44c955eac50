"""Ctrl-C and its kin: from the first instruction of a command to its last, one line, status 130, nothing half-done.

Before a task begins and after it has ended there is nothing to clean up, and a signal ends the process at once. While
it runs a signal raises KeyboardInterrupt. SIGQUIT keeps its meaning: an end without cleaning up, and a core to look at.
"""

import atexit
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from nanonap.base.errors import Interrupted

#: What asks a process to end: the user (Ctrl-C), another process, the terminal that is closed.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What may raise KeyboardInterrupt, and is held back where that must not be: SIGALRM is an ENDING one put off.
HELD = (*ENDING, signal.SIGALRM)
SAID = "nanonap: interrupted; nothing half-written is left"
Handler = Callable[[int, FrameType | None], Any]
_IMPORT = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.01
_TOGETHER_S = 0.2
_raised_at = float("-inf")


def end_at_once() -> None:
    """Let a signal end this process there and then, until it is over; ``lab`` may have held it back until now."""
    _listen(_end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    atexit.register(signal.pthread_sigmask, signal.SIG_BLOCK, ENDING)  # what is done is done


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let a signal raise KeyboardInterrupt within the block."""
    with listening(_raise):
        yield


@contextlib.contextmanager
def listening(handler: Handler) -> Iterator[None]:
    """Have the handler called within the block, and behind it what was before; in the main thread only."""
    before = _listen(handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def held() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Hold these signals back; what is yielded lets them through for the length of a block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    @contextlib.contextmanager
    def let_through() -> Iterator[None]:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, HELD)

    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        yield let_through
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(handler: Handler) -> dict[signal.Signals, Any]:
    """Set the handler of each signal that is not ignored (nohup, a shell's background); what was there before."""
    heard = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    return {each: signal.signal(each, handler) for each in heard}


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, f"{SAID}\n".encode())
    os._exit(Interrupted.exit_code)


def _raise(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not into an import: a native library that is being initialised would abort.

    Signals that come together are one wish (a closed terminal sends several): a second error would be raised into
    what the first has cleaned up.
    """
    global _raised_at  # noqa: PLW0603 - a handler gets no state of its own, and a process has one set of handlers
    if time.monotonic() - _raised_at < _TOGETHER_S:
        return
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            signal.signal(signal.SIGALRM, _raise)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            return
        frame = frame.f_back
    _raised_at = time.monotonic()
    raise KeyboardInterrupt
