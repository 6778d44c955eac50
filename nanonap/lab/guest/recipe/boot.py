"""The first stage inside the guest: takes the project's modules from the host, and becomes its agent.

It is on the image; what it fetches is not, so that the image does not depend on the project's version. On the port:
it says BANNER; the host answers with 8 bytes, the length (big endian) of a tar archive, and the archive.
"""

import io
import os
import sys
import tarfile
from pathlib import Path

BANNER = b"nanonap guest 1\n"
PORT = "nanonap"
_FOLDER = Path("/run/nanonap/project")
_PORTS = Path("/sys/class/virtio-ports")


def main() -> None:
    """Take the modules and run the agent; as process 1, beside it adopt orphans until it ends."""
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    os.environ["LANG"] = "C.UTF-8"
    if os.getpid() == 1:
        _adopt(os.fork())
    port = os.open(_device(), os.O_RDWR | os.O_CLOEXEC)
    os.write(port, BANNER)
    archive = read_exactly(port, int.from_bytes(read_exactly(port, 8), "big"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(_FOLDER)  # noqa: S202 - the host's own
    sys.path[0] = os.environ["PYTHONPATH"] = str(_FOLDER)
    from nanonap.lab.guest.agent import serve  # noqa: PLC0415 - it has only now come

    serve(port)


def _adopt(agent: int) -> None:
    # Returns in the child. When process 1 ends the kernel panics, and with panic=-1 that ends the machine.
    while agent:
        if os.wait()[0] == agent:
            sys.exit("nanonap: the agent has ended")


def _device() -> Path:
    for port in _PORTS.iterdir():
        if (port / "name").exists() and (port / "name").read_text(encoding="ascii").strip() == PORT:
            return Path("/dev", port.name)
    raise SystemExit(f"nanonap: no virtio port is called {PORT}")


def read_exactly(descriptor: int, size: int) -> bytes:
    """``size`` bytes. Raises EOFError."""
    data = bytearray()
    while len(data) < size:
        more = os.read(descriptor, min(size - len(data), 1 << 20))
        if not more:
            raise EOFError("the host has gone")
        data += more
    return bytes(data)


if __name__ == "__main__":
    main()
