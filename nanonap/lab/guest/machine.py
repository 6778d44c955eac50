"""A running guest: QEMU started, its agent answering, requests and files to it, its end."""

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import Any

from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.guest.accelerator import OPTIONS, Memory
from nanonap.lab.guest.image import GUEST, Image
from nanonap.lab.guest.mux import Mux
from nanonap.lab.guest.recipe.boot import BANNER, PORT
from nanonap.lab.guest.wire import GuestGone, Line, error_from_json

#: How long a boot may take; under emulation it takes 5 to 15 s on a machine that does nothing else.
BOOT_PATIENCE_S = {"kvm": 20.0, "tcg": 150.0}
_ANSWER_PATIENCE_S = 600.0  # an engine in it is asked several times for one answer
CPUS = 2
_MEMORY_MIB = 1024
_LAST_CONSOLE = GUEST / "last-failed-boot.txt"
_TAIL = 600
#: What process 1 is, by what the guest is to have.
INITS = {"bare": "/usr/lib/nanonap/boot.py", "systemd": "/sbin/init"}


class Machine:
    """A booted guest, until ``close``. Anything of it is gone then; its image is only read."""

    def __init__(self, image: Image, init: str, backend: str, accelerator: str) -> None:
        """Boot. ``init`` is a key of INITS, ``accelerator`` one of OPTIONS. Raises QuotaUnavailable."""
        self.accelerator = accelerator
        self._backend = backend
        self._folder = Path(tempfile.mkdtemp(prefix="nanonap-guest-"))
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port: socket.socket | None = None
        guard.watch_path(self._folder)
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
        return self._process.pid if self._process is not None else 0

    @property
    def address(self) -> Path:
        """The Unix socket that clients connect to: each connection is a line to the agent."""
        return self._folder / "agent"

    @property
    def console(self) -> str:
        """What kernel and processes wrote to the serial console so far."""
        return self._written("console")

    def _written(self, name: str) -> str:
        # A closed guest has no folder, and another thread may close it at any time.
        try:
            return (self._folder / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _start(self, image: Image, init: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [
                "qemu-system-x86_64",
                *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
                *OPTIONS[self.accelerator],
                *("-smp", str(CPUS), "-m", str(_MEMORY_MIB)),
                *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
                *("-append", " ".join((_command_line(init, self.accelerator), *image.kind.words))),
                *("-blockdev", f"file,filename={_escaped(image.root)},node-name=root,read-only=on"),
                *("-device", "virtio-blk-pci,drive=root"),
                *("-chardev", f"socket,id=agent,fd={theirs.fileno()}"),
                *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=agent,name={PORT}"),
                *("-chardev", f"file,id=console,path={_escaped(self._folder / 'console')}"),
                *("-serial", "chardev:console"),
            ]
            with (self._folder / "stderr").open("wb") as stderr:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    cwd=self._folder,
                )
        guard.watch_session(self._process.pid)
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
                    raise self._failed("the guest ended while it booted")
                banner += data
            archive = project_archive()
            port.sendall(len(archive).to_bytes(8, "big") + archive)
        except TimeoutError as error:
            raise self._failed(f"the guest did not boot within {patience_s:.0f} s") from error
        except ConnectionError as error:
            raise self._failed("the guest ended while it booted") from error
        port.settimeout(None)

    def _failed(self, what: str) -> QuotaUnavailable:
        errors = self._written("stderr")
        with contextlib.suppress(OSError):
            _LAST_CONSOLE.write_text(f"{what} ({self.accelerator})\n{errors}\n{self.console}", encoding="utf-8")
        tail = " ".join(f"{errors} {self.console}".split())[-_TAIL:]
        reason = f"{what} ({self.accelerator}); its last words: {tail or 'none'}"
        return QuotaUnavailable(self._backend, reason, f"read {_LAST_CONSOLE}")

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
            raise self._failed(f"the guest did not answer ({error or type(error).__name__})") from error
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
        process = self._process
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            guard.forget_session(process.pid)
        if self._port is not None:
            with contextlib.suppress(OSError):
                self._port.shutdown(socket.SHUT_RDWR)
        shutil.rmtree(self._folder, ignore_errors=True)
        guard.forget_path(self._folder)


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


def _command_line(init: str, accelerator: str) -> str:
    # Emulated, the kernel finds the TSC unstable and takes hpet, which costs an exit to QEMU for each reading.
    clock = "tsc=reliable clocksource=tsc " if accelerator == "tcg" else ""
    return f"{clock}console=ttyS0 loglevel=4 panic=-1 systemd.show_status=0 nanonap_init={INITS[init]}"


def _escaped(path: Path) -> str:
    # A comma ends a value in QEMU's options; doubled it stands for itself.
    return str(path).replace(",", ",,")


def _accept(listener: socket.socket, mux: Mux) -> None:
    with contextlib.suppress(OSError):
        while True:
            mux.attach(listener.accept()[0])
