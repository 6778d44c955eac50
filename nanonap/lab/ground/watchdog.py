"""A process that cleans up for one that cannot: killed by SIGKILL, a bench leaves groups, processes and folders.

It reads from a pipe what there is to clean up. When the other end closes, by ``Watchdog.close`` or because its owner is
dead, it removes what was not taken back, and ends. A ``Watchdog`` belongs to one process and is started at first use.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanonap.base.processes import started
from nanonap.lab.ground.groups import remove_group

_PACKAGES = Path(__file__).resolve().parents[3]  # where both lie; of the lab's own places the core knows nothing
_COMMAND_PATIENCE_S = 20.0
_ATTEMPTS = 3  # somebody who kills its watchdogs again and again means it


class Watchdog:
    """The owner's end. Entries are named by what they are: adding twice is once, taking back an unknown one nothing."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._entries: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def watch_group(self, folder: Path) -> None:
        """A cgroup: what runs in it is to be ended, and it removed."""
        self._say("add", "group", str(folder))

    def watch_session(self, pid: int) -> None:
        """A child that leads a session of its own: it and its process group are to be ended."""
        self._say("add", "session", [pid, started(pid)])

    def watch_path(self, path: Path) -> None:
        """A file or folder that is to go."""
        self._say("add", "path", str(path))

    def watch_command(self, argv: list[str]) -> None:
        """A command that is to be run, when processes are ended."""
        self._say("add", "command", argv)

    def forget_group(self, folder: Path) -> None:
        """The group is gone."""
        self._say("remove", "group", str(folder))

    def forget_session(self, pid: int) -> None:
        """The child is gone."""
        self._say("remove", "session", [pid])

    def forget_path(self, path: Path) -> None:
        """The path is gone, or is to stay."""
        self._say("remove", "path", str(path))

    def forget_command(self, argv: list[str]) -> None:
        """The command need not be run."""
        self._say("remove", "command", argv)

    def close(self) -> None:
        """End the watchdog, which cleans up what is left, and wait for it."""
        with self._lock:
            if self._owner == os.getpid():
                for _ in range(_ATTEMPTS):
                    if self._entries and self._is_gone():
                        self._begin()
                    if self._ended_well():
                        break
            self._process, self._entries = None, {}

    def _ended_well(self) -> bool:
        """Whether it ended by itself, having cleaned up, now that it is told to."""
        process, self._process = self._process, None
        if process is None:
            return True
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        return process.wait() == 0

    def _say(self, verb: str, kind: str, what: object) -> None:
        line = json.dumps([verb, kind, what]).encode() + b"\n"
        with self._lock:
            if self._owner != os.getpid():  # forked: what the parent watches is the parent's
                self._process, self._entries, self._owner = None, {}, os.getpid()
            if verb == "add":
                self._entries[_key(kind, what)] = line
            else:
                self._entries.pop(_key(kind, what), None)
            if not self._is_gone():
                self._send(line)
            elif self._entries:
                self._begin()

    def _is_gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _begin(self) -> None:
        """Start one and tell it all that there is: the first, or one for another that somebody ended."""
        self._process = _start()
        for line in self._entries.values():
            self._send(line)

    def _send(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            # A watchdog that somebody ends just now is no reason to end the bench: the next word starts another.
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), line)  # one write(2): whole, and not behind a buffer


def _key(kind: str, what: Any) -> str:  # noqa: ANN401 - a number, a text or a list, by the kind
    return f"{kind} {what[0] if kind == 'session' else what}"


#: This process's own.
guard = Watchdog()


@contextlib.contextmanager
def guarded_folder(inside: Path | None = None) -> Iterator[Path]:
    """A temporary folder, in ``inside`` or where the system has them, that is removed however its user ends."""
    folder = Path(tempfile.mkdtemp(prefix="nanonap-", dir=inside))
    guard.watch_path(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        guard.forget_path(folder)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nanonap.lab.ground.watchdog"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(_PACKAGES)},
        start_new_session=True,
    )


def main() -> None:
    """Read until the pipe ends, then clean up what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    left: dict[str, tuple[str, Any]] = {}
    for line in sys.stdin:
        verb, kind, what = json.loads(line)
        if verb == "add":
            left[_key(kind, what)] = (kind, what)
        else:
            left.pop(_key(kind, what), None)
    for wanted in ("session", "group", "command", "path"):  # processes first: they would make more
        for kind, what in left.values():
            if kind == wanted:
                with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
                    _clean(kind, what)


def _clean(kind: str, what: Any) -> None:  # noqa: ANN401 - a number, a text or a list, by the kind
    if kind == "session" and started(what[0]) == what[1]:
        os.killpg(what[0], signal.SIGKILL)
    elif kind == "group":
        remove_group(Path(what))
    elif kind == "command":
        subprocess.run(what, stdin=subprocess.DEVNULL, check=False, timeout=_COMMAND_PATIENCE_S)
    elif kind == "path":
        path = Path(what)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
