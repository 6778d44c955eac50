"""A fleet for one bench, over SSH: workers are started, and reached, through the connection; nothing else is opened.

The scheduler is in a process beside this one and listens on the loopback, as every worker does on its own host. Each
host reaches the scheduler, and is reached, at ports that SSH forwards. When the client goes, so do scheduler and jobs.
"""

import asyncio
import contextlib
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import asyncssh

from nanonap.base.terminal import messages
from nanonap.lab.fleet.client import Fleet
from nanonap.lab.fleet.errors import FleetUnreachable
from nanonap.lab.ground.watchdog import guard

_LOOPBACK = "127.0.0.1"
_START_S = 60.0
_AGAIN_S = 2.0
_PORTS = range(20_000, 32_000)  # below those that Linux gives out by itself
_HOST = re.compile(r"(?:([^@]+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?")


@dataclass(frozen=True)
class Remote:
    """A host as the user names it: ``user@host:port``, of which SSH's own settings know the rest."""

    user: str | None
    host: str
    port: int | None

    @property
    def name(self) -> str:
        """Its name in the fleet."""
        return self.host.strip("[]").replace(":", ".")


def remotes(text: str) -> list[Remote]:
    """``a,user@b,c:2222``. Raises FleetUnreachable."""
    found = []
    for each in (part.strip() for part in text.split(",") if part.strip()):
        match = _HOST.fullmatch(each)
        if match is None:
            raise FleetUnreachable(f"--hosts {each}: not a host; write it as user@host:port")
        found.append(Remote(match[1], match[2], int(match[3]) if match[3] else None))
    return found


@contextlib.contextmanager
def fleet_over_ssh(hosts: list[Remote], command: str = "nanonap") -> Iterator[Fleet]:
    """A scheduler here and a worker on each host, until the block ends; ``command`` runs nanonap there.

    Raises FleetUnreachable, naming the host that cannot be had.
    """
    words = [sys.executable, "-c", "from nanonap.cli.program import main; main()", "fleet", "scheduler", "--port", "0"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as scheduler:  # fmt: skip
        guard.watch_session(scheduler.pid)  # a client that is killed ends it no more
        try:
            address = scheduler.stdout.readline().strip() if scheduler.stdout else ""
            if not address:
                raise FleetUnreachable("the scheduler did not start here")
            with _Workers(hosts, int(address.rpartition(":")[2]), command):
                yield Fleet(address, private=True)
        finally:
            scheduler.kill()
            guard.forget_session(scheduler.pid)


class _Workers:
    """Holds the connections, in a thread with a loop of its own, and starts a worker again that was lost."""

    def __init__(self, hosts: list[Remote], port: int, command: str) -> None:
        self._hosts, self._port, self._command = hosts, port, command
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> None:
        self._thread.start()
        begun = asyncio.run_coroutine_threadsafe(self._begin(), self._loop)
        try:
            begun.result()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=_START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _begin(self) -> None:
        ready = [asyncio.Event() for _ in self._hosts]
        self._tasks = [
            asyncio.create_task(self._hold(host, each)) for host, each in zip(self._hosts, ready, strict=True)
        ]
        waits = [asyncio.create_task(each.wait()) for each in ready]
        for host, task, wait in zip(self._hosts, self._tasks, waits, strict=True):
            await asyncio.wait({task, wait}, return_when=asyncio.FIRST_COMPLETED, timeout=_START_S)
            if task.done() and (error := task.exception()) is not None:
                raise FleetUnreachable(f"{host.host}: {error}") from error
            if not wait.done():
                raise FleetUnreachable(f"{host.host}: no worker within {_START_S:.0f} s; is nanonap[fleet] there?")

    async def _end(self) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self, host: Remote, ready: asyncio.Event) -> None:
        """A worker on the host, again and again; the first time, what goes wrong is told."""
        while True:
            try:
                await self._serve(host, ready)
            except (OSError, asyncssh.Error):
                if not ready.is_set():
                    raise
            messages().print(f"[yellow]note[/] {host.name}: its worker is gone; another is started", highlight=False)
            await asyncio.sleep(_AGAIN_S)

    async def _serve(self, host: Remote, ready: asyncio.Event) -> None:
        options = {"username": host.user} if host.user else {}
        where = host.host.strip("[]")
        async with asyncssh.connect(where, host.port or (), **options) as connection:
            there = await connection.forward_remote_port(_LOOPBACK, 0, _LOOPBACK, self._port)
            port = secrets.choice(_PORTS)  # one that is taken there fails, and the next attempt draws another
            here = await connection.forward_local_port(_LOOPBACK, 0, _LOOPBACK, port)
            words = (
                f"{self._command} fleet worker --scheduler tcp://{_LOOPBACK}:{there.get_port()} --name {host.name} "
                f"--host {_LOOPBACK} --port {port} --contact tcp://{_LOOPBACK}:{here.get_port()} --with-scheduler"
            )
            async with connection.create_process(words) as process:
                if (await process.stdout.readline()).startswith("tcp://"):
                    ready.set()
                    await process.wait()
                elif not ready.is_set():
                    said = (await process.stderr.read()).strip().splitlines()
                    raise OSError(said[-1] if said else f"`{self._command}` said nothing there")
