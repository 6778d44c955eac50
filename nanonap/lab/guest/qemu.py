"""QEMU as a process: started with a folder for what it writes, and ended with all that it had on this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.guest.image import GUEST, Image

_MEMORY_MIB = 1024
_LAST_CONSOLE = GUEST / "last-failed-boot.txt"
_TAIL = 600


class Qemu:
    """One process, not started yet, and its folder. ``backend`` and ``accelerator`` are for messages too."""

    def __init__(self, image: Image, backend: str, accelerator: str) -> None:
        """Make the folder. ``accelerator`` is a key of the architecture's ``accelerators``."""
        self._image, self._backend, self.accelerator = image, backend, accelerator
        self.folder = Path(tempfile.mkdtemp(prefix="nanonap-guest-"))
        self.process: subprocess.Popen[bytes] | None = None
        guard.watch_path(self.folder)

    def start(
        self, cpus: int, initrd: Path, words: str, more: Sequence[str], *, fds: Sequence[int] = (), shift: int = 0
    ) -> None:
        """Boot. ``words``: the kernel's command line; ``more``: further options, in which the ``fds`` may be named;
        ``shift``: where instructions are counted, each takes 2**shift ns.
        """
        architecture, kind = self._image.kind.architecture, self._image.kind
        argv = [
            architecture.qemu,
            *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
            *(each.format(shift=shift) for each in architecture.accelerators[self.accelerator]),
            *("-smp", str(cpus), "-m", str(_MEMORY_MIB)),
            *("-kernel", str(self._image.kernel), "-initrd", str(initrd)),
            *("-append", " ".join((words, *kind.words))),
            *more,
            *("-chardev", f"file,id=console,path={escaped(self.folder / 'console')}"),
            *("-serial", "chardev:console"),
        ]
        with (self.folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=fds,
                start_new_session=True,
                cwd=self.folder,
            )
        guard.watch_session(self.process.pid)

    def written(self, name: str) -> str:
        """``console`` or ``stderr`` so far. A closed guest has none, and another thread may close it at any time."""
        try:
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def failed(self, what: str) -> QuotaUnavailable:
        """The error to raise, with its last words; all of them are in a file that it names."""
        errors, console = self.written("stderr"), self.written("console")
        with contextlib.suppress(OSError):
            _LAST_CONSOLE.write_text(f"{what} ({self.accelerator})\n{errors}\n{console}", encoding="utf-8")
        tail = " ".join(f"{errors} {console}".split())[-_TAIL:]
        reason = f"{what} ({self.accelerator}); its last words: {tail or 'none'}"
        return QuotaUnavailable(self._backend, reason, f"read {_LAST_CONSOLE}")

    def close(self) -> None:
        """End it and remove the folder. Safe to call twice."""
        process = self.process
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            guard.forget_session(process.pid)
        shutil.rmtree(self.folder, ignore_errors=True)
        guard.forget_path(self.folder)


def escaped(path: Path) -> str:
    """A path in one of QEMU's options: a comma ends a value there; doubled it stands for itself."""
    return str(path).replace(",", ",,")
