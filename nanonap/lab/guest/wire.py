"""What host and guest say to each other: messages of one JSON line and so many bytes, and what is in them.

Standard library only: the agent in the guest has nothing else.
"""

import json
import socket
from typing import Any

from nanonap.base.errors import NanonapError, UsageError
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.limits import Limits, Quota

_CHUNK = 1 << 18


class GuestGone(Exception):
    """The other end closed the line in the middle of something."""


class Line:
    """Messages over a stream socket. A message is a dict (JSON), with ``size`` bytes behind it where there are any."""

    def __init__(self, stream: socket.socket) -> None:
        """Own the socket."""
        self.socket = stream
        self._buffer = bytearray()

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """One message. Raises OSError if nobody listens any more."""
        header = json.dumps({**message, "size": len(payload)} if payload else message)
        self.socket.sendall(header.encode() + b"\n" + payload)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message and its bytes. Raises GuestGone at the end, TimeoutError if the socket has a limit."""
        while (end := self._buffer.find(b"\n")) < 0:
            self._more()
        message: dict[str, Any] = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        size = int(message.get("size", 0))
        while len(self._buffer) < size:
            self._more()
        payload = bytes(self._buffer[:size])
        del self._buffer[:size]
        return message, payload

    def _more(self) -> None:
        try:
            data = self.socket.recv(_CHUNK)
        except ConnectionError as error:
            raise GuestGone("the line was cut") from error
        if not data:
            raise GuestGone("the line was closed")
        self._buffer += data

    def close(self) -> None:
        """Tell the other end that this was all. Safe to call twice."""
        self.socket.close()


def limits_to_json(limits: Limits) -> dict[str, int | None]:
    """The fields, times in ns."""
    quota = limits.quota
    return {
        "quota_ns": quota.quota_ns,
        "period_ns": quota.period_ns,
        "burst_ns": quota.burst_ns,
        "weight": limits.weight,
        "memory_bytes": limits.memory_bytes,
    }


def limits_from_json(fields: dict[str, Any]) -> Limits:
    """The reverse of ``limits_to_json``."""
    quota = Quota(fields["quota_ns"], fields["period_ns"], fields["burst_ns"])
    return Limits(quota, fields["weight"], fields["memory_bytes"])


def error_to_json(error: Exception) -> dict[str, str]:
    """An error as it crosses the line; one that is not ours with its type, since it is a fault of the agent's."""
    if isinstance(error, QuotaUnavailable):
        return {"kind": "QuotaUnavailable", "backend": error.backend, "reason": error.reason, "remedy": error.remedy}
    if isinstance(error, UsageError):
        return {"kind": "UsageError", "message": str(error)}
    return {"kind": "other", "message": f"{type(error).__name__}: {error}"}


def error_from_json(fields: dict[str, str], backend: str) -> NanonapError:
    """The error to raise on the host, for which ``backend`` is what the user asked for."""
    if fields["kind"] == "QuotaUnavailable":
        return QuotaUnavailable(backend, f"in the guest, {fields['backend']}: {fields['reason']}", fields["remedy"])
    if fields["kind"] == "UsageError":
        return UsageError(fields["message"])
    return QuotaUnavailable(backend, f"the guest's agent failed ({fields['message']})", "report it as a bug")
