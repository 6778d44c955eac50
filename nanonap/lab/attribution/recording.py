"""The recorder seen from its parent: start it, let the program run, stop it, have the record's text."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Self, cast

from nanonap.base.paths import PROJECT
from nanonap.lab.attribution.errors import RecordingFailed, TracingUnavailable
from nanonap.lab.attribution.tracefs import KPROBES, TRACEPOINTS

TRACED = (KPROBES, TRACEPOINTS)
#: From the best to the worst: what they can tell is in ``nanonap.lab.attribution.attribute``.
_STOP_S = 120.0
RECORDER = "nanonap.lab.attribution.recorder"


class Recording:
    """Records from its making to ``stop``; as a context it ends in any case, and nothing is left behind.

    ``method`` names what is recorded, ``refusal`` why that is not the kernel's tracepoints (None if it is).
    """

    def __init__(
        self, program: Path | str, stat: Path | None = None, mode: str = "auto", recorder: str = RECORDER
    ) -> None:
        """Start, for a program that is started after this, by the name of its file; returns when it records.

        ``stat`` is the cpu.stat of the group in which the program will run. ``mode`` ``auto`` takes the best method
        that works here, ``trace`` raises TracingUnavailable if that is not tracing, ``schedstat`` and ``counters`` do
        without it. ``recorder`` is a module that is run with the same options and writes in the same way. Raises
        RecordingFailed.
        """
        command = [sys.executable, "-m", recorder, "--program", Path(program).name, "--mode", mode]
        self._process = subprocess.Popen(
            command if stat is None else [*command, "--stat", str(stat)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A session of its own: the terminal's Ctrl-C is for us, and it ends when its standard input does.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        try:
            about = self._first_line()
            self.method: str = about["method"]
            self.refusal = TracingUnavailable(about["reason"], about["remedy"]) if about["reason"] else None
            if mode == "trace" and self.refusal is not None:
                raise self.refusal
        except BaseException:
            self.close()
            raise

    def _first_line(self) -> dict[str, str]:
        line = cast(IO[bytes], self._process.stdout).readline()  # a pipe, by the arguments above
        if line:
            about: dict[str, str] = json.loads(line)
            return about
        raise self._failed()

    def stop(self) -> str:
        """End recording; returns the record's text. Raises RecordingFailed."""
        try:
            text, errors = self._process.communicate(b"stop\n", timeout=_STOP_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failed() from error
        if self._process.returncode != 0:
            raise _failure(self._process.returncode, errors)
        return text.decode(errors="replace")

    def _failed(self) -> RecordingFailed:
        _, errors = self._end()
        return _failure(self._process.returncode, errors)

    def _end(self) -> tuple[bytes, bytes]:
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            return self._process.communicate(timeout=_STOP_S)
        self._process.kill()
        return self._process.communicate()

    def close(self) -> None:
        """End the recorder, which cleans up, and wait for it. Safe to call twice."""
        if self._process.returncode is None:
            self._end()

    def __enter__(self) -> Self:
        """The recording itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close, whatever happened."""
        self.close()


def _failure(status: int | None, errors: bytes) -> RecordingFailed:
    tail = " ".join(errors.decode(errors="replace").split())[-300:] or "empty"
    return RecordingFailed(f"the recorder ended with status {status}; its stderr: {tail}; run without attribution")
