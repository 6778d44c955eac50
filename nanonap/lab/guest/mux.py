"""Many lines over one: the guest has one port, and every run, request and client needs a stream of its own.

Both ends use this class. A frame is a channel's number, what it is, and so many bytes (big endian). Only the host
opens channels; either end closes one, and what was sent before is still delivered.
Standard library only: the agent in the guest has nothing else.
"""

import contextlib
import itertools
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable

_FRAME = struct.Struct(">IBI")
_OPEN, _DATA, _CLOSE = 1, 2, 3
_CHUNK = 1 << 16


class Mux:
    """One end. Each channel is a stream socket here; a thread each way carries it, so that none can stop another."""

    def __init__(self, descriptor: int, on_open: Callable[[socket.socket], None] | None = None) -> None:
        """``descriptor`` is read and written until its end; ``on_open`` gets each channel the other end opens,
        in a thread of its own, and closes it.
        """
        # One of its own, closed when no thread writes any more: the owner's number may soon be another file's.
        self._descriptor = os.dup(descriptor)
        self._on_open = on_open
        self._writing = threading.Lock()
        self._numbers = itertools.count(1)
        self._channels: dict[int, queue.SimpleQueue[bytes | None]] = {}
        self._lock = threading.Lock()
        self._ended = False

    def run(self) -> None:
        """Carry frames until the descriptor ends; then every channel ends. One thread's work."""
        try:
            while True:
                number, kind, size = _FRAME.unpack(self._read(_FRAME.size))
                data = self._read(size)
                if kind == _OPEN:
                    self._opened(number)
                elif (waiting := self._channels.get(number)) is not None:
                    waiting.put(data if kind == _DATA else None)
        except (EOFError, OSError):
            with self._lock:
                self._ended = True
                left = list(self._channels.values())
            for waiting in left:
                waiting.put(None)
            self._close_after_the_last()

    def open(self) -> socket.socket:
        """A new channel to the other end."""
        ours, theirs = socket.socketpair()
        self.attach(theirs)
        return ours

    def attach(self, stream: socket.socket) -> None:
        """Make a channel of a socket, which belongs to this object from now on."""
        number = next(self._numbers)
        waiting = self._waiting(number)
        with contextlib.suppress(OSError):  # with the descriptor ended, the channel ends at once
            self._send(number, _OPEN)
        self._carry(number, stream, waiting)

    def _opened(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        self._carry(number, theirs, self._waiting(number))
        if self._on_open is not None:
            threading.Thread(target=self._on_open, args=(ours,), daemon=True).start()

    def _waiting(self, number: int) -> "queue.SimpleQueue[bytes | None]":
        """What the channel of that number is given."""
        waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._lock:
            self._channels[number] = waiting
            if self._ended:
                waiting.put(None)
        return waiting

    def _carry(self, number: int, stream: socket.socket, waiting: "queue.SimpleQueue[bytes | None]") -> None:
        threading.Thread(target=self._outward, args=(number, stream, waiting), daemon=True).start()
        threading.Thread(target=self._inward, args=(stream, waiting), daemon=True).start()

    def _outward(self, number: int, stream: socket.socket, waiting: "queue.SimpleQueue[bytes | None]") -> None:
        with contextlib.suppress(OSError):
            while data := stream.recv(_CHUNK):
                self._send(number, _DATA, data)
        with contextlib.suppress(OSError):
            self._send(number, _CLOSE)
        with self._lock:
            self._channels.pop(number, None)
        waiting.put(None)
        self._close_after_the_last()

    @staticmethod
    def _inward(stream: socket.socket, waiting: "queue.SimpleQueue[bytes | None]") -> None:
        with contextlib.suppress(OSError):
            while (data := waiting.get()) is not None:
                stream.sendall(data)
        # Both ways: the other end has closed, so nobody reads what would still be sent, and _outward ends as well.
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)
        stream.close()

    def _close_after_the_last(self) -> None:
        with self._lock:
            if self._ended and not self._channels and self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _send(self, number: int, kind: int, data: bytes = b"") -> None:
        frame = memoryview(_FRAME.pack(number, kind, len(data)) + data)
        with self._writing:
            while frame:
                frame = frame[os.write(self._descriptor, frame) :]

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = os.read(self._descriptor, size - len(data))
            if not more:
                raise EOFError
            data += more
        return bytes(data)
