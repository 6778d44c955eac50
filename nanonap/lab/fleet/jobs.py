"""One measurement on a host's own disk: claimed by whoever makes its file, run by a process of its own, adopted.

Whatever becomes of the worker, the link or the scheduler, a job is run once: its *keeper* (keeper.py) goes on without
them and leaves the result in the job's folder, where a later task of the same job finds it.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanonap.base.files import write_text
from nanonap.base.paths import PROJECT
from nanonap.base.processes import identity

BUNDLE = "bundle.zip"
#: The function that a job is, unless it asks for another.
BENCH = "nanonap.lab.fleet.keeper:bench"
#: A job that nobody has followed for so long is ended by its keeper.
LEASE_S = 600.0
_TOUCH_S = 20.0
#: A keeper makes itself known before it imports anything.
_BORN_S, _POLL_S = 20.0, 0.02
_ENDED_S, _KILLED_S, _FAR_S = 3.0, 5.0, 0.2
_FILE_MODE = 0o755
_lock = threading.Lock()


@dataclass(frozen=True)
class Asked:
    """What to measure: ``function``, as MODULE:FUNCTION, takes the folder and ``options``, and leaves BUNDLE there.

    ``tree``: where a file lies in the folder → its SHA-256. ``adopt``: take what another task of this job has begun,
    and begin nothing.
    """

    number: str
    options: dict[str, Any]
    tree: dict[str, str] = field(default_factory=dict)
    adopt: bool = False
    lease_s: float = LEASE_S
    function: str = BENCH


@dataclass(frozen=True)
class Answer:
    """How a job ended: its exit status and bundle, or that it was ``lost`` and why. Times in ns.

    ``worker_cpu_ns`` and ``worker_switches`` are what following it cost on the host, over ``followed_ns``.
    """

    status: int | None
    error: str
    bundle: bytes | None
    adopted: bool
    lost: str | None = None
    worker_cpu_ns: int = 0
    worker_switches: int = 0
    followed_ns: int = 0


class Job:
    """A job's folder on this host."""

    def __init__(self, room: Path, number: str) -> None:
        """``room``: the folder of this host's worker. Nothing is made."""
        self.folder, self._files = room / "jobs" / number, room / "files"
        self._claim, self._keeper = self.folder / "claim", self.folder / "keeper"
        self.asked, self.status, self.lease = (self.folder / name for name in ("asked.json", "status.json", "lease"))

    def claimed(self) -> bool:
        """Make it this caller's to begin; False where it was begun before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(self._claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True

    def begin(self, asked: Asked) -> None:
        """Lay the measured files out and start the keeper, in a session of its own."""
        for place, sha256 in asked.tree.items():
            target = self.folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._files / sha256, target)
            target.chmod(_FILE_MODE)
        self.lease.touch()
        write_text(self.asked, json.dumps({name: getattr(asked, name) for name in ("function", "options", "lease_s")}))
        subprocess.Popen(
            [sys.executable, "-m", "nanonap.lab.fleet.keeper", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            start_new_session=True,
        )

    def keep(self) -> None:
        """In the keeper: say who it is, in a file that it holds locked as long as it lives."""
        temporary = self._keeper.with_suffix(".part")
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, identity().encode())
        temporary.rename(self._keeper)

    def lives(self) -> bool:
        """Whether the keeper does, in whatever PID namespace."""
        try:
            with self._keeper.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def _number(self) -> int | None:
        """The number of a keeper that lives here, and not in another PID namespace."""
        number, _, birth = self._keeper.read_text(encoding="ascii").partition("-")
        with contextlib.suppress(OSError):
            return int(number) if birth == identity(int(number)).partition("-")[2] else None
        return None

    def follow(self) -> None:
        """Return when the job has ended, however it did. The lease is renewed meanwhile."""
        until = time.monotonic() + _BORN_S
        while not self._keeper.exists() and not self.status.exists() and time.monotonic() < until:
            time.sleep(_POLL_S)
        while self.lives():
            with contextlib.suppress(OSError):
                os.utime(self.lease)
            self._wait(_TOUCH_S)

    def end(self) -> None:
        """Stop the job if it runs, and remove all of it."""
        if not self.folder.exists():
            return
        if self._claim.exists() and not self.status.exists():
            until = time.monotonic() + _BORN_S
            while self.asked.exists() and not self._keeper.exists() and time.monotonic() < until:
                time.sleep(_POLL_S)
        for number, patience_s in ((signal.SIGTERM, _ENDED_S), (signal.SIGKILL, _KILLED_S)):
            if self.lives() and (keeper := self._number()) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(keeper, number)
                self._wait(patience_s)
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove all but the claim: it is not to be begun again."""
        for each in self.folder.iterdir():
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            elif each != self._claim:
                each.unlink(missing_ok=True)

    def _wait(self, timeout_s: float) -> None:
        """Until the keeper has ended, or for so long."""
        try:
            number = self._number() or 0
            descriptor = os.pidfd_open(number)
        except OSError:
            time.sleep(_FAR_S)  # in another namespace, or just ended
            return
        select.select([descriptor], [], [], timeout_s)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, os.WNOHANG)  # it may be this process's own child, which waits to be buried


class Host:
    """What a worker knows of its host: its folder, and which jobs are not to begin any more."""

    def __init__(self, room: Path) -> None:
        """Nothing is made."""
        self.room = room
        self._ended: set[str] = set()

    def measure(self, asked: Asked) -> Answer:
        """Run a job, or take over one that was begun, and tell how it ended. Blocks meanwhile."""
        began_ns, cpu_ns, switches = time.monotonic_ns(), time.process_time_ns(), _switches()
        job = Job(self.room, asked.number)
        with _lock:
            if asked.number in self._ended:
                return Answer(None, "", None, asked.adopt, "it was stopped before it began")
            if asked.adopt and not job.folder.exists():
                return Answer(None, "", None, True, "it had not begun, or nothing is left of it")
            began = not asked.adopt and job.claimed()
            if began:
                job.begin(asked)
        job.follow()
        cost = (time.process_time_ns() - cpu_ns, _switches() - switches, time.monotonic_ns() - began_ns)
        try:
            told = json.loads(job.status.read_text(encoding="utf-8"))
        except OSError:
            return Answer(None, "", None, not began, "it ended without a result: killed, or the host restarted", *cost)
        bundle = job.folder / BUNDLE
        return Answer(
            told["status"], told["error"], bundle.read_bytes() if bundle.exists() else None, not began, None, *cost
        )

    def end(self, number: str) -> None:
        """Stop a job, or see to it that it does not begin, and remove what there is of it."""
        with _lock:
            self._ended.add(number)
        Job(self.room, number).end()

    def end_all(self) -> None:
        """Stop every job that runs here."""
        for folder in (self.room / "jobs").glob("*"):
            self.end(folder.name)

    def tidy(self, older_s: float = 7 * 86_400) -> None:
        """Remove what jobs of former times left that nobody has fetched."""
        for folder in (self.room / "jobs").glob("*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > older_s and not Job(self.room, folder.name).lives():
                    shutil.rmtree(folder, ignore_errors=True)


def _switches() -> int:
    import resource  # noqa: PLC0415 - of no use where nothing is followed

    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
