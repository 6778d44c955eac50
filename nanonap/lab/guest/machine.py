"""A running guest: QEMU started, its agent answering, requests and files to it, its end."""

import contextlib
import io
import socket
import tarfile
import threading
from pathlib import Path
from typing import Any

from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.accelerator import Memory
from nanonap.lab.guest.architecture import Architecture
from nanonap.lab.guest.image import Image
from nanonap.lab.guest.mux import Mux
from nanonap.lab.guest.qemu import Qemu, escaped
from nanonap.lab.guest.recipe.boot import BANNER, PORT
from nanonap.lab.guest.wire import GuestGone, Line, error_from_json

#: How long a boot may take; under emulation it takes 5 to 15 s on a machine that does nothing else.
BOOT_PATIENCE_S = {"kvm": 20.0, "tcg": 150.0}
_ANSWER_PATIENCE_S = 600.0  # an engine in it is asked several times for one answer
CPUS = 2
#: What process 1 is, by what the guest is to have.
INITS = {"bare": "/usr/lib/nanonap/boot.py", "systemd": "/sbin/init"}


class Machine:
    """A booted guest, until ``close``. Anything of it is gone then; its image is only read."""

    def __init__(self, image: Image, init: str, backend: str, accelerator: str) -> None:
        """Boot. ``init`` is a key of INITS, ``accelerator`` kvm or tcg. Raises QuotaUnavailable."""
        self.accelerator = accelerator
        self._backend = backend
        self._qemu = Qemu(image, backend, accelerator)
        self._listener: socket.socket | None = None
        self._port: socket.socket | None = None
        try:
            self._port = self._start(image, init)
            self._hand_over(self._port)
            self._mux = Mux(self._port.fileno())
            threading.Thread(target=self._mux.run, daemon=True).start()
            self._listen()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._qemu.process.pid if self._qemu.process is not None else 0

    @property
    def address(self) -> Path:
        """The Unix socket that clients connect to: each connection is a line to the agent."""
        return self._qemu.folder / "agent"

    @property
    def console(self) -> str:
        """What kernel and processes wrote to the serial console so far."""
        return self._qemu.written("console")

    def _start(self, image: Image, init: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            more = [
                *("-blockdev", f"file,filename={escaped(image.root)},node-name=root,read-only=on"),
                *("-device", "virtio-blk-pci,drive=root"),
                *("-chardev", f"socket,id=agent,fd={theirs.fileno()}"),
                *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=agent,name={PORT}"),
            ]
            words = _command_line(image.kind.architecture, init, self.accelerator)
            self._qemu.start(CPUS, image.initrd, words, more, fds=[theirs.fileno()])
        return ours

    def _hand_over(self, port: socket.socket) -> None:
        # What BANNER's module says.
        patience_s = BOOT_PATIENCE_S[self.accelerator]
        port.settimeout(patience_s)
        try:
            banner = b""
            while len(banner) < len(BANNER):
                data = port.recv(len(BANNER) - len(banner))
                if not data:
                    raise self._qemu.failed("the guest ended while it booted")
                banner += data
            archive = project_archive()
            port.sendall(len(archive).to_bytes(8, "big") + archive)
        except TimeoutError as error:
            raise self._qemu.failed(f"the guest did not boot within {patience_s:.0f} s") from error
        except ConnectionError as error:
            raise self._qemu.failed("the guest ended while it booted") from error
        port.settimeout(None)

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.address))
        self._listener.listen()
        threading.Thread(target=_accept, args=(self._listener, self._mux), daemon=True).start()

    def ask(self, request: dict[str, Any], payload: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """One request to the agent, and its answer with what bytes it has. Raises QuotaUnavailable, UsageError."""
        line = Line(self._mux.open())
        line.socket.settimeout(_ANSWER_PATIENCE_S)
        try:
            line.send(request, payload)
            answer, data = line.receive()
        except (GuestGone, OSError) as error:
            raise self._qemu.failed(f"the guest did not answer ({error or type(error).__name__})") from error
        finally:
            line.close()
        if "error" in answer:
            raise error_from_json(answer["error"], self._backend)
        return answer, data

    def close(self) -> None:
        """End the guest and remove what it had on the host. Safe to call twice."""
        if self._listener is not None:
            # Closing alone would leave the accepting thread asleep (accept(2) holds the description).
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._qemu.close()
        if self._port is not None:
            with contextlib.suppress(OSError):
                self._port.shutdown(socket.SHUT_RDWR)


def boot(image: Image, init: str, backend: str) -> Machine:
    """A guest with KVM where that works here, else emulated. Raises QuotaUnavailable."""
    memory = Memory(image)
    if memory.try_kvm():
        try:
            machine = Machine(image, init, backend, "kvm")
        except QuotaUnavailable:
            memory.kvm_works(False)
        else:
            memory.kvm_works(True)
            return machine
    return Machine(image, init, backend, "tcg")


def project_archive() -> bytes:
    """A tar of the modules that the agent imports, and of all others of the package."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted((PROJECT / "nanonap").rglob("*.py")):
            tar.add(path, path.relative_to(PROJECT))
    return out.getvalue()


def _command_line(architecture: Architecture, init: str, accelerator: str) -> str:
    clock = architecture.clock if accelerator == "tcg" else ""
    console = f"console={architecture.console}"
    return f"{clock}{console} loglevel=4 panic=-1 systemd.show_status=0 nanonap_init={INITS[init]}"


def _accept(listener: socket.socket, mux: Mux) -> None:
    with contextlib.suppress(OSError):
        while True:
            mux.attach(listener.accept()[0])
