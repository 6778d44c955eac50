"""A process of the user's: started without a shell, heard in part, watched, and ended with all it started."""

import contextlib
import http.client
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from nanonap.base.errors import UsageError
from nanonap.lab.ab.errors import LoadFailed, NeverReady, PortTaken, ServiceDied
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.run.runner import ending

BINARY = "{binary}"
_KEPT = 1 << 22
_LAST_WORDS = 300
_LINE = 1 << 16
_LOOK_S, _ASK_S, _HEARD_S, _SETTLE_S = 0.25, 2.0, 5.0, 1.0
_GRACE_S = 20.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Child:
    """A child in a session of its own; the last ``_KEPT`` bytes of each of its streams are kept."""

    def __init__(self, argv: Sequence[str], line: re.Pattern[str] | None = None) -> None:
        """Start it. ``line``: what to look for in each line it writes. Raises OSError."""
        self.matched = threading.Event()
        self.stdout, self.stderr = bytearray(), bytearray()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )
        guard.watch_session(self.process.pid)
        self.ends = os.pidfd_open(self.process.pid)
        streams = ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        self._hearing = [
            threading.Thread(target=_hear, args=(*each, line, self.matched), daemon=True) for each in streams
        ]
        for each in self._hearing:
            each.start()

    @property
    def last_words(self) -> str:
        """For a message: the end of what it wrote, errors if there are any."""
        text = (bytes(self.stderr).strip() or bytes(self.stdout).strip())[-4 * _LAST_WORDS :]
        return " ".join(text.decode(errors="replace").split())[-_LAST_WORDS:] or "none"

    def told(self) -> str:
        """How it ended, and its last words, once all that it wrote was heard."""
        for each in self._hearing:
            each.join(_HEARD_S)
        return f"{ending(self.process.returncode)}; its last words: {self.last_words}"

    def close(self, *, ask: bool) -> None:
        """End it, by SIGTERM if ``ask``, and then whatever is left of its group."""
        if ask and self.process.poll() is None:
            self.process.terminate()
            select.select([self.ends], [], [], _GRACE_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        guard.forget_session(self.process.pid)
        for each in self._hearing:
            each.join(_HEARD_S)
        os.close(self.ends)


def _hear(stream: IO[bytes], kept: bytearray, line: re.Pattern[str] | None, matched: threading.Event) -> None:
    rest = b""
    with stream:
        while data := stream.read(_LINE):
            kept += data
            del kept[:-_KEPT]
            if line is not None and not matched.is_set():
                *lines, rest = (rest + data).split(b"\n")
                if any(line.search(each.decode(errors="replace")) for each in lines):
                    matched.set()
                rest = rest[-_LINE:]


def words(option: str, text: str) -> list[str]:
    """A command as words; nothing in it is a shell's. Raises UsageError."""
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--{option}: not a command ({error}): quote it as for a shell") from error
    if not found:
        raise UsageError(f"--{option} is empty: give a command")
    return found


@dataclass(frozen=True)
class Ready:
    """What says that a service is ready. ``kind``: tcp, url, line, or alive: it lives for a second."""

    kind: str
    text: str = ""
    place: tuple[str, int] | None = None
    line: re.Pattern[str] | None = None

    def check_free(self) -> None:
        """Raises PortTaken where somebody answers already."""
        if self.place is not None and _answers(self.place):
            raise PortTaken(
                f"{self.place[0]}:{self.place[1]} is taken: somebody answers there before the service was started; "
                "end that process, or give the service another port"
            )

    def met(self, child: Child, since: float) -> bool:
        """Whether a child that was started then (monotonic, s) is ready."""
        if self.kind == "line":
            return child.matched.is_set()
        if self.kind == "alive":
            return time.monotonic() >= since + _SETTLE_S
        return self.place is not None and _answers(self.place) and (self.kind == "tcp" or _gets(self.text))


def parse_ready(text: str | None) -> Ready:
    """``tcp:[HOST:]PORT``, ``url:http://…``, ``line:REGEX``, or None. Raises UsageError."""
    if text is None:
        return Ready("alive")
    kind, _, rest = text.partition(":")
    try:
        if kind == "tcp":
            host, _, port = rest.rpartition(":")
            if 0 < int(port) < 1 << 16:
                return Ready(kind, rest, (host.strip("[]") or "localhost", int(port)))
        elif kind == "url":
            parts = urlsplit(rest)
            if parts.scheme in ("http", "https") and parts.hostname:
                return Ready(kind, rest, (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)))
        elif kind == "line" and rest:
            return Ready(kind, rest, line=re.compile(rest))
    except (ValueError, re.error) as error:
        raise UsageError(f"--ready {text}: {error}") from error
    raise UsageError(f"--ready {text}: write tcp:PORT, url:http://HOST:PORT/PATH or line:REGEX")


def _answers(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=_ASK_S).close()
    except OSError:
        return False
    return True


def _gets(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=_ASK_S):
            return True
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False


@contextlib.contextmanager
def serving(argv: Sequence[str], name: str, ready: Ready, within_s: float, stop: Stop) -> Iterator[Child]:
    """A service that is ready, for the length of the block; then it is asked to end.

    Raises PortTaken, ServiceDied, NeverReady, Interrupted.
    """
    ready.check_free()
    try:
        child = Child(argv, ready.line)
    except OSError as error:
        raise ServiceDied(f"{name}: {argv[0]} cannot be started ({error.strerror})") from error
    try:
        since = time.monotonic()
        while not ready.met(child, since):
            stop.check()
            _check_lives(child, name, "before it was ready")
            if time.monotonic() > since + within_s:
                raise NeverReady(
                    f"{name}: not ready within {within_s:g} s (--ready, --within); its last words: {child.last_words}"
                )
            select.select([child.ends], [], [], 0.02)
        _check_lives(child, name, "when it was ready")
        yield child
        _check_lives(child, name, "under its load")
    finally:
        child.close(ask=True)


def _check_lives(child: Child, name: str, when: str) -> None:
    if child.process.poll() is not None:
        raise ServiceDied(f"{name}: it ended {when}: {child.told()}")


def drive(argv: Sequence[str], service: int, limit_s: float, stop: Stop) -> tuple[int, str, str]:
    """Run the load beside a service, known by its pidfd: (ns that it took, its stdout, its stderr).

    Returns early when the service ends, which the caller tells. Raises LoadFailed, Interrupted.
    """
    begun = time.monotonic_ns()
    try:
        load = Child(argv)
    except OSError as error:
        raise LoadFailed(f"the load: {argv[0]} cannot be started ({error.strerror})") from error
    try:
        took_ns = 0
        while True:
            ended = select.select([load.ends, service], [], [], _LOOK_S)[0]
            took_ns = time.monotonic_ns() - begun
            if ended:
                break
            stop.check()
            if took_ns > limit_s * 1e9:
                raise LoadFailed(f"the load: still running after {limit_s:g} s (--limit); {load.last_words}")
    finally:
        load.close(ask=False)
    stop.check()
    # A service that dies takes its load along, and may be seen to be dead a moment after it.
    if load.process.returncode and not select.select([service], [], [], _LOOK_S)[0]:
        raise LoadFailed(f"the load: {load.told()}")
    return took_ns, load.stdout.decode(errors="replace"), load.stderr.decode(errors="replace")
