"""A guest that is given all it shall run before it boots, and ends when that is done.

Instructions are its clock, and nothing comes in from outside: the same jobs give the same bytes, each time and on each
machine. Waiting takes no time on this machine, computing takes some times as long as it says.
"""

import base64
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nanonap.lab.guest.cpio import archive, file_entries
from nanonap.lab.guest.image import Image
from nanonap.lab.guest.qemu import Qemu

CPUS = 1
PATIENCE_S = 900.0
"""How long all jobs of one boot may take, on a machine that does other things too."""
EXACT, FAST = 0, 2
"""``shift`` of a boot: each instruction takes 1 ns, for figures; 4 ns, for strain: a third of this machine's time."""
#: Folders of the guest's own: what is in them is not sent in.
_OWN = frozenset(("bin", "dev", "etc", "job", "jobs", "lib", "lib64", "proc", "run", "sbin", "sys", "usr"))
_ENVIRONMENT = re.compile(r"[A-Za-z_]\w*")
_HEADER = re.compile(rb"=nanonap (\d+) (\S+) (\d+)")


@dataclass(frozen=True)
class Job:
    """A command of the guest, with variables beside PATH and HOME.

    It stands in an empty folder; the files that it leaves there are part of what it gave. A program of this machine is
    in the guest under the path that it has here.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def script(self) -> bytes:
        """For the guest's shell."""
        own = [
            f"{name}={shlex.quote(value)}" for name, value in self.environment.items() if _ENVIRONMENT.fullmatch(name)
        ]
        return " ".join([*(f"export {each};" for each in own), "exec", shlex.join(self.argv)]).encode() + b"\n"


@dataclass(frozen=True)
class Outcome:
    """What a job gave. ``status`` is negative for the signal that ended it, as Popen's is."""

    status: int
    stdout: bytes
    stderr: bytes
    files: dict[str, bytes]


def sent_in(words: Sequence[str]) -> dict[str, Path]:
    """The executable files of this machine among the words of a command, by their paths in the guest."""
    return {word: Path(word) for word in words if _is_ours(word)}


def _is_ours(word: str) -> bool:
    path = Path(word)
    try:
        return path.is_absolute() and path.parts[1:2] != () and path.parts[1] not in _OWN and path.is_file()
    except OSError:  # too long for a name: no file's
        return False


def run_jobs(
    image: Image, jobs: Sequence[Job], backend: str, *, shift: int = EXACT, patience_s: float = PATIENCE_S
) -> list[Outcome]:
    """Boot, run the jobs one after the other, end. Raises QuotaUnavailable where the guest fails."""
    files = {name: path for job in jobs for name, path in sent_in(job.argv).items()}
    inside = [(name, path.read_bytes()) for name, path in sorted(files.items())]
    inside += [(f"/jobs/{number}", job.script()) for number, job in enumerate(jobs)]
    qemu = Qemu(image, backend, "counted")
    try:
        initrd = qemu.folder / "initrd"
        initrd.write_bytes(image.initrd.read_bytes() + archive(file_entries(inside)))
        qemu.start(CPUS, initrd, f"console={image.kind.architecture.console}", [], shift=shift)
        assert qemu.process is not None  # noqa: S101 - it has been started
        try:
            qemu.process.wait(patience_s)
        except subprocess.TimeoutExpired as error:
            raise qemu.failed(f"the guest's jobs did not end within {patience_s:.0f} s") from error
        outcomes = _outcomes((qemu.folder / "console").read_bytes())
        if outcomes is None or len(outcomes) != len(jobs):
            raise qemu.failed("the guest ended before its jobs did")
        return outcomes
    finally:
        qemu.close()


def _outcomes(console: bytes) -> list[Outcome] | None:
    # None where something else is among what the guest told.
    given: dict[int, dict[str, bytes]] = {}
    lines = iter(console.replace(b"\r", b"").split(b"\n"))
    for line in lines:
        if header := _HEADER.fullmatch(line):
            data = _decoded(lines, int(header[3]))
            if data is None:
                return None
            given.setdefault(int(header[1]), {})[header[2].decode()] = data
    whole = [each for _, each in sorted(given.items()) if "status" in each]
    return [_outcome(each) for each in whole]


def _decoded(lines: Iterator[bytes], size: int) -> bytes | None:
    data = b""
    try:
        while len(data) < size:
            data += base64.b64decode(next(lines), validate=True)
    except (ValueError, StopIteration):
        return None
    return data if len(data) == size else None


def _outcome(given: dict[str, bytes]) -> Outcome:
    status = int(given["status"])
    prefix = "file/"
    return Outcome(
        128 - status if status > 128 else status,
        given["stdout"],
        given["stderr"],
        {name.removeprefix(prefix): data for name, data in given.items() if name.startswith(prefix)},
    )
