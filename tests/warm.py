"""Commands in processes of their own that need not import anew what takes seconds of CPU time, LIEF above all.

A process imports it once, and nothing else ever happens in it; each command is a child of its children. From there on
the command is what a user starts: its own arguments, folder, environment, streams, and end. What happens while an
interpreter starts is not in it: tests of that start one (``subprocess``).
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

from nanonap.base.paths import PROJECT
from tests.patience import PATIENCE_S

INVOKE = str(Path(sys.executable).with_name("invoke"))
_IMPORTED = (
    "lief", "capstone", "keystone", "unicorn", "invoke.main", "rich.console", "rich.progress", "rich.table",
    "polars", "scipy.stats", "matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2", "msgspec",
    "nanonap.cli.tasks", "nanonap.lab.main", "patcher.child",
)  # fmt: skip
_LONGEST = 1 << 17  # bytes of a request
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.005


class Started:
    """A command that runs, or has ended: the part of ``subprocess.Popen`` that tests need. It has no input."""

    def __init__(self, command: Sequence[str], pid: int, told: int, streams: Sequence[BinaryIO]) -> None:
        self.args, self.pid, self.returncode = [*command], pid, None
        self._told, self._streams = told, streams

    returncode: int | None

    def poll(self) -> int | None:
        """Its exit status, once it has ended."""
        if self.returncode is None and (text := _read(self._told)):
            os.close(self._told)
            self.returncode = os.waitstatus_to_exitcode(int(text))
        return self.returncode

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """The same, when it has ended. Raises TimeoutExpired."""
        until = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                self.kill()
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(_POLL_S)
        return status

    def communicate(self, timeout: float = PATIENCE_S) -> tuple[str, str]:
        """All that it said, on stdout and on stderr, when it has ended."""
        self.wait(timeout)
        return self.said()

    def said(self) -> tuple[str, str]:
        """What it said so far."""
        out, err = (os.pread(each.fileno(), os.fstat(each.fileno()).st_size, 0).decode() for each in self._streams)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wait()
        for each in self._streams:
            each.close()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 64)
    except BlockingIOError:
        return b""


class _Warm:
    """The process that has imported all; what it is sent it answers with the command's number."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE_S)
        with theirs:
            words = [sys.executable, "-c", "from tests.warm import main; main()", str(theirs.fileno())]
            environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=environment)

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self._process.wait()


@cache
def _warm() -> _Warm:
    """The one of this test worker."""
    process = _Warm()
    atexit.register(process.close)
    return process


def start(command: Sequence[str | Path], *, cwd: Path = PROJECT, env: Mapping[str, str] | None = None) -> Started:
    """A command that begins with a Python script, and runs from now on."""
    words = [*map(str, command)]
    ignored = [each for each in _HEARD if signal.getsignal(each) is signal.SIG_IGN]
    environment = dict(os.environ if env is None else env)
    request = {"words": words, "cwd": str(cwd), "environment": environment, "ignored": ignored}
    packet = json.dumps(request).encode()
    assert len(packet) < _LONGEST
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    streams = [os.fdopen(os.memfd_create("said"), "rb") for _ in range(2)]
    try:
        with Path(os.devnull).open("rb") as nothing:
            given = [nothing.fileno(), *(each.fileno() for each in streams), writing]
            socket.send_fds(_warm().socket, [packet], given)
        return Started(words, int(_warm().socket.recv(64)), reading, streams)
    finally:
        os.close(writing)


def run(
    command: Sequence[str | Path], *, cwd: Path = PROJECT, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """The same, when it has ended: as ``subprocess.run`` with its output captured."""
    with start(command, cwd=cwd, env=env) as started:
        said = started.communicate()
    assert started.returncode is not None
    return subprocess.CompletedProcess(started.args, started.returncode, *said)


def main() -> NoReturn:
    """Serve what comes over the descriptor that is named, until its other end is closed."""
    ours = socket.socket(fileno=int(sys.argv[1]))
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # no child is to look through all that was imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is for whoever runs the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a command is not waited for
    while True:
        packet, given, _, _ = socket.recv_fds(ours, _LONGEST, 4)
        if not packet:
            os._exit(0)
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for(json.loads(packet), given, ours)
        for each in given:
            os.close(each)


def _wait_for(request: dict[str, Any], given: Sequence[int], ours: socket.socket) -> NoReturn:
    *streams, told = given
    pid = os.fork()
    if not pid:
        ours.detach()
        _end(_become(request, streams))
    for each in streams:
        os.close(each)
    ours.send(str(pid).encode())
    os.write(told, str(os.waitpid(pid, 0)[1]).encode())
    os._exit(0)


def _become(request: dict[str, Any], streams: Sequence[int]) -> int | str | None:
    """Be the command until it returns, or raises, as a script may: what it hands to ``sys.exit``."""
    for number, each in enumerate(streams):
        os.dup2(each, number)
    os.closerange(3, 1 << 12)
    for number in _HEARD:
        heard = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else heard)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = request["words"]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1
    return None


def _end(code: int | str | None) -> NoReturn:
    """As the interpreter's own end (sys.exit), without taking down what was imported, which takes a second."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    for each in (sys.stdout, sys.stderr):
        each.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
