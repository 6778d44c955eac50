"""Real Go processes to inject into, and what their memory holds."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.live.process import entry_of
from patcher.live.spots import Spot, spots_of, stub_of
from patcher.wait import PRECISE, Wait
from tests.patience import PATIENCE_S, wait_until


@dataclass
class Running:
    """A process of gosrc's ``survive``, and the waits of its program."""

    process: subprocess.Popen[str]
    path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def memory(self, address: int, size: int) -> bytes:
        """Bytes at an address as linked."""
        image = read_image(self.path)
        with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address + entry_of(self.pid) - image.entry)
            return memory.read(size)

    def finished(self) -> dict[str, Any]:
        """Have it end; what it says of its sleeps. Fails where it does not end as it should."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, err
        told: dict[str, Any] = json.loads(out)
        assert told["ok"], told
        return told


@contextlib.contextmanager
def running(path: Path, *words: str) -> Iterator[Running]:
    """Start a program and end it behind the block, if it has not."""
    process = subprocess.Popen([path, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or _threads(process.pid) > 2)
        yield Running(process, path)
    finally:
        process.kill()
        process.communicate()


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@dataclass(frozen=True)
class Codes:
    """The bytes of a program's only wait: stock's, and stubs'."""

    functions: Functions
    spot: Spot

    @classmethod
    def of(cls, path: Path) -> "Codes":
        functions = Functions(read_image(path))
        return cls(functions, spots_of(functions)[0])

    def stub(self, wait: Wait = PRECISE) -> bytes:
        return stub_of(self.functions, self.spot, wait)

    def in_memory(self, target: Running) -> bytes:
        return target.memory(self.spot.low, self.spot.high - self.spot.low)
