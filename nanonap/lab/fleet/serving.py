"""A scheduler, and a worker on a host: what ``nanonap fleet scheduler`` and ``nanonap fleet worker`` run."""

import asyncio
import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from dask.typing import Key
from distributed import Scheduler, Worker
from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin
from tornado.ioloop import PeriodicCallback

from nanonap.base.errors import UsageError
from nanonap.base.interrupts import ENDING
from nanonap.lab.fleet.client import dashboard_of, show_dashboard
from nanonap.lab.fleet.errors import FleetUnreachable
from nanonap.lab.fleet.hosted import hand, settle
from nanonap.lab.fleet.jobs import Host
from nanonap.lab.fleet.settings import RESOURCE, security

#: The name of a task's key begins with it, and then has the job's number up to the next blank.
KEY = "nanonap-bench "
BATCH = "nanonap-batch "
_HEARTBEAT_S = 15.0
_JOIN_S = 60
_AGREE_S = 0.2
_LET_GO = ("cancelled", "released", "forgotten")
_OWN_HTTP = "127.0.0.1:0"  # Dask opens one even without a dashboard, and else on all addresses


class Ends(WorkerPlugin):
    """Ends a job when nobody wants its result any more: the client cancelled it, is gone, or has the result.

    A scheduler that is lost takes its worker's tasks along, too, but that worker is closing: its jobs go on.
    """

    def __init__(self, host: Host) -> None:
        """``host``: whose jobs."""
        self._host = host

    def setup(self, worker: Worker) -> None:
        """As Dask calls it."""
        self._worker = worker

    def transition(self, key: Key, start: str, finish: str, **_: Any) -> None:  # noqa: ANN401 - as Dask calls it
        """A task was let go: its job goes, unless this worker is found to go itself."""
        if not isinstance(key, str) or finish not in _LET_GO:
            return
        if key.startswith(KEY):
            self._worker.loop.call_later(_AGREE_S, self._end, key.split(" ")[1])
        elif key.startswith(BATCH) and finish == "cancelled":
            threading.Thread(target=hand.stop, args=(key,), daemon=True).start()

    def _end(self, number: str) -> None:
        if self._worker.status == Status.running:
            threading.Thread(target=self._host.end, args=(number,), daemon=True).start()


def serve_scheduler(
    host: str, port: int, keys: Path | None, told: Callable[[str], None], *, dashboard: bool = False
) -> None:
    """Run a scheduler until it is told to end; ``told`` is given its address.

    With ``dashboard`` Dask's own is served to this machine alone. Raises FleetUnreachable, and UsageError where it is
    not to be had.
    """
    if dashboard and importlib.util.find_spec("bokeh") is None:
        raise UsageError("--dashboard: Dask's dashboard is drawn by bokeh, which is not installed: pip install bokeh")

    async def run() -> None:
        scheduler = Scheduler(
            host=host, port=port, dashboard_address=_OWN_HTTP, dashboard=dashboard,
            security=security(keys, "scheduler"),
        )  # fmt: skip
        async with scheduler:
            told(scheduler.address)
            show_dashboard(dashboard_of(scheduler))
            await _until_told(scheduler.finished)

    try:
        asyncio.run(run())
    except OSError as error:
        raise FleetUnreachable(f"{host}:{port}: cannot be listened on ({error}); choose another --port") from error


def serve_worker(
    scheduler: str,
    *,
    name: str,
    room: Path,
    host: str | None,
    port: int,
    keys: Path | None,
    contact: str | None = None,
    with_scheduler: bool = False,
    no_bench: bool = False,
    told: Callable[[str], None],
) -> None:
    """Run this host's worker until the scheduler is lost or it is told to end; its jobs go on without it.

    ``with_scheduler``: they end when it does, for a scheduler that lives no longer than its client. ``no_bench``: it
    works for campaigns alone, as one of several on a host may.
    Raises FleetUnreachable.
    """
    here = settle(room)

    async def run() -> None:
        worker = Worker(
            scheduler, nthreads=1, name=name, resources={} if no_bench else {RESOURCE: 1}, memory_limit=0,
            host=host, port=port,
            local_directory=str(room), dashboard_address=_OWN_HTTP, dashboard=False, death_timeout=_JOIN_S,
            security=security(keys, "worker"), contact_address=contact, plugins=(Ends(here),), extensions={},
        )  # fmt: skip
        try:
            await worker
            _be_quiet(worker)
            told(worker.address)
            await _until_told(worker.finished)
        finally:
            await worker.close(timeout=2, executor_wait=False)

    try:
        asyncio.run(run())
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        why = error.__cause__ or error
        raise FleetUnreachable(f"{scheduler}: no scheduler took this worker ({why}); is it there?") from error
    finally:
        hand.close()
        if with_scheduler:
            here.end_all()


def end_process() -> None:
    """End without waiting for a thread that follows a job, which may take as long as the job."""
    os._exit(0)


def _be_quiet(worker: Worker) -> None:
    """Say so rarely that it is there that no measurement is disturbed: what is asked of a worker comes to it."""
    for name in ("heartbeat", "find-missing"):
        worker.periodic_callbacks[name].stop()
    own = PeriodicCallback(worker.heartbeat, _HEARTBEAT_S * 1000)
    worker.periodic_callbacks["nanonap-heartbeat"] = own
    own.start()


async def _until_told(finished: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Until a server has ended, or a signal asks for its end."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, told.set)
    waits = [asyncio.ensure_future(each()) for each in (finished, told.wait)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()
