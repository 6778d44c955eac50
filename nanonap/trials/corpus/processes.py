"""The processes of a campaign: each with a time limit, a session of its own, and an end when the campaign ends."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.errors import Interrupted

_GRACE_S = 60  # a server that was asked to end, on a busy machine


@dataclass(frozen=True)
class Finished:
    """An ended process: its exit status (negative: the signal), what it wrote, whether its time ran out."""

    status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool

    @property
    def text(self) -> str:
        """Everything that it wrote, errors last."""
        return (self.stdout + self.stderr).decode("utf-8", "replace")


class Processes:
    """Starts processes and can end all of them at once, from another thread; none starts after that."""

    def __init__(self) -> None:
        """With nothing started."""
        self._live: set[int] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        limit_s: float,
        stdin: bytes = b"",
        merged: bool = False,
    ) -> Finished:
        """Run to the end, or to the limit (seconds); then what it left in its session is killed.

        ``merged`` puts standard error into standard output, in order. Output goes through files: a grandchild that
        keeps a pipe open cannot hold the campaign. Raises Interrupted once ``stop`` was called, and OSError when the
        command cannot be started.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as fed:
            fed.write(stdin)
            fed.seek(0)
            with self._started(
                command, cwd, environment, fed.fileno(), out.fileno(), -1 if merged else err.fileno()
            ) as (process):
                try:
                    process.wait(limit_s)
                    timed_out = False
                except subprocess.TimeoutExpired:
                    timed_out = True
            self._refuse_if_stopped()
            out.seek(0)
            err.seek(0)
            return Finished(process.returncode, out.read(), err.read(), timed_out)

    @contextlib.contextmanager
    def serving(
        self, command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str], log: Path
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A server for the length of the block, its output in ``log``; SIGTERM at the end, SIGKILL if that is no use.

        After the block, ``returncode`` tells how it ended (-9: it did not end when asked).
        """
        with (
            log.open("wb") as stream,
            self._started(command, cwd, environment, subprocess.DEVNULL, stream.fileno(), -1) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_S)

    @contextlib.contextmanager
    def _started(
        self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str], fed: int, out: int, err: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:  # so that stop() sees every process that is started
            self._refuse_if_stopped()
            process = subprocess.Popen(
                [str(each) for each in command],
                cwd=cwd,
                env=dict(environment),
                stdin=fed,
                stdout=out,
                stderr=subprocess.STDOUT if err == -1 else err,
                start_new_session=True,
            )
            self._live.add(process.pid)
        try:
            yield process
        finally:
            _kill_group(process.pid)
            process.wait()
            with self._lock:
                self._live.discard(process.pid)

    def stop(self) -> None:
        """Kill whatever runs; let nothing start any more."""
        with self._lock:
            self._stopped = True
            for pid in self._live:
                _kill_group(pid)

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise Interrupted("the campaign was interrupted")


@contextlib.contextmanager
def heard_signals() -> Iterator[None]:
    """Let processes that start within the block hear SIGINT, SIGQUIT and SIGHUP though this one ignores them.

    A shell lets its background jobs ignore the first two and nohup the third, and what is ignored stays so across
    execve(2); tests of signals then fail, or skip, in stock too. A handler that does nothing is not inherited.
    To be used in the main thread.
    """
    known = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    ignored = [each for each in known if signal.getsignal(each) == signal.SIG_IGN]
    try:
        for each in ignored:
            signal.signal(each, lambda *_: None)
        yield
    finally:
        for each in ignored:
            signal.signal(each, signal.SIG_IGN)


def _kill_group(pid: int) -> None:
    """Kill a session's leader and what remains in its process group, which has the leader's number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
