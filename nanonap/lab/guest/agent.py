"""The guest's side: takes requests from the host, one a channel, and keeps the groups that they open.

The classes that limit CPU are the project's own, as users get them. Standard library only.
"""

import contextlib
import hashlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nanonap.base.paths import PROJECT
from nanonap.lab.ground.host import facts
from nanonap.lab.guest.mux import Mux
from nanonap.lab.guest.wire import GuestGone, Line, error_to_json, limits_from_json, limits_to_json
from nanonap.lab.quota.base import Backend, Group, StatFiles
from nanonap.lab.quota.choose import make_backend

#: Where the files go that the host sends.
FILES = Path("/tmp/nanonap")  # noqa: S108 - the guest's own, and nobody else is there
_CHUNK = 1 << 16
Message = dict[str, Any]


class Agent:
    """What is open in the guest: one backend at most, its groups, and the files that the host has sent."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._backend: Backend | None = None
        self._groups: dict[int, Group] = {}
        self._numbers = itertools.count(1)
        # Requests come in threads; opening and closing are not made for that.
        self._lock = threading.Lock()
        self._environment = threading.Lock()
        self._answers: dict[str, Callable[[Message, bytes], tuple[Message, bytes]]] = {
            "facts": self._facts,
            "prepare": self._prepare,
            "reset": self._reset,
            "open": self._open,
            "counters": self._counters,
            "command": self._command,
            "close": self._close,
            "has": self._has,
            "put": self._put,
            "get": self._get,
        }

    def handle(self, stream: socket.socket) -> None:
        """A channel's thread: one request, its answer, the end."""
        line = Line(stream)
        with contextlib.suppress(GuestGone, OSError), contextlib.closing(line):
            request, payload = line.receive()
            try:
                if request["do"] == "run":
                    self._run(line, request)
                else:
                    line.send(*self._answers[request["do"]](request, payload))
            except Exception as error:
                line.send({"error": error_to_json(error)})

    def _facts(self, _request: Message, _payload: bytes) -> tuple[Message, bytes]:
        return {"facts": facts()}, b""

    def _prepare(self, request: Message, _payload: bytes) -> tuple[Message, bytes]:
        with self._lock:
            self._end_all()
            backend = make_backend(request["backend"])
            backend.prepare()
            self._backend = backend
        return {}, b""

    def _reset(self, _request: Message, _payload: bytes) -> tuple[Message, bytes]:
        with self._lock:
            self._end_all()
        return {}, b""

    def _end_all(self) -> None:
        while self._groups:
            self._groups.popitem()[1].close()
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def _open(self, request: Message, _payload: bytes) -> tuple[Message, bytes]:
        with self._lock:
            if self._backend is None:
                raise RuntimeError("no backend is prepared")
            group = self._backend.open(limits_from_json(request["limits"]))
            number = next(self._numbers)
            self._groups[number] = group
        return {
            "group": number,
            "effective": limits_to_json(group.effective),
            "stat_files": _paths(group.stat_files),
        }, b""

    def _counters(self, request: Message, _payload: bytes) -> tuple[Message, bytes]:
        counters = self._groups[request["group"]].counters()
        return {"counters": None if counters is None else vars(counters)}, b""

    def _command(self, request: Message, _payload: bytes) -> tuple[Message, bytes]:
        return {"argv": self._inside(request)}, b""

    def _inside(self, request: Message) -> list[str]:
        argv = request["argv"]
        return self._groups[request["group"]].command(argv) if request.get("group") else list(argv)

    def _close(self, request: Message, _payload: bytes) -> tuple[Message, bytes]:
        with self._lock:
            group = self._groups.pop(request["group"], None)
            if group is not None:
                group.close()
        return {}, b""

    @staticmethod
    def _has(request: Message, _payload: bytes) -> tuple[Message, bytes]:
        # The image's own file of that name goes first: /bin/true is there, and the host's needs the host's libraries.
        for path in (Path(request["path"]), _place(request)):
            if path.is_absolute() and os.access(path, os.X_OK):
                return {"path": str(path)}, b""
        return {"path": None}, b""

    @staticmethod
    def _put(request: Message, payload: bytes) -> tuple[Message, bytes]:
        if hashlib.sha256(payload).hexdigest() != request["sha256"]:
            raise ValueError("the file is not what its SHA-256 says")
        path = _place(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{threading.get_ident()}")
        beside.write_bytes(payload)
        beside.chmod(0o755)
        beside.replace(path)
        return {"path": str(path)}, b""

    @staticmethod
    def _get(request: Message, _payload: bytes) -> tuple[Message, bytes]:
        return {}, Path(request["path"]).read_bytes()

    def _run(self, line: Line, request: Message) -> None:
        with self._environment, _variables(request.get("environment", {})):
            # A group may have to name the variables that go into it: those of this process.
            argv = self._inside(request)
            environment = {**os.environ, "HOME": "/root", "PYTHONPATH": str(PROJECT)}
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/tmp",  # noqa: S108 - the one folder there that can be written
            env=environment,
            start_new_session=True,
        ) as child:
            try:
                _forward(child, line)
                line.send({"status": child.wait()})
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def _variables(more: dict[str, str]) -> Iterator[None]:
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


def _forward(child: "subprocess.Popen[bytes]", line: Line) -> None:
    # Until both outputs have ended, or the host has: it says nothing more, so that its end is all there is to read.
    with selectors.DefaultSelector() as selector:
        for name in ("stdout", "stderr"):
            selector.register(getattr(child, name), selectors.EVENT_READ, name)
        selector.register(line.socket, selectors.EVENT_READ, "host")
        while len(selector.get_map()) > 1:
            for key, _ in selector.select():
                if key.data == "host":
                    raise GuestGone("the host no longer wants this run")
                data = os.read(key.fd, _CHUNK)
                if data:
                    line.send({"stream": key.data}, data)
                else:
                    selector.unregister(key.fileobj)


def _place(request: Message) -> Path:
    return Path(FILES, request["sha256"], Path(request["name"]).name)


def _paths(files: StatFiles | None) -> Message | None:
    if files is None:
        return None
    usage = None if files.usage is None else str(files.usage)
    return {"cpu_stat": str(files.cpu_stat), "version": files.version, "usage": usage}


def serve(port: int) -> None:
    """Answer until the host has gone."""
    os.environ["TMPDIR"] = "/tmp"  # noqa: S108 - see above
    sys.stdout.flush()
    Mux(port, Agent().handle).run()
