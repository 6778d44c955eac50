"""A worker's hand: a process beside it that does a campaign's work, one item at a time, and may die of an item.

Over its pipes go pickles: (function, item) in, (what came of it, an error or None) out. When the worker is gone, or
ends it, the hand interrupts itself as Ctrl-C would, so that what it has started is cleaned up.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nanonap.base.errors import Interrupted
from nanonap.base.paths import PROJECT

_END_S, _IDLE_S = 5.0, 10.0


@dataclass(frozen=True)
class Done:
    """What came of an item: its result or error, or that the hand ``died`` of it, and how long it took."""

    result: Any = None
    error: BaseException | None = None
    died: bool = False
    seconds: float = 0.0


class Hand:
    """The worker's end. The process is started at first use, and anew after it died."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._batches = 0

    def work(self, batch: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Done]:
        """Have it do the items in turn; those that are left when the batch is stopped are left out."""
        done: list[Done] = []
        with self._lock:
            for item in items:
                if batch in self._stopped:
                    break
                done.append(self._do(function, item))
            self._batches += 1
            ending = threading.Timer(_IDLE_S, self._end_idle, args=(self._batches,))
            ending.daemon = True
            ending.start()
        return done

    def _end_idle(self, batches: int) -> None:
        """End the process if nothing was done since."""
        if self._lock.acquire(blocking=False):
            try:
                if self._batches == batches:
                    self.close()
            finally:
                self._lock.release()

    def stop(self, batch: str) -> None:
        """End what is done of a batch."""
        self._stopped.add(batch)
        self.close()

    def close(self) -> None:
        """End the process and what it started."""
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _do(self, function: Callable[[Any], Any], item: object) -> Done:
        began = time.monotonic()
        if self._process is None or self._process.poll() is not None:
            self._process = _start()
        sent, got = self._process.stdin, self._process.stdout
        try:
            pickle.dump((function, item), sent)  # type: ignore[arg-type]  # pipes, both of them
            sent.flush()  # type: ignore[union-attr]
            result, error = pickle.load(got)  # type: ignore[arg-type]  # noqa: S301 - of our own child
        except (EOFError, OSError, pickle.UnpicklingError):
            self._process.kill()
            self._process.wait()
            return Done(died=True, seconds=time.monotonic() - began)
        return Done(result, error, seconds=time.monotonic() - began)


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "nanonap.lab.fleet.hand"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
    )


def main() -> None:
    """In the hand: do what comes, until nothing more can."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the work prints is no answer
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    try:
        while True:
            function, item = orders.get()
            answer: tuple[Any, BaseException | None]
            try:
                answer = function(item), None
            except Exception as error:
                answer = None, error
            pickle.dump(answer, answers)
            answers.flush()
    except KeyboardInterrupt:
        os._exit(Interrupted.exit_code)


def _listen(orders: "queue.SimpleQueue[Any]") -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            orders.put(pickle.load(sys.stdin.buffer))  # noqa: S301 - of our own worker
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
