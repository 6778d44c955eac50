"""Where a program does its work: a folder of its own, a clean environment, loopback ports, time limits."""

import contextlib
import hashlib
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanonap.trials.corpus.processes import Processes

LOOPBACK = "127.0.0.1"
_READY_S = 120


class WorkFailed(Exception):
    """A program did not do its work; the message says what was missing."""


def user_environment() -> dict[str, str]:
    """The user's environment without any setting of Go's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO_"))}


@dataclass(frozen=True)
class Workplace:
    """``programs`` are the files to run, the main one first; ``folder`` is empty and goes when the work is done.

    ``before`` are words before each program's command, of a tracer. ``changing``: gives a server's rounds of work by
    its process number, for the arm that changes it meanwhile.
    """

    folder: Path
    programs: tuple[Path, ...]
    processes: Processes
    settings: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    changing: Callable[[int], Iterator[None]] | None = None

    def environment(self, own: Mapping[str, str] | None = None) -> dict[str, str]:
        """HOME, TMPDIR and the XDG folders inside ``folder``, plain messages, ``own`` over all."""
        home = self.folder / "home"
        temporary = self.folder / "tmp"
        for each in (home, temporary):
            each.mkdir(exist_ok=True)
        inside = {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "LC_ALL": "C.UTF-8",
        }
        return user_environment() | inside | self.settings | dict(own or {})

    def run(
        self,
        *arguments: str | Path,
        program: int | str = 0,
        stdin: bytes = b"",
        status: int = 0,
        limit_s: float = 120,
        own: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run one of the programs (by place), or another command (by name), in the folder; its standard output.

        Raises WorkFailed if it ends otherwise than with ``status``, or not in time.
        """
        command = self.programs[program] if isinstance(program, int) else program
        before = self.before if isinstance(program, int) else ()
        ran = self.processes.run(
            [*before, command, *arguments],
            cwd=self.folder,
            environment=self.environment(own),
            limit_s=limit_s,
            stdin=stdin,
        )
        if ran.timed_out or ran.status != status:
            how = f"no end within {limit_s:.0f} s" if ran.timed_out else f"exit status {ran.status}, not {status}"
            said = " | ".join(ran.text.strip().splitlines()[-3:])[-300:]
            raise WorkFailed(f"{Path(command).name} {' '.join(map(str, arguments[:2]))}: {how}: {said}")
        return ran.stdout

    @contextlib.contextmanager
    def serving(
        self, *arguments: str | Path, ready: Callable[[], object], own: Mapping[str, str] | None = None, end: int = 0
    ) -> Iterator[Iterable[None]]:
        """The main program as a server, until the block's end; then it must end with status ``end`` on SIGTERM.

        Gives the rounds in which its work is to be done: one, or as many as ``changing`` asks for.

        ``ready`` is called until it raises neither OSError nor WorkFailed. Raises WorkFailed.
        """
        log = self.folder / "server.log"
        command = [*self.before, self.programs[0], *arguments]
        with self.processes.serving(command, cwd=self.folder, environment=self.environment(own), log=log) as server:
            deadline = time.monotonic() + _READY_S
            while True:
                if server.poll() is not None:
                    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-2:]
                    raise WorkFailed(f"the server ended by itself, status {server.returncode}: {' | '.join(said)}")
                try:
                    ready()
                except (OSError, WorkFailed) as error:
                    if time.monotonic() > deadline:
                        raise WorkFailed(f"the server was not ready within {_READY_S} s: {error}") from error
                    time.sleep(0.05)
                else:
                    break
            yield (None,) if self.changing is None else self.changing(server.pid)
        if server.returncode != end:
            raise WorkFailed(f"the server, asked to end, ended with status {server.returncode}, not {end}")


def free_port(ports: Iterable[int] = (0,)) -> int:
    """A TCP port on the loopback address that was free a moment ago: the first of ``ports``, or (0) any."""
    for port in ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise WorkFailed("no port is free")


def fetch(url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of an HTTP answer with status 2xx, past every proxy. Raises OSError and WorkFailed."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}))  # noqa: S310 - a loopback address
    try:
        with opener.open(request, timeout=20) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise WorkFailed(f"{url}: status {error.code}") from error


def material(folder: Path, files: int = 40) -> Path:
    """A folder of files to work on, the same in every arm: some text, some noise, some nested, one empty."""
    for number in range(files):
        place = folder / f"part{number % 5}" / f"file{number:03}.{'txt' if number % 2 else 'bin'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        size = number * 4099
        noise = hashlib.shake_256(b"%d" % number).digest(size)
        text = b"".join(b"line %d of file %d\n" % (line, number) for line in range(size // 20))
        place.write_bytes(text if number % 2 else noise)
    return folder


def digest(tree: Path) -> str:
    """SHA-256 (hex) of a file, or of a folder's files: their paths within it and their content."""
    if tree.is_file():
        return hashlib.sha256(tree.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for each in sorted(tree.rglob("*")):
        if each.is_file():
            whole.update(f"{each.relative_to(tree)}\0{digest(each)}\n".encode())
    return whole.hexdigest()


def expect(what: str, found: object, wanted: object) -> None:
    """Raise WorkFailed unless ``found`` is ``wanted``."""
    if found != wanted:
        raise WorkFailed(f"{what}: expected {str(wanted)[:80]!r}, found {str(found)[:80]!r}")
