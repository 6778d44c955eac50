"""A run inside the guest, as a command of the host: ``python -m nanonap.lab.guest.client SOCKET GROUP -- COMMAND …``.

Sends in the files that the command names and the guest lacks, runs it in the group, and gives out its output and its
end as its own. Killed, it takes the run with it: the guest's agent sees the line end.
Standard library only, for a quick start.
"""

import contextlib
import hashlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nanonap.lab.guest.wire import GuestGone, Line

FAILED = 96
"""The exit status when the guest, not the command, failed; no program measured here uses it."""


def main(arguments: Sequence[str]) -> int:
    """The command's exit status, or its signal as the caller's own end."""
    address, group, _, *argv = arguments
    try:
        inside = [_sent_in(address, word) for word in argv]
        status = _run(address, int(group), inside)
    except (GuestGone, OSError, KeyError) as error:
        print(f"the guest ended or refused the run: {error}", file=sys.stderr)
        return FAILED
    return end_as(status)


def end_as(status: int) -> int:
    """Give an exit status back; with a negative one end by that signal."""
    if status < 0:
        # The guest's own end is not to leave a core file here.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _sent_in(address: str, word: str) -> str:
    path = Path(word)
    try:
        if "/" not in word or not path.is_file() or not os.access(path, os.X_OK):
            return word
    except OSError:  # too long for a name: no file's
        return word
    content = path.read_bytes()
    key = {"sha256": hashlib.sha256(content).hexdigest(), "name": path.name}
    known, _ = ask(address, {"do": "has", "path": word, **key})
    if known["path"] is None:
        known, _ = ask(address, {"do": "put", **key}, content)
    return str(known["path"])


def ask(address: str, request: dict[str, Any], payload: bytes = b"") -> tuple[dict[str, Any], bytes]:
    """One request to the guest and its answer. Raises GuestGone, OSError."""
    with contextlib.closing(_connect(address)) as line:
        line.send(request, payload)
        answer, data = line.receive()
    if "error" in answer:
        error = answer["error"]
        raise GuestGone(error.get("message") or f"{error.get('reason')}; {error.get('remedy')}")
    return answer, data


def _connect(address: str) -> Line:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.connect(address)
    return Line(stream)


def _run(address: str, group: int, argv: list[str]) -> int:
    go_variables = {name: value for name, value in os.environ.items() if name.startswith("GO")}
    with contextlib.closing(_connect(address)) as line:
        line.send({"do": "run", "group": group, "argv": argv, "environment": go_variables})
        while True:
            message, data = line.receive()
            if "status" in message:
                return int(message["status"])
            if "error" in message:
                raise GuestGone(message["error"].get("message", message["error"]))
            output = sys.stdout if message["stream"] == "stdout" else sys.stderr
            output.buffer.write(data)
            output.buffer.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
